"""Faults that are made on purpose: programs with full counts; tests run them with small ones."""
