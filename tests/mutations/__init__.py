"""Faults put into the library one by one, and the quick test that sees each."""
