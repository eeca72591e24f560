"""Timings, apart from the tests: ratios measured in one run."""
