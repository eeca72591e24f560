"""Arrays on NVIDIA GPUs. Nothing here is imported before a GPU is asked for."""

from ..errors import DeviceError
from .array import DeviceArray

__all__ = ["DeviceArray", "DeviceError"]
