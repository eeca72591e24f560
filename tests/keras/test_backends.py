"""seedbed.keras in real models: each backend, JAX's sharded variables, TensorFlow's partitions."""

import sys
import textwrap
from pathlib import Path

import pytest

from tests import processes

pytest.importorskip("keras")

pytestmark = pytest.mark.frameworks

ROOT = Path(__file__).parents[2]
WORLD = Path(__file__).with_name("keras_world.py")
BACKENDS = ("tensorflow", "jax", "torch")


def run(backend, *arguments, **environment):
    done = processes.run(
        [sys.executable, "-W", "ignore", *arguments],
        {
            "KERAS_BACKEND": backend,
            "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **environment,
        },
    )
    return done.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a folder and the printed hashes of the models of each backend."""
    folders = {backend: tmp_path_factory.mktemp(backend) for backend in BACKENDS}
    return {b: (folder, run(b, WORLD, "make", folder)) for b, folder in folders.items()}


@pytest.mark.tensorflow
@pytest.mark.torch
def test_models_have_the_numpy_values_and_the_same_on_each_backend(saved):
    hashes = {backend: printed.splitlines()[:-1] for backend, (_, printed) in saved.items()}
    assert len(hashes["jax"]) == 3
    assert hashes["jax"] == hashes["torch"] == hashes["tensorflow"]


@pytest.mark.parametrize(
    ("backend", "other"), [("tensorflow", "jax"), ("jax", "torch"), ("torch", "tensorflow")]
)
def test_models_load_in_a_new_process_on_another_backend(saved, backend, other):
    folder, _ = saved[other]
    assert "done" in run(backend, WORLD, "load", folder)


def test_jax_variables_are_born_sharded():
    code = """
    import jax, keras, numpy as np
    from keras.distribution import DeviceMesh, LayoutMap, ModelParallel, set_distribution
    import seedbed.keras as sk
    from seedbed import initializers

    made, call = [], initializers.TruncatedNormal.__call__
    def counted(self, shape, dtype=None, **others):
        values = call(self, shape, dtype, **others)
        made.append(values.shape)
        return values
    initializers.TruncatedNormal.__call__ = counted

    layouts = LayoutMap(DeviceMesh((2, 4), ("batch", "model")))
    layouts[".*embeddings"], layouts[".*kernel"] = ("model", None), (None, "model")
    set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="batch"))
    generator = keras.random.SeedGenerator(3)
    model = keras.Sequential([
        keras.Input((4,), dtype="int32"),
        keras.layers.Embedding(
            2**18, 64, embeddings_initializer=sk.TruncatedNormal(stddev=0.02, seed=5)
        ),
        keras.layers.Flatten(),
        keras.layers.Dense(
            8, kernel_initializer=sk.HeNormal(generator), bias_initializer=sk.Zeros()
        ),
    ])
    assert made == [(2**16, 64)] * 4, made  # never the whole, and no replica twice
    whole = initializers.TruncatedNormal(stddev=0.02, seed=5)((2**18, 64))
    kernel = initializers.HeNormal(initializers.SeedGenerator(3))((256, 8))
    for variable, values in ((model.weights[0], whole), (model.weights[1], kernel)):
        shards = variable.value.addressable_shards
        assert len(shards) == 8 and len({str(shard.index) for shard in shards}) == 4
        for shard in shards:
            np.testing.assert_array_equal(shard.data, values[shard.index], strict=True)
    model.compile("sgd", "mse")
    model.fit(np.arange(32).reshape(8, 4), np.ones((8, 8)), verbose=0)
    assert model.weights[0].value.addressable_shards[0].data.shape == (2**16, 64)
    assert (np.asarray(model.weights[0].value)[:32] != whole[:32]).any()

    layout = keras.distribution.TensorLayout(("model", None), layouts.device_mesh)
    table = sk.TruncatedNormal(seed=5)((8, 2), "bfloat16", layout)
    assert len({str(shard.index) for shard in table.addressable_shards}) == 4
    generator = initializers.SeedGenerator
    table = sk.HeNormal(generator(3))((8, 2), "float32", layout)
    assert (np.asarray(table) == initializers.HeNormal(generator(3))((8, 2))).all()

    def without_layout(shape, dtype=None):  # as Keras calls before 3.15
        return sk.GlorotUniform(seed=7)(shape, dtype)
    dense = keras.layers.Dense(8, kernel_initializer=without_layout)
    dense.build((None, 6))
    assert (np.asarray(dense.kernel.value) == initializers.GlorotUniform(7)((6, 8))).all()

    whole = initializers.GlorotUniform(7)((6, 8))
    for function in (
        lambda x: 0.5 * x,
        lambda x: np.float32(2) * -x,
        lambda x: x.astype("bfloat16"),
        lambda x: jax.numpy.clip(x, -0.1, 0.1),
        lambda x: keras.ops.clip(x, -0.1, 0.1),
    ):
        def of_the_user(shape, dtype=None, layout=None):
            return function(sk.GlorotUniform(seed=7)(shape, dtype=dtype, layout=layout))
        dense = keras.layers.Dense(8, kernel_initializer=of_the_user)
        dense.build((None, 6))
        assert len({str(s.index) for s in dense.kernel.value.addressable_shards}) == 4
        found, wanted = np.asarray(dense.kernel.value), function(jax.numpy.asarray(whole))
        np.testing.assert_array_equal(found, np.asarray(wanted))
    """
    run(
        "jax",
        "-c",
        textwrap.dedent(code),
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )


def test_a_sharded_embedding_of_4_gb_is_not_held_twice():
    code = """
    import jax, keras, numpy as np
    from keras.distribution import DeviceMesh, LayoutMap, ModelParallel, set_distribution
    import seedbed.keras as sk
    from seedbed import initializers

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

    layouts = LayoutMap(DeviceMesh((8,), ("model",)))
    layouts[".*embeddings"] = ("model", None)
    set_distribution(ModelParallel(layout_map=layouts, batch_dim_name="model"))
    init, shape = sk.TruncatedNormal(stddev=0.02, seed=5), (2**23, 128)
    init((64, 64))
    before = peak()
    layer = keras.layers.Embedding(*shape, embeddings_initializer=init)
    layer.build((None,))
    table = jax.block_until_ready(layer.embeddings.value)
    assert type(table).__name__ == "ArrayImpl", type(table)
    grown = (peak() - before) / table.nbytes
    assert 0.9 < grown < 1.3, grown
    plain = initializers.TruncatedNormal(stddev=0.02, seed=5)
    assert len({str(shard.index) for shard in table.addressable_shards}) == 8
    for shard in table.addressable_shards:
        rows = range(shape[0])[shard.index[0]]
        window = slice(rows.start, rows.stop), slice(None)
        assert (np.asarray(shard.data) == plain(shape, window=window)).all()
    """
    run(
        "jax",
        "-c",
        textwrap.dedent(code),
        XLA_FLAGS="--xla_force_host_platform_device_count=8",
    )


def test_partitioned_tensorflow_variables_equal_whole_ones():
    code = """
    import os, socket
    import numpy as np, tensorflow as tf, tf_keras
    import seedbed.keras as sk
    from seedbed import initializers

    def addresses(n):
        sockets = [socket.socket() for _ in range(n)]
        for each in sockets:
            each.bind(("localhost", 0))
        found = [f"localhost:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        return found

    cluster = tf.train.ClusterSpec({"worker": addresses(1), "ps": addresses(2)})
    tasks = ("worker", 0), ("ps", 0), ("ps", 1)
    servers = [
        tf.distribute.Server(cluster, job_name=job, task_index=index, protocol="grpc", start=True)
        for job, index in tasks
    ]
    strategy = tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc"),
        variable_partitioner=tf.distribute.experimental.partitioners.FixedShardsPartitioner(2),
    )

    made, fill = [], initializers.initializer.fill
    def counted(*arguments, **others):
        values = fill(*arguments, **others)
        made.append(values.shape)
        return values
    initializers.initializer.fill = counted

    generator = initializers.SeedGenerator
    for name, seed in ("TruncatedNormal", 5), ("GlorotUniform", 7), ("HeNormal", generator):
        in_keras, in_numpy = (
            getattr(module, name)(seed=seed if isinstance(seed, int) else seed(3))
            for module in (sk, initializers)
        )
        made.clear()
        with strategy.scope():
            layer = tf_keras.layers.Embedding(1001, 16, embeddings_initializer=in_keras)
            layer.build((None,))
        assert made == [(501, 16), (500, 16)], made
        parts = layer.embeddings.variables
        assert [part.device.split("task:")[1][0] for part in parts] == ["0", "1"]
        together = np.concatenate([part.numpy() for part in parts])
        assert (together == in_numpy((1001, 16))).all(), name
    print("equal", flush=True)
    os._exit(0)  # servers have no way to stop
    """
    assert "equal" in run("tensorflow", "-c", textwrap.dedent(code))


def test_tf_keras_knows_the_initializers():
    code = """
    import sys, tempfile
    import seedbed.keras as sk
    assert "tf_keras" not in sys.modules
    import tf_keras
    sk.register_tf_keras()

    layers = tf_keras.layers
    generator = sk.SeedGenerator(5)
    model = tf_keras.Sequential([
        layers.Input((4, 3)),
        layers.Bidirectional(layers.GRU(2, kernel_initializer=sk.RandomNormal(seed=3))),
        layers.Dense(4, kernel_initializer=sk.HeNormal(seed=generator)),
        layers.Dense(4, kernel_initializer="seedbed>HeNormal", bias_initializer=sk.Constant(0.5)),
    ])
    assert type(model.layers[0].backward_layer.cell.kernel_initializer) is sk.RandomNormal
    found = [tf_keras.models.clone_model(model)]
    for name in ("model.keras", "model"):
        path = tempfile.mkdtemp() + "/" + name
        model.save(path)
        found.append(tf_keras.models.load_model(path))
    for other in found:
        gru, dense, last = other.layers
        assert type(gru.forward_layer.cell.kernel_initializer) is sk.RandomNormal
        assert gru.forward_layer.cell.kernel_initializer.seed == 3
        assert type(dense.kernel_initializer.seed) is sk.SeedGenerator
        assert dense.kernel_initializer.seed.seed == 5
        assert type(last.kernel_initializer) is sk.HeNormal
        assert type(last.bias_initializer) is sk.Constant
    """
    run("tensorflow", "-c", textwrap.dedent(code))


def test_tf_keras_imported_first_knows_the_initializers():
    code = """
    import tf_keras
    import seedbed.keras as sk
    assert type(tf_keras.initializers.get("seedbed>HeNormal")) is sk.HeNormal
    assert tf_keras.utils.get_registered_object("seedbed>SeedGenerator") is sk.SeedGenerator
    """
    run("tensorflow", "-c", textwrap.dedent(code))


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_large_tables_lie_where_they_were_made(backend):
    code = """
    import keras, numpy as np
    import seedbed.keras as sk
    from seedbed import initializers

    made, call = [], initializers.TruncatedNormal.__call__
    def noted(self, *arguments, **others):
        values = call(self, *arguments, **others)
        made.append(values.ctypes.data)
        return values
    initializers.TruncatedNormal.__call__ = noted

    def address(tensor):
        if keras.backend.backend() == "jax":
            return tensor.unsafe_buffer_pointer()
        return np.from_dlpack(keras.src.backend.tensorflow.core.tf.bitcast(
            tensor, f"uint{8 * tensor.dtype.size}")).ctypes.data

    for dtype in ("float32", "bfloat16", "float16"):
        init = sk.TruncatedNormal(seed=7)
        plain = initializers.TruncatedNormal(seed=7)
        tensor = init((2048, 1024), dtype)
        assert address(tensor) == made[-1], dtype
        layer = keras.layers.Embedding(2048, 1024, embeddings_initializer=init, dtype=dtype)
        layer.build((None,))
        variable = keras.Variable(tensor)
        variable.assign_add(keras.ops.ones(tensor.shape, dtype))  # trained
        values = plain((2048, 1024), dtype)
        for found in (tensor, layer.embeddings):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), values, strict=True)
        del tensor
        variable.assign_add(keras.ops.ones(variable.shape, dtype))
        assert (keras.ops.convert_to_numpy(variable) > 1).all()
        for _ in range(3):  # in memory that others may have been given since
            np.full((2048, 1024), 7.0, values.dtype)
        found = keras.ops.convert_to_numpy(layer.embeddings)
        np.testing.assert_array_equal(found, values, strict=True)
    """
    run(backend, "-c", textwrap.dedent(code))


@pytest.mark.tensorflow
def test_keras_generators_have_seeds_of_as_many_bits_as_the_backend():
    code = """
    import keras
    import seedbed.keras as sk
    from seedbed import initializers
    for seed in (7, 2**31, 2**32 + 7, 2**40 + 9, 2**63 - 1):
        found = sk.HeNormal(keras.random.SeedGenerator(seed))((3, 2)).numpy()
        wanted = initializers.HeNormal(initializers.SeedGenerator(seed))((3, 2))
        assert (found == wanted).all(), seed
    """
    run("tensorflow", "-c", textwrap.dedent(code))


@pytest.mark.parametrize(("section", "backend"), [("Keras", "jax"), ("TensorFlow", "tensorflow")])
def test_examples(section, backend, tmp_path):
    text = (ROOT / "docs/frameworks.md").read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    examples = text.split("```python\n")[1:]
    assert len(examples) == {"Keras": 2, "TensorFlow": 1}[section]
    for example in examples:
        code = f"import os\nos.chdir({str(tmp_path)!r})\n{example.split('```')[0]}"
        run(backend, "-c", code, XLA_FLAGS="--xla_force_host_platform_device_count=4")


def test_without_keras_an_error_says_what_to_install():
    code = "import sys; sys.modules['keras'] = None; import seedbed.keras"
    done = processes.run(processes.python(code), check=False)
    assert "seedbed.keras needs Keras and a backend: python -m pip install" in done.stderr
