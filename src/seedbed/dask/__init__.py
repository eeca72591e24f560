"""Seedbed in Dask: lazy arrays whose blocks are windows of a table, and tables that workers write.

A block is made where and when it is needed, from the initializer and its bounds alone: the graph
holds no values, and the chunks do not change the result.
"""

try:
    import dask.array as _dask  # noqa: F401
except ImportError as error:
    raise ImportError("seedbed.dask needs Dask: python -m pip install 'seedbed[dask]'") from error

from .arrays import array, rows
from .writing import write

__all__ = ["array", "rows", "write"]
