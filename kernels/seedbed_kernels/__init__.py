"""Kernels of Seedbed: counter-based random numbers and the fills made of them.

They need NumPy and Numba, for GPUs `numba-cuda`, and nothing of `seedbed`. `README.md` beside this
package holds the stream contract, which says what every element is.
"""

import sys

if sys.byteorder != "little":
    raise ImportError("Seedbed needs a little-endian processor; this one is big-endian")

STREAM_VERSION = 1
