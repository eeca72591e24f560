"""What of the Python layers the tests run: ``python -m tests.coverage``."""
