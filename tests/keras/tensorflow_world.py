"""Graphs of TensorFlow, whose shapes and seeds are known at run time only."""

import keras
import numpy as np
import tensorflow as tf

import seedbed.keras as sk
from seedbed import initializers as plain
from tests.keras.scoped_models import equal


def shapes():
    """Shapes that only a run knows: by a call to the host, with the fans of the whole."""
    for dtype in ("float32", "float16", "bfloat16", "float64", "complex64"):
        kinds = (sk.RandomNormal(stddev=2.0, seed=3), sk.Constant(0.5), sk.Zeros())
        kinds += () if dtype == "complex64" else (sk.GlorotUniform(seed=3), sk.Orthogonal(seed=3))
        for init in kinds:

            @tf.function(input_signature=[tf.TensorSpec([None, 4])])
            def run(x, init=init, dtype=dtype):
                whole = init(tf.shape(x), dtype)
                rows = init([tf.shape(x)[0], 2], dtype=dtype)
                assert rows.shape.as_list() == [None, 2]
                return whole, rows

            for height in (3, 5):
                found = [each.numpy() for each in run(tf.zeros((height, 4)))]
                equal(found, [init((height, width), dtype).numpy() for width in (4, 2)])

    @tf.function
    def static(x):
        made = sk.HeNormal(seed=1)(tf.shape(x))  # known while tracing
        assert made.shape == (2, 3)
        return made, sk.HeNormal(seed=1)(x.shape), sk.HeNormal(seed=1)([tf.constant(2), 3])

    wanted = plain.HeNormal(seed=1)((2, 3))
    equal([each.numpy() for each in static(tf.zeros((2, 3)))], [wanted] * 3)
    assert (sk.HeNormal(seed=1)(tf.constant([2, 3])).numpy() == wanted).all()


def generators():
    """A generator moves on with each run, of Keras' and of Seedbed's."""
    own = plain.HeNormal(plain.SeedGenerator(5))
    wanted = [own((3, 2)) for _ in range(4)]
    for seed in (keras.random.SeedGenerator(5), plain.SeedGenerator(5)):
        init = sk.HeNormal(seed)
        run = tf.function(lambda init=init: init((3, 2)))
        equal([run().numpy() for _ in range(3)] + [init((3, 2)).numpy()], wanted)
    for seed in (7, 2**31, 2**32 + 7, 2**40 + 9, 2**63 - 1):
        found = sk.HeNormal(keras.random.SeedGenerator(seed))((3, 2)).numpy()
        assert (found == plain.HeNormal(plain.SeedGenerator(seed))((3, 2))).all(), seed


class DynamicTable:
    """What TensorFlow Recommenders Addons' `de.Variable` does with an initializer.

    After its dynamic_embedding_variable.py: initializers of TensorFlow are called for one row as
    the default, and for the rows of new keys; any other callable for one number.
    """

    def __init__(self, dim, initializer):
        self.dim, self.initializer = dim, None
        init, known = initializer, (tf.zeros_initializer.__mro__[1],)
        while callable(init):
            if isinstance(init, known):
                self.initializer, init = init, init(shape=[dim])
            else:
                init = init(shape=[1])
        if init.shape.num_elements() != dim:
            init = tf.fill([dim], tf.reshape(init, [-1])[0])
        self.default = init

    @tf.function
    def rows(self, keys):
        if self.initializer is None:
            return tf.tile(tf.expand_dims(self.default, 0), [tf.size(keys), 1])
        return self.initializer([tf.shape(tf.reshape(keys, [-1]))[0], self.dim])


def recommenders():
    """Every value of a row is a number of its own, and so are those of the next keys' rows."""
    for seed in (keras.random.SeedGenerator(5), sk.SeedGenerator(5)):
        table = DynamicTable(8, sk.RandomNormal(stddev=0.1, seed=seed))
        found = np.concatenate([table.rows(tf.range(count)).numpy() for count in (3, 5)])
        assert found.shape == (8, 8)
        assert len(np.unique(found)) == 64


if __name__ == "__main__":
    shapes()
    generators()
    recommenders()
    print("done")
