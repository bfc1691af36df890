"""
Convolutions get packed weights and leave channels last; what follows still computes the same.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, DType, Model, Output
from compiler.ops.convolution import unpack
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes.fuse_activations import fuse_activations
from compiler.passes.pack_convolutions import pack_convolutions
from tests.images import ImageGraph, Layer, image_model, image_policy
from tests.passes.graphs import apply, data_of, graph_of

TWO = (Layer(20, (3, 2), (2, 1)), Layer(5, (2, 2), padding=(1, 0), dilation=(1, 2), activation="tanh"))


def images(model: Model) -> dict[str, np.ndarray]:
    shape = model.tensors["observation"].fixed_shape
    return {"observation": np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.float64)}


def same(before: Model, after: Model) -> bool:
    one, other = evaluate(before, images(before)), evaluate(after, images(before))
    return all(np.allclose(one[output.tensor], other[output.tensor], rtol=1e-9, atol=1e-9) for output in before.outputs)


def test_text():
    packed = apply(pack_convolutions, image_policy((2, 9, 7), TWO, hidden=()))
    assert (
        graph_of(packed)
        == """\
input 'observation': float32[batch, 2, 9, 7]
constant 'cnn.0.weight': float32[1, 2, 3, 2, 32]
constant 'cnn.0.bias': float32[32]
constant 'cnn.2.weight': float32[1, 2, 2, 20, 16]
constant 'cnn.2.bias': float32[16]
constant 'q_net.weight': float32[3, 100]
constant 'q_net.bias': float32[3]
'scaled': float32[batch, 2, 9, 7] = divide('observation', divisor=255.0)  # 'scaled'
'cnn.0:channels_last': float32[batch, 4, 6, 20] = convolution('scaled', 'cnn.0.weight', 'cnn.0.bias', activation='', \
dilation=(1, 1), filters=20, layout='channels_first', stride=(2, 1))  # 'cnn.0'
'cnn.0.relu:channels_last': float32[batch, 4, 6, 20] = relu('cnn.0:channels_last')  # 'cnn.0.relu'
'cnn.2:padded': float32[batch, 6, 6, 20] = pad('cnn.0.relu:channels_last', layout='channels_last', padding=(1, 0))  \
# 'cnn.2:padded'
'cnn.2:channels_last': float32[batch, 5, 4, 5] = convolution('cnn.2:padded', 'cnn.2.weight', 'cnn.2.bias', \
activation='', dilation=(1, 2), filters=5, layout='channels_last', stride=(1, 1))  # 'cnn.2'
'cnn.2.tanh:channels_last': float32[batch, 5, 4, 5] = tanh('cnn.2:channels_last')  # 'cnn.2.tanh'
'flatten:channels_last': float32[batch, 100] = flatten('cnn.2.tanh:channels_last')  # 'flatten'
'q_net': float32[batch, 3] = linear('flatten:channels_last', 'q_net.weight', 'q_net.bias')  # 'q_net'
'mode': int64[batch] = argmax('q_net', sizes=())  # 'mode'
output 'action' = 'mode' (action)
output 'q_values' = 'q_net' (scores)"""
    )


@pytest.mark.parametrize("lanes", LANES)
def test_weights_and_results_keep_their_values(lanes):
    model = image_policy((3, 11, 12), TWO)
    packed = apply(pack_convolutions, model, BuildOptions(lanes=lanes))
    assert same(model, packed)
    for node in packed.nodes:
        if node.op == "convolution":
            weight, bias = (data_of(packed, name) for name in node.inputs[1:])
            before = data_of(model, f"{node.name}.weight")
            filters = len(before)
            assert np.array_equal(unpack(weight, str(node.attributes["layout"]), filters), before)
            assert np.count_nonzero(weight) == np.count_nonzero(before)
            assert weight.shape[-1] % lanes == 0
            assert np.array_equal(bias[:filters], data_of(model, f"{node.name}.bias"))
            assert not bias[filters:].any()


@pytest.mark.parametrize("first", LANES)
@pytest.mark.parametrize("second", LANES)
def test_what_is_packed_for_other_registers_is_packed_anew(first, second):
    model = image_policy((3, 11, 12), (Layer(70, (3, 3)), Layer(7, (2, 3))))
    again = pack_convolutions(pack_convolutions(model, BuildOptions(lanes=first)), BuildOptions(lanes=second))
    assert again == pack_convolutions(model, BuildOptions(lanes=second))


def test_only_short_activations_are_fused():
    packed = fuse_activations(pack_convolutions(image_policy((2, 9, 7), TWO), BuildOptions()), BuildOptions())
    found = [(node.op, node.attributes.get("activation")) for node in packed.nodes]
    assert ("convolution", "relu") in found
    assert ("convolution", "") in found
    assert ("tanh", None) in found


def branching() -> Model:
    """
    Two convolutions of one image; of the first, its result, its rows in a softmax and its sum with itself are results.
    """
    graph = ImageGraph(0)
    observed = graph.input("observation", DType.FLOAT32, (BATCH, 3, 8, 8))
    first = graph.convolution(observed, Layer(6, (3, 3)), "first")
    second = graph.convolution(observed, Layer(6, (3, 3)), "second")
    third = graph.convolution(first, Layer(4, (2, 2), (2, 2)), "third")
    soft = graph.add("softmax", [graph.add("flatten", [second], "rows")], "softmax")
    flat = graph.add("flatten", [third], "flat")
    model = image_model(graph, graph.linear(flat, "q_net", 3), (3, 8, 8))
    graph.linear(flat, "other", 2)
    extra = [Output(name, name) for name in ("first.relu", "softmax", "other")]
    assert soft == "softmax"
    return replace(model, nodes=tuple(graph.nodes), outputs=(*model.outputs, *extra))


def test_what_needs_the_layout_of_pytorch_gets_a_copy():
    model = branching()
    packed = apply(pack_convolutions, model)
    assert same(model, packed)
    copied = [node.outputs[0] for node in packed.nodes if node.op == "channels_first"]
    assert copied == ["first.relu", "second.relu"]
    third = next(node for node in packed.nodes if node.name == "third")
    assert third.inputs[0] == "first.relu:channels_last"


def test_weights_that_two_layers_share():
    graph = ImageGraph(0)
    observed = graph.input("observation", DType.FLOAT32, (BATCH, 3, 9, 9))
    weight = graph.constant("weight", graph.rng.normal(size=(3, 3, 2, 2)).astype(np.float32))
    bias = graph.bias("shared", 3)
    result = observed
    for name in ("one", "two"):
        result = graph.add("conv2d", [result, weight, bias], name, stride=(1, 1))
    matrix = graph.constant("matrix", graph.rng.normal(size=(3, 147)).astype(np.float32))
    flat = graph.add("flatten", [result], "flat")
    raw = graph.add("flatten", [graph.add("flatten", [result], "plain")], "again")
    scores = [graph.add("linear", [rows, matrix, bias], rows + " scores") for rows in (flat, raw)]
    model = image_model(graph, scores[0], (3, 9, 9))
    model = replace(model, outputs=(*model.outputs, Output("other", scores[1])))
    packed = apply(pack_convolutions, model)
    assert same(model, packed)
    used = {name for node in packed.nodes for name in node.inputs}
    assert {tensor.name for tensor in packed.constants()} <= used


def test_names_that_are_taken_are_not_taken_again():
    model = image_policy((2, 9, 7), TWO)
    nodes = [replace(node, outputs=("cnn.0:channels_last",)) if node.name == "mode" else node for node in model.nodes]
    tensors = {name: tensor for name, tensor in model.tensors.items() if name != "mode"}
    tensors["cnn.0:channels_last"] = replace(model.tensors["mode"], name="cnn.0:channels_last")
    outputs = replace(model.outputs[0], tensor="cnn.0:channels_last"), model.outputs[1]
    model = replace(model, nodes=tuple(nodes), tensors=tensors, outputs=outputs)
    assert same(model, apply(pack_convolutions, model))


def test_a_weight_that_is_computed_is_refused():
    graph = ImageGraph(0)
    observed = graph.input("observation", DType.FLOAT32, (BATCH, 3, 9, 9))
    weight = graph.input("weight", DType.FLOAT32, (2, 3, 2, 2))
    result = graph.add("conv2d", [observed, weight, graph.bias("bias", 2)], "net", stride=(1, 1))
    scores = graph.linear(graph.add("flatten", [result], "flat"), "q_net", 2)
    model = replace(image_model(graph, scores, (3, 9, 9)), inputs=("observation", "weight"))
    with pytest.raises(UnsupportedError, match="weight and bias must be constants"):
        pack_convolutions(model, BuildOptions())
