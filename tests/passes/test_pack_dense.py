"""
Weights in the order in which kernels read them.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, DType, State
from compiler.ops.dense import unpack
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes.pack_dense import REGISTERS, pack_dense
from tests.passes.graphs import Graph, apply, data_of, graph_of

SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 100, 300)


def options(lanes: int) -> BuildOptions:
    return BuildOptions(lanes=lanes)


def single(inputs: int, outputs: int):
    found = Graph()
    found.input("wide", DType.FLOAT32, (BATCH, inputs))
    return replace(found.model((found.linear("wide", "net", outputs), "scores")), inputs=("x", "wide"))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("outputs", SIZES)
@pytest.mark.parametrize("inputs", [1, 4, 17, 64, 300])
def test_weights_keep_their_values(inputs, outputs, lanes):
    model = single(inputs, outputs)
    packed = apply(pack_dense, model, options(lanes))
    (node,) = packed.nodes
    weight, bias = (data_of(packed, name) for name in node.inputs[1:])
    before_weight, before_bias = (data_of(model, name) for name in node.inputs[1:])
    assert np.array_equal(unpack(weight, str(node.attributes["layout"]), inputs, outputs), before_weight)
    assert np.array_equal(bias[:outputs], before_bias)
    assert not bias[outputs:].any()
    assert np.count_nonzero(weight) <= np.count_nonzero(before_weight)
    assert weight.dtype == bias.dtype == np.float32
    assert weight.flags.c_contiguous
    assert bias.size % lanes == weight.shape[-1] % lanes == 0
    if node.attributes["layout"] == "columns":
        blocks, _, width = weight.shape
        assert width <= REGISTERS * lanes
        assert bias.size == blocks * width < outputs + width
    else:
        assert outputs <= 16
        assert weight.shape == (outputs, -(-inputs // lanes) * lanes)


@pytest.mark.parametrize(("lanes", "width"), [(1, 16), (4, 16), (8, 16), (16, 16)])
def test_large_weights_lie_in_the_order_in_which_they_are_streamed(lanes, width):
    (node,) = pack_dense(single(2048, 128), options(lanes)).nodes
    assert node.attributes["layout"] == "columns"
    assert data_of(pack_dense(single(2048, 128), options(lanes)), node.inputs[1]).shape == (128 // width, 2048, width)


def test_text():
    found = Graph()
    hidden = found.linear("x", "one", 40)
    model = found.model((found.linear(hidden, "two", 2), "scores"))
    assert (
        graph_of(apply(pack_dense, model, options(16)))
        == """\
input 'x': float32[batch, 4]
constant 'one.weight': float32[1, 4, 48]
constant 'one.bias': float32[48]
constant 'two.weight': float32[2, 48]
constant 'two.bias': float32[16]
'one': float32[batch, 40] = dense('x', 'one.weight', 'one.bias', activation='', layout='columns', outputs=40)  # 'one'
'two': float32[batch, 2] = dense('one', 'two.weight', 'two.bias', activation='', layout='rows', outputs=2)  # 'two'
output 'scores' = 'two' (scores)"""
    )


@pytest.mark.parametrize("first", LANES)
@pytest.mark.parametrize("second", LANES)
def test_what_is_packed_for_other_registers_is_packed_anew(first, second):
    for outputs in (2, 17, 300):
        model = single(33, outputs)
        assert pack_dense(pack_dense(model, options(first)), options(second)) == pack_dense(model, options(second))


def shared():
    """
    Two layers of other sizes with one bias, two with one weight, and a bias that is a result as well.
    """
    found = Graph()
    bias = found.bias("bias", 16)
    wide = found.constant("wide", found.rng.normal(size=(16, 100)).astype(np.float32))
    narrow = found.constant("narrow", found.rng.normal(size=(16, 4)).astype(np.float32))
    one = found.add("linear", ["x", narrow, bias], "one")
    two = found.add("linear", [found.linear(one, "between", 100), wide, bias], "two")
    three = found.add("linear", ["x", narrow, found.bias("own", 16)], "three")
    return found.model((one, "action"), (two, "scores"), (three, "value"), ("own", "output"))


@pytest.mark.parametrize("lanes", LANES)
def test_constants_that_others_read_too(lanes):
    model = shared()
    packed = apply(pack_dense, model, options(lanes))
    inputs = {"x": np.random.default_rng(1).normal(size=(5, 4))}
    before, after = evaluate(model, inputs), evaluate(packed, inputs)
    for output in model.outputs:
        assert np.allclose(before[output.tensor], after[output.tensor], rtol=1e-12)
    assert "own" in packed.tensors
    used = {name for node in packed.nodes for name in node.inputs} | {"own", "x"}
    assert {tensor.name for tensor in packed.constants()} <= used


def test_a_name_that_is_taken_is_not_taken_again():
    model = shared()
    other = np.zeros(2, np.float32)
    tensors = {
        **model.tensors,
        "bias:packed": replace(model.tensors["bias"], name="bias:packed", data=other, shape=(2,)),
    }
    outputs = (*model.outputs, replace(model.outputs[0], name="kept", tensor="bias:packed"))
    packed = apply(pack_dense, replace(model, tensors=tensors, outputs=outputs), options(16))
    assert np.array_equal(data_of(packed, "bias:packed"), other)


def test_an_initial_state_stays_as_it_is():
    found = Graph()
    found.input("state", DType.FLOAT32, (BATCH, 3))
    layer = found.linear("x", "net", 3)
    states = (State("memory", "state", found.add("tanh", ["state"], "following"), "net.bias"),)
    model = replace(found.model((layer, "scores")), states=states)
    packed = apply(pack_dense, model, options(8))
    assert packed.tensors["net.bias"] == model.tensors["net.bias"]


def test_what_is_left_alone():
    found = Graph()
    model = found.model((found.add("tanh", ["x"], "tanh"), "scores"))
    assert apply(pack_dense, model, options(4)) == model


def test_a_weight_that_is_computed_is_refused():
    found = Graph()
    weight = found.input("weight", DType.FLOAT32, (3, 4))
    result = found.add("linear", ["x", weight, found.bias("bias", 3)], "net")
    model = replace(found.model((result, "scores")), inputs=("x", "weight"))
    with pytest.raises(UnsupportedError, match="weight and bias must be constants"):
        pack_dense(model, options(16))
