"""The examples of docs/embeddings.md run where their packages install."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/embeddings.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
PACKAGES = ("torchrec", "tensorflow_recommenders_addons", "torch")


def needs(example):
    """Return the package that an example is about; torchrec brings torch."""
    return next((package for package in PACKAGES if f"import {package}" in example
                 or f"from {package}" in example), "")  # fmt: skip


def run(example):
    package = needs(example)
    if package:
        pytest.importorskip(package)
    names = {}
    exec(compile(example, "embeddings.md", "exec"), names)
    return names


def test_there_is_one_example_each():
    assert [needs(example) for example in EXAMPLES] == [
        "", "", "tensorflow_recommenders_addons", "torchrec", "torch", "torch",
    ]  # fmt: skip


@pytest.mark.parametrize("example", [e for e in EXAMPLES if not needs(e)])
def test_examples(example):
    run(example)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if needs(e) == "torch"])
def test_examples_of_torch(example):
    run(example)


def test_a_tfra_lookup_gives_a_key_one_row():
    """Three batches in two orders, over one shard and two."""
    names = run(EXAMPLES[2])
    tf, keyed = names["tf"], names["Keyed"]
    batches = [[1, 2, 3], [2**40, -7, 2], [3, 9, 1, 9]]
    for devices in (["/CPU:0"], ["/CPU:0"] * 2):
        for number, order in enumerate((batches, batches[::-1])):
            name = f"table_{len(devices)}_{number}"
            table = keyed(name=name, dim=16, initializer=0.0, devices=devices)
            for keys in order:
                found = table.lookup(tf.constant(keys, tf.int64)).numpy()
                assert found.tobytes() == keyed.init.keyed(keys, 16).tobytes()


def test_torchrec_slots_that_change_hands_get_the_rows_of_their_ids():
    names = run(EXAMPLES[3])
    torch, new, init_fn, init = (names[name] for name in ("torch", "new", "init_fn", "init"))
    from torchrec.sparse.jagged_tensor import JaggedTensor

    generator = torch.Generator().manual_seed(1)
    seen = {}
    for order in (1, -1):
        module = new().train()
        weight = init_fn(torch.empty(20, 8))
        batches = [torch.randint(0, 2**40, (12,), generator=generator.manual_seed(i))
                   for i in range(6)][::order]  # fmt: skip
        changed = 0
        for ids in batches:
            features = {"user": JaggedTensor(values=ids, lengths=torch.ones_like(ids))}
            module.profile(module.preprocess(features))
            slots = module.evict()
            if slots is not None:  # as ShardedManagedCollisionEmbeddingCollection does
                weight[slots] = init_fn(weight[slots])
                changed += len(slots)
            remapped = module.remap(
                {"user": JaggedTensor(values=ids, lengths=torch.ones_like(ids))}
            )
            slot_of = remapped["user"].values()
            known = torch.isin(ids, module._mch_sorted_raw_ids)
            for own_id, slot in zip(ids[known].tolist(), slot_of[known].tolist(), strict=True):
                row = weight[slot].numpy().tobytes()
                assert row == init.keyed([own_id], 8).tobytes()
                assert seen.setdefault(own_id, row) == row
        assert changed > 20
