"""Kernels of Seedbed: counter-based random numbers and the fills made of them.

They need NumPy and Numba only. `README.md` beside this package holds the stream contract, which
says what every element is.
"""

STREAM_VERSION = 1
