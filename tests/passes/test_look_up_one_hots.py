"""
Products with one-hot vectors become look-ups.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model
from compiler.ops.dense import MOST_CHOICES
from compiler.ops.reference import evaluate
from compiler.passes.drop_unused import drop_unused
from compiler.passes.look_up_one_hots import look_up_one_hots
from tests.passes.graphs import RAISE, Graph, apply, graph_of

INPUTS = ("x", "room", "wind")


def graph() -> Graph:
    """
    Two discrete observations, `room` of 5 and `wind` of 2 and 3 values, beside `x`.
    """
    found = Graph()
    found.input("room", DType.INT64, (BATCH,))
    found.input("wind", DType.INT64, (BATCH, 2))
    found.add("one_hot", ["room"], "rooms", sizes=(5,))
    found.add("one_hot", ["wind"], "winds", sizes=(2, 3))
    return found


def check_answers(before: Model, after: Model) -> None:
    rng = np.random.default_rng(1)
    inputs = {
        "x": rng.normal(size=(40, 4)),
        "room": rng.integers(0, 5, 40),
        "wind": np.stack([rng.integers(0, 2, 40), rng.integers(0, 3, 40)], axis=1),
    }
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    for output in before.outputs:
        assert np.allclose(one[output.tensor], other[output.tensor], rtol=1e-12)


def looked_up(found: Graph, *outputs: tuple[str, str]) -> Model:
    model = found.model(*outputs, inputs=INPUTS)
    after = apply(look_up_one_hots, model)
    check_answers(model, after)
    return drop_unused(after, RAISE)


def test_text():
    found = graph()
    flat = found.add("flatten", ["rooms"], "flatten")
    assert (
        graph_of(looked_up(found, (found.linear(flat, "net", 7), "scores")))
        == """\
input 'x': float32[batch, 4]
input 'room': int64[batch]
input 'wind': int64[batch, 2]
constant 'net.weight': float32[5, 7]
constant 'net.bias': float32[7]
'net': float32[batch, 7] = lookup('room', 'net.weight', 'net.bias', activation='', sizes=(5,))  # 'net'
output 'scores' = 'net' (scores)"""
    )


def test_text_of_one_hots_among_others():
    found = graph()
    parts = [found.add("flatten", [name], f"{name}.flatten") for name in ("x", "rooms", "winds")]
    joined = found.add("concat", [*parts[1:], parts[0], "x"], "features")
    model = looked_up(found, (found.linear(joined, "net", 7), "scores"))
    assert (
        graph_of(model)
        == """\
input 'x': float32[batch, 4]
input 'room': int64[batch]
input 'wind': int64[batch, 2]
constant 'net.weight': float32[7, 8]
constant 'net.bias': float32[7]
constant 'net.weight:table': float32[5, 7]
constant 'net.weight:table:2': float32[5, 7]
'x.flatten': float32[batch, 4] = flatten('x')  # 'x.flatten'
'concatenated:rest': float32[batch, 8] = concat('x.flatten', 'x')  # 'concatenated:rest'
'net:rest': float32[batch, 7] = linear('concatenated:rest', 'net.weight', 'net.bias')  # 'net'
'net:1': float32[batch, 7] = lookup('room', 'net.weight:table', 'net:rest', activation='', sizes=(5,))  # 'net'
'net': float32[batch, 7] = lookup('wind', 'net.weight:table:2', 'net:1', activation='', sizes=(2, 3))  # 'net'
output 'scores' = 'net' (scores)"""
    )


def test_one_part_that_is_left_needs_no_concatenation():
    found = graph()
    joined = found.add("flatten", [found.add("concat", ["winds", "x"], "features")], "flatten")
    ops = [node.op for node in looked_up(found, (found.linear(joined, "net", 7), "scores")).nodes]
    assert ops == ["linear", "lookup"]


def test_nothing_but_one_hots_needs_no_product():
    found = graph()
    joined = found.add("concat", ["winds", "rooms", "winds"], "features")
    ops = [node.op for node in looked_up(found, (found.linear(joined, "net", 7), "scores")).nodes]
    assert ops == ["lookup"] * 3


def test_two_layers_share_what_is_left_to_concatenate():
    found = graph()
    joined = found.add("concat", ["x", "rooms", "x"], "features")
    policy, value = found.linear(joined, "policy", 7), found.linear(joined, "value", 3)
    ops = [node.op for node in looked_up(found, (policy, "scores"), (value, "value")).nodes]
    assert ops == ["concat", "linear", "lookup", "linear", "lookup"]


def test_a_weight_and_a_one_hot_that_others_read_too_stay():
    found = graph()
    found.linear("rooms", "net", 5)
    found.add("linear", ["rooms", "net.weight", found.bias("other", 5)], "beside")
    model = looked_up(found, ("net", "action"), ("beside", "scores"), ("rooms", "output"))
    assert [node.op for node in model.nodes] == ["one_hot", "lookup", "lookup"]
    assert model.nodes[1].inputs[1] == "net.weight:table"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_multiplied(value):
    found = graph()
    model = found.model((found.linear("rooms", "net", 5), "scores"), inputs=INPUTS)
    weight = model.tensors["net.weight"]
    assert weight.data is not None
    weight.data[2, 3] = value
    assert apply(look_up_one_hots, model) == model


def test_what_is_left_alone():
    found = graph()
    hidden = found.add("tanh", ["rooms"], "tanh")
    no_one_hots = found.model((found.linear(hidden, "net", 5), "scores"), inputs=INPUTS)
    assert apply(look_up_one_hots, no_one_hots) == no_one_hots

    found = graph()
    chosen = found.add("one_hot", [found.add("argmax", ["x"], "mode")], "chosen", sizes=(9,))
    computed = found.model((found.linear(chosen, "net", 5), "scores"), inputs=INPUTS)
    assert apply(look_up_one_hots, computed) == computed

    for count in (MOST_CHOICES, MOST_CHOICES + 1):
        found = Graph()
        found.input("many", DType.INT64, (BATCH, count))
        bits = found.add("one_hot", ["many"], "bits", sizes=(2,) * count)
        many = replace(found.model((found.linear(bits, "net", 5), "scores")), inputs=("x", "many"))
        assert apply(look_up_one_hots, many).nodes[-1].op == ("lookup" if count == MOST_CHOICES else "linear")
