"""seedbed.keras in TensorFlow: partitioned variables, `tf_keras`, graphs."""

import textwrap

from tests.keras.runner import run


def test_partitioned_tensorflow_variables_equal_whole_ones():
    code = """
    import os, pickle, socket
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
        assert len(pickle.dumps(in_keras)) < 500, name
        if isinstance(seed, int):
            assert (pickle.loads(pickle.dumps(in_keras))((9, 2)) == in_keras((9, 2))).numpy().all()
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


def test_graphs_keras_generators_and_recommenders():
    assert "done" in run("tensorflow", "-m", "tests.keras.tensorflow_world")
