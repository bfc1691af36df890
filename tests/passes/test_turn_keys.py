"""
The keys of attention become columns, by a permutation of their own or by the one before.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model
from compiler.ops.reference import evaluate
from compiler.passes.turn_keys import turn_keys
from compiler.pipeline import run_passes
from tests.passes.graphs import RAISE, Graph, apply

SHAPES = {"queries": (2, 3, 4), "keys": (2, 5, 4), "values": (2, 5, 6), "steps": (5, 2, 4)}


def builder() -> Graph:
    found = Graph()
    found.tensors.clear()
    for name, shape in SHAPES.items():
        found.input(name, DType.FLOAT32, (BATCH, *shape))
    return found


def attend(found: Graph, keys: str, name: str = "attend") -> str:
    return found.add("attention", ["queries", keys, "values"], name, scale=0.5, causal=True)


def general(found: Graph, *results: str) -> Model:
    model = found.model((results[0], "output"), policy=False, inputs=tuple(SHAPES))
    return replace(model, outputs=tuple(replace(model.outputs[0], name=name, tensor=name) for name in results))


def turned(model: Model) -> Model:
    after = apply(turn_keys, model)
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(3, *shape)) for name, shape in SHAPES.items()}
    one, other = evaluate(model, inputs), evaluate(after, inputs)
    for output in model.outputs:
        np.testing.assert_allclose(one[output.tensor], other[output.tensor], rtol=1e-12, atol=1e-12)
    assert all(node.attributes["turned"] for node in after.nodes if node.op == "attention")
    assert turn_keys(after, RAISE) == after
    assert run_passes(run_passes(model, RAISE), RAISE) == run_passes(model, RAISE)
    return after


def test_keys_get_a_permutation():
    found = builder()
    after = turned(general(found, attend(found, "keys")))
    assert [node.op for node in after.nodes] == ["permute", "attention"]
    assert after.nodes[0].attributes["order"] == (0, 2, 1)


def test_the_permutation_that_is_there_is_another_one():
    found = builder()
    keys = found.add("permute", ["steps"], "turn", order=(1, 0, 2))
    after = turned(general(found, attend(found, keys)))
    assert [node.op for node in after.nodes] == ["permute", "attention"]
    assert after.nodes[0].attributes["order"] == (1, 2, 0)


@pytest.mark.parametrize("several", [False, True])
def test_a_permutation_that_others_need_stays(several):
    found = builder()
    keys = found.add("permute", ["steps"], "turn", order=(1, 0, 2))
    results = [attend(found, keys), attend(found, keys, "again") if several else keys]
    after = turned(general(found, *results))
    assert [node.op for node in after.nodes] == ["permute", *["permute", "attention"] * (2 if several else 1)]


def test_constant_keys_are_turned_at_once():
    found = builder()
    keys = found.constant("table", found.rng.normal(size=SHAPES["keys"]).astype(np.float32))
    after = turned(general(found, attend(found, keys), attend(found, keys, "again")))
    assert [node.op for node in after.nodes] == ["attention", "attention"]


def test_what_has_no_attention_is_left_alone():
    found = builder()
    model = general(found, found.add("tanh", ["keys"], "tanh"))
    assert apply(turn_keys, model) == model
