"""A cache of its own for each run: Numba's does not see changes in helper files."""

import os
import tempfile

_cache = tempfile.TemporaryDirectory(prefix="seedbed-numba-")
os.environ["NUMBA_CACHE_DIR"] = _cache.name
# The hashes must not depend on the number of threads; tests ask for up to seven.
os.environ.setdefault("NUMBA_NUM_THREADS", "7")
# Keras reads it once, at its first import in the test process, whichever module that is in.
os.environ["KERAS_BACKEND"] = "jax"
