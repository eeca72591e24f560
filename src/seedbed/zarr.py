"""The data types bfloat16 and float8 for zarr-python, which has none of its own.

`pip install 'seedbed[zarr]'` is all it takes: zarr-python finds them by an entry point when it
meets their names, which are those of TensorStore and of the registry of Zarr's extensions. Writing
and reading tables by `seedbed.tables` needs no package.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeGuard

import ml_dtypes
import numpy as np

try:
    from zarr.dtype import DataTypeValidationError, Float16, data_type_registry
except ImportError as error:
    raise ImportError(
        "seedbed.zarr needs zarr-python: python -m pip install 'seedbed[zarr]'"
    ) from error


@dataclass(frozen=True, kw_only=True)
class _Float(Float16):
    """A floating type of ml_dtypes."""

    dtype_cls: ClassVar[Any]
    _zarr_v3_name: ClassVar[Any]
    _zarr_v2_names: ClassVar[Any] = ()
    _native: ClassVar[np.dtype]

    @classmethod
    def _check_native_dtype(cls, dtype: Any) -> TypeGuard[Any]:
        return dtype == cls._native

    @classmethod
    def from_native_dtype(cls, dtype: Any) -> Self:
        if not cls._check_native_dtype(dtype):
            raise DataTypeValidationError(f"{dtype} is not {cls._native}")
        return cls()

    def to_native_dtype(self) -> Any:
        return self._native

    @property
    def item_size(self) -> int:
        return self._native.itemsize


@dataclass(frozen=True, kw_only=True)
class BFloat16(_Float):
    """``"bfloat16"``: the upper half of a float32."""

    _native = np.dtype(ml_dtypes.bfloat16)
    dtype_cls = type(_native)
    _zarr_v3_name = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class Float8E4M3FN(_Float):
    """``"float8_e4m3fn"``."""

    _native = np.dtype(ml_dtypes.float8_e4m3fn)
    dtype_cls = type(_native)
    _zarr_v3_name = "float8_e4m3fn"


@dataclass(frozen=True, kw_only=True)
class Float8E5M2(_Float):
    """``"float8_e5m2"``."""

    _native = np.dtype(ml_dtypes.float8_e5m2)
    dtype_cls = type(_native)
    _zarr_v3_name = "float8_e5m2"


def register() -> None:
    """Make the data types known to zarr-python; for an installation without entry points."""
    for kind in (BFloat16, Float8E4M3FN, Float8E5M2):
        data_type_registry.register(kind._zarr_v3_name, kind)


register()
