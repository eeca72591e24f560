"""The quality of the values, measured: ``python -m benchmarks.quality``."""
