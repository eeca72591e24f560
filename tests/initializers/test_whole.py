"""Users' classes that make whole tables only, as the documents show: parts are cut from them."""

import numpy as np
import pytest

from seedbed import initializers, tables


class Ramp(initializers.Initializer):
    def __init__(self, step=1.0):
        self.step, self.calls = step, 0

    def __call__(self, shape, dtype=None):
        self.calls += 1
        return (np.arange(np.prod(shape)).reshape(shape) * self.step).astype(dtype or "float32")

    def get_config(self):
        return {"step": self.step}


class Noise(initializers.HeNormal):
    def __call__(self, shape, dtype=None, **others):
        return 3 * super().__call__(shape, dtype)


@pytest.mark.parametrize("kind", [Ramp, Noise])
def test_parts_are_cut_from_the_whole(kind):
    init = kind() if kind is Ramp else kind(seed=3)
    assert not init.windowed
    whole = init((6, 5))
    window = slice(1, 4), slice(2, 5)
    np.testing.assert_array_equal(init((6, 5), window=window), whole[window], strict=True)
    np.testing.assert_array_equal(init((6, 5), rows=[5, 0, 5]), whole[[5, 0, 5]], strict=True)
    out = np.empty((3, 3), "float16")
    assert init((6, 5), "float16", window=window, out=out) is out
    np.testing.assert_array_equal(out, init((6, 5), "float16")[window], strict=True)


def test_tables_of_such_a_class_are_written(tmp_path):
    init = Ramp(0.5)
    tables.write(tmp_path / "ramp.npy", init, (300, 7), chunk_bytes=1000)
    np.testing.assert_array_equal(np.load(tmp_path / "ramp.npy"), init((300, 7)), strict=True)
    assert init.calls == 2  # one for the table, whatever its chunks


def test_what_does_not_fit_is_refused():
    class Wrong(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.ones(3, dtype)

    with pytest.raises(ValueError, match=r"Wrong: __call__ must return an array of shape \(2, 3\)"):
        Wrong()((2, 3), out=np.empty((2, 3), "float32"))
