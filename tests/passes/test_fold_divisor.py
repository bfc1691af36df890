"""
Weights are divided instead of images, where nothing else sees the difference.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import DType
from compiler.ops.reference import evaluate
from compiler.passes.fold_divisor import fold_divisor
from tests.images import Layer, image_policy
from tests.passes.graphs import PROPAGATE, Graph, apply, data_of, graph_of


def test_a_convolution_takes_the_divisor():
    model = image_policy((1, 4, 4), [Layer(2, (3, 3), padding=(1, 1))], hidden=())
    folded = apply(fold_divisor, model, PROPAGATE)
    assert (
        graph_of(folded)
        == """\
input 'observation': float32[batch, 1, 4, 4]
constant 'cnn.0.weight': float32[2, 1, 3, 3]
constant 'cnn.0.bias': float32[2]
constant 'q_net.weight': float32[3, 32]
constant 'q_net.bias': float32[3]
'cnn.0': float32[batch, 2, 4, 4] = conv2d('observation', 'cnn.0.weight', 'cnn.0.bias', dilation=(1, 1), \
padding=(1, 1), stride=(1, 1))  # 'cnn.0'
'cnn.0.relu': float32[batch, 2, 4, 4] = relu('cnn.0')  # 'cnn.0.relu'
'flatten': float32[batch, 32] = flatten('cnn.0.relu')  # 'flatten'
'q_net': float32[batch, 3] = linear('flatten', 'q_net.weight', 'q_net.bias')  # 'q_net'
'mode': int64[batch] = argmax('q_net', sizes=())  # 'mode'
output 'action' = 'mode' (action)
output 'q_values' = 'q_net' (scores)"""
    )
    before, after = (data_of(each, "cnn.0.weight") for each in (model, folded))
    assert np.array_equal(after, (before.astype(np.float64) / 255).astype(np.float32))
    image = {"observation": np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4))}
    assert np.allclose(evaluate(model, image)["q_net"], evaluate(folded, image)["q_net"], rtol=1e-6, atol=1e-6)


def flat(*readers: str, divisor: float = 4.0, weight: float = 1.0):
    """
    x / divisor, flattened, then what is named: `linear` with the one weight of all, or other ops.
    """
    found = Graph()
    result = found.add("flatten", [found.add("divide", ["x"], "divide", divisor=divisor)], "flatten")
    shared = found.constant("weight", np.full((2, 4), weight, np.float32))
    for number, op in enumerate(readers):
        inputs = [result, shared, found.bias(f"bias {number}", 2)] if op == "linear" else [result]
        found.add(op, inputs, f"result {number}")
    return found, [(f"result {number}", "output") for number in range(len(readers))]


def model_of(*readers: str, **settings: float):
    found, outputs = flat(*readers, **settings)
    model = found.model(*outputs)
    named = [replace(output, name=str(number)) for number, output in enumerate(model.outputs)]
    return replace(model, outputs=tuple(named))


def test_all_linear_layers_behind_a_flatten():
    folded = apply(fold_divisor, model_of("linear", "linear"))
    assert [node.op for node in folded.nodes] == ["flatten", "linear", "linear"]
    names = [node.inputs[1] for node in folded.nodes[1:]]
    assert names == ["weight:divided", "weight:divided:2"]
    assert all((data_of(folded, name) == 0.25).all() for name in names)
    assert "weight" not in folded.tensors


def test_two_divisors_in_a_row():
    found = Graph()
    half = found.add("divide", [found.add("divide", ["x"], "one", divisor=2.0)], "two", divisor=5.0)
    model = found.model((found.linear(half, "net", 3), "scores"))
    folded = apply(fold_divisor, model)
    assert [node.op for node in folded.nodes] == ["linear"]
    assert folded.nodes[0].inputs[0] == "x"
    assert np.allclose(data_of(folded, "net.weight"), data_of(model, "net.weight") / 10, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"divisor": 0.0},
        {"divisor": float("nan")},
        {"divisor": float("inf")},
        {"divisor": 1e30, "weight": 1e-10},
        {"divisor": 1e-30, "weight": 1e10},
        {"divisor": 2.0, "weight": 1e-40},
    ],
)
def test_what_weights_can_not_hold(settings):
    model = model_of("linear", **settings)
    assert apply(fold_divisor, model) == model


@pytest.mark.parametrize("readers", [("tanh",), ("linear", "tanh"), ("softmax", "linear")])
def test_what_something_else_reads(readers):
    model = model_of(*readers)
    assert apply(fold_divisor, model) == model


def test_a_result_is_needed():
    found, _ = flat("linear")
    for name in ("divide", "flatten"):
        model = found.model(("result 0", "scores"), (name, "output"))
        assert apply(fold_divisor, model) == model


def test_a_computed_weight_stays():
    found = Graph()
    weight = found.input("weight", DType.FLOAT32, (3, 4))
    scaled = found.add("divide", ["x"], "divide", divisor=2.0)
    result = found.add("linear", [scaled, weight, found.bias("bias", 3)], "net")
    model = found.model((result, "scores"))
    model = replace(model, inputs=("x", "weight"))
    assert apply(fold_divisor, model) == model
