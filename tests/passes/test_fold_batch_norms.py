"""
Batch norms become part of the layers around them where that costs no precision.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from compiler.ir import Model
from compiler.ops.reference import evaluate
from compiler.passes.fold_batch_norms import LARGEST_OFFSET, fold_batch_norms
from tests.passes.graphs import Graph, apply, graph_of


class Normed(Graph):
    """
    A graph with batch norms.
    """

    def norm(self, source: str, name: str, mean: float = 0.5) -> str:
        features = self.tensors[source].elements
        scale, bias = self.rng.uniform(-2, 2, (2, features)).astype(np.float32)
        arrays = {
            "running_mean": np.full(features, mean, np.float32),
            "running_var": self.rng.uniform(0.5, 1, features).astype(np.float32),
            "scale": scale,
            "bias": bias,
        }
        names = [self.constant(f"{name}.{key}", array) for key, array in arrays.items()]
        return self.add("batch_norm", [source, *names], name, epsilon=0.001)


def folded(model: Model) -> Model:
    after = apply(fold_batch_norms, model)
    inputs = {"x": np.random.default_rng(1).normal(size=(20, 4))}
    one, other = evaluate(model, inputs), evaluate(after, inputs)
    for output in model.outputs:
        expected = one[output.tensor]
        assert np.allclose(expected, other[output.tensor], rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    return after


def ops(model: Model) -> Sequence[str]:
    return [node.op for node in model.nodes]


def test_text_of_one_that_moves_into_the_layer_after_it():
    found = Normed()
    model = found.model((found.linear(found.norm("x", "bn"), "net", 3), "scores"))
    assert (
        graph_of(folded(model))
        == """\
input 'x': float32[batch, 4]
constant 'net.weight': float32[3, 4]
constant 'net.bias': float32[3]
'net': float32[batch, 3] = linear('x', 'net.weight', 'net.bias')  # 'net'
output 'scores' = 'net' (scores)"""
    )


def test_text_of_one_that_moves_into_the_layer_before_it():
    found = Normed()
    model = found.model((found.norm(found.linear("x", "net", 3), "bn", mean=100), "scores"))
    assert (
        graph_of(folded(model))
        == """\
input 'x': float32[batch, 4]
constant 'net.weight': float32[3, 4]
constant 'net.bias': float32[3]
'bn': float32[batch, 3] = linear('x', 'net.weight', 'net.bias')  # 'net'
output 'scores' = 'bn' (scores)"""
    )


def test_text_of_one_that_stays():
    found = Normed()
    model = found.model((found.linear(found.norm("x", "bn", mean=100), "net", 3), "scores"))
    assert (
        graph_of(folded(model))
        == """\
input 'x': float32[batch, 4]
constant 'bn.running_mean': float32[4]
constant 'bn.scale': float32[4]
constant 'bn.bias': float32[4]
constant 'net.weight': float32[3, 4]
constant 'net.bias': float32[3]
'bn': float32[batch, 4] = affine('x', 'bn.running_mean', 'bn.scale', 'bn.bias')  # 'bn'
'net': float32[batch, 3] = linear('bn', 'net.weight', 'net.bias')  # 'net'
output 'scores' = 'net' (scores)"""
    )


@pytest.mark.parametrize("offset", [0.0, 0.6 * LARGEST_OFFSET, 1.5 * LARGEST_OFFSET, 1000.0])
def test_no_precision_is_lost(offset):
    # What a layer in float32 makes of a feature near its mean, folded or not, must not depend on how far that is.
    found = Normed()
    found.norm("x", "bn", mean=offset)
    model = found.model((found.linear("bn", "net", 50), "scores"))
    after = folded(model)
    assert ops(after) == (["linear"] if offset < LARGEST_OFFSET else ["affine", "linear"])
    x = (np.random.default_rng(0).normal(size=(500, 4)) * 0.8 + offset).astype(np.float32)
    right = evaluate(model, {"x": x})["net"]
    arrays = [after.tensors[name].data for name in after.nodes[-1].inputs[1:]]
    if after.nodes[0].op == "affine":
        shift, scale, bias = (after.tensors[name].data for name in after.nodes[0].inputs[1:])
        x = (x - shift) * scale + bias
    weight, bias = arrays
    assert weight is not None
    error = np.abs(x @ weight.T + bias - right).max() / np.abs(right).max()
    assert error < 2e-6


def test_a_network_that_is_normed_everywhere():
    found = Normed()
    result = found.norm("x", "bn.0")
    for number in range(3):
        result = found.linear(result, f"net.{number}", 6)
        result = found.norm(found.add("relu", [result], f"relu.{number}"), f"bn.{number + 1}")
    model = found.model((found.linear(result, "mean", 2), "action"), (found.linear(result, "std", 2), "distribution"))
    assert ops(folded(model)) == ["linear", "relu"] * 3 + ["linear", "linear"]


def test_layers_before_and_after():
    found = Normed()
    between = found.norm(found.linear("x", "one", 5), "bn")
    assert ops(folded(found.model((found.linear(between, "two", 3), "scores")))) == ["linear", "linear"]

    found = Normed()
    twice = found.norm(found.norm(found.linear("x", "one", 5), "bn.0"), "bn.1")
    assert ops(folded(found.model((twice, "scores")))) == ["linear"]


def test_what_others_need_too_stays():
    found = Normed()
    layer = found.linear("x", "one", 5)
    normed = found.norm(layer, "bn")
    model = found.model((found.linear(normed, "two", 3), "scores"), (layer, "output"))
    assert ops(folded(model)) == ["linear", "linear"]
    assert folded(model).nodes[0] == model.nodes[0]

    found = Normed()
    normed = found.norm("x", "bn")
    model = found.model((found.linear(normed, "two", 3), "scores"), (normed, "output"))
    assert ops(folded(model)) == ["affine", "linear"]

    found = Normed()
    normed = found.norm("x", "bn")
    model = found.model((found.linear(normed, "two", 3), "scores"), (found.add("tanh", [normed], "tanh"), "output"))
    assert ops(folded(model)) == ["affine", "linear", "tanh"]


@pytest.mark.parametrize(
    ("name", "value"), [("running_var", -1.0), ("scale", 3e38), ("bias", np.inf), ("scale", np.nan)]
)
def test_what_float32_does_not_hold_is_not_folded(name, value):
    found = Normed()
    model = found.model((found.linear(found.norm("x", "bn"), "net", 3), "scores"))
    constant = model.tensors[f"bn.{name}"]
    assert constant.data is not None
    constant.data[1] = value
    weight = model.tensors["net.weight"].data
    assert weight is not None
    np.multiply(weight, 10, out=weight)
    assert ops(apply(fold_batch_norms, model)) == ["affine", "linear"]


def test_what_is_left_alone():
    found = Normed()
    model = found.model((found.linear(found.linear("x", "one", 5), "two", 3), "scores"))
    assert apply(fold_batch_norms, model) == model
