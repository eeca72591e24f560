"""DLPack against its other implementations: NumPy's, PyTorch's and JAX's."""

import gc
import inspect

import ml_dtypes
import numpy as np
import pytest

from seedbed.gpu import dlpack

DTYPES = [
    np.dtype(name)
    for name in ("bool", "int8", "uint16", "int64", "float16", "float32", "float64", "complex64")
]
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class Producer:
    """Hands an array of the host over, by this module."""

    def __init__(self, values):
        self.values = values

    def __dlpack_device__(self):
        return dlpack.CPU, 0

    def __dlpack__(self, **_):
        values = self.values
        device = self.__dlpack_device__()
        return dlpack.export(values.ctypes.data, values.shape, values.dtype, device, values)


def some(dtype, shape=(3, 4)):
    return (np.arange(np.prod(shape)) % 2).astype(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (), (0, 2), (2, 1, 3)])
def test_numpy_takes_it(dtype, shape):
    values = some(dtype, shape)
    taken = np.from_dlpack(Producer(values))
    assert taken.dtype == dtype
    np.testing.assert_array_equal(taken, values)
    assert not values.size or np.shares_memory(taken, values)


@pytest.mark.parametrize("dtype", [*DTYPES, BFLOAT16], ids=str)
def test_torch_takes_it_and_is_read(dtype):
    torch = pytest.importorskip("torch")
    values = some(dtype)
    taken = torch.from_dlpack(Producer(values))
    forms = [{}]
    if "max_version" in inspect.signature(torch.Tensor.__dlpack__).parameters:  # from 2.9 on
        forms += [{"max_version": (1, 0)}]
    for options in forms:
        tensor = dlpack.read(taken.__dlpack__(**options))
        assert tensor.pointer == values.ctypes.data
        assert tensor.dtype == dtype
        assert tensor.shape == values.shape
        assert tensor.strides in (None, (4, 1))
        assert tensor.device == (dlpack.CPU, 0)
    assert dlpack.read(taken.T.__dlpack__()).strides == (1, 4)


def test_jax_takes_it():
    jax = pytest.importorskip("jax")
    values = some(BFLOAT16, (64,))
    taken = jax.dlpack.from_dlpack(Producer(values))
    np.testing.assert_array_equal(np.asarray(taken), values)


def test_offsets_are_read():
    values = np.arange(10.0)
    assert dlpack.read(values[3:].__dlpack__()).pointer == values.ctypes.data + 24


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="needs NumPy 2.1, which has DLPack 1.0"
)
def test_permissions_are_read():
    values = np.arange(10.0)
    values.flags.writeable = False
    assert dlpack.read(values.__dlpack__(max_version=(1, 0))).read_only


def test_memory_lives_as_long_as_its_last_user():
    values = some(np.float32)
    before = len(dlpack._exported)
    unused = Producer(values).__dlpack__()
    taken = np.from_dlpack(Producer(values))
    assert len(dlpack._exported) == before + 2
    del unused
    gc.collect()
    assert len(dlpack._exported) == before + 1
    del taken
    gc.collect()
    assert len(dlpack._exported) == before


def test_elements_of_several_numbers_are_refused():
    values = np.arange(4.0)
    capsule = Producer(values).__dlpack__()
    address = dlpack._pointer(capsule, b"dltensor")
    dlpack._Managed.from_address(address).tensor.dtype.lanes = 2
    with pytest.raises(TypeError, match="no dtype for DLPack elements of 2 lanes"):
        dlpack.read(capsule)


def test_not_a_capsule():
    with pytest.raises(TypeError, match="not a DLPack capsule that can be read: 5"):
        dlpack.read(5)
