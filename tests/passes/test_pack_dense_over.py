"""
Linear layers over many rows: weights in the order in which kernels read them, sums and activations inside.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model, Output
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes.fuse_activations import fuse_activations
from compiler.passes.fuse_sums import fuse_sums
from compiler.passes.pack_dense_over import pack_dense_over
from compiler.passes.sink_reshapes import sink_reshapes
from compiler.pipeline import run_passes
from tests.passes.graphs import RAISE, Graph, apply, data_of


class Rows(Graph):
    """
    A builder whose input `rows` has six rows of five features.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tensors.clear()
        self.input("rows", DType.FLOAT32, (BATCH, 6, 5))

    def layer(self, source: str, name: str, outputs: int) -> str:
        weight = self.constant(f"{name}.weight", self.values(outputs, self.tensors[source].fixed_shape[-1]))
        return self.add("linear_over", [source, weight, self.bias(f"{name}.bias", outputs)], name)

    def values(self, *shape: int):
        return self.rng.normal(size=shape).astype(np.float32)

    def general(self, *results: str) -> Model:
        outputs = tuple(Output(f"output_{name}", name) for name in results)
        return replace(self.model((results[0], "output"), policy=False, inputs=("rows",)), outputs=outputs)


def check_same(before: Model, after: Model) -> None:
    inputs = {"rows": np.random.default_rng(1).normal(size=(3, 6, 5))}
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    for old, new in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_allclose(one[old.tensor], other[new.tensor], rtol=1e-12, atol=1e-12)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.nodes]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("outputs", [1, 2, 15, 16, 17, 48, 64, 100])
def test_layers_and_products_by_constants(outputs, lanes):
    found, options = Rows(), BuildOptions(lanes=lanes)
    layer = found.layer("rows", "layer", outputs)
    product = found.add("matmul", [layer, found.constant("right", found.values(outputs, 7))], "product")
    model = found.general(product, layer)
    after = apply(pack_dense_over, model, options)
    assert ops(after) == ["dense_over", "dense_over"]
    check_same(model, after)
    weight, bias = (data_of(after, name) for name in after.nodes[0].inputs[1:])
    assert weight.flags.c_contiguous
    assert weight.shape[1] == 5
    assert weight.shape[2] % lanes == 0
    assert bias.shape == (weight.shape[0] * weight.shape[2],)
    assert bias.size - outputs < weight.shape[2]
    for other in LANES:
        again = BuildOptions(lanes=other)
        assert pack_dense_over(after, again) == pack_dense_over(model, again)


def test_constants_that_others_read_too():
    found = Rows()
    square = found.constant("square", found.values(5, 5))
    product = found.add("matmul", ["rows", square], "product")
    again = found.add("linear_over", [product, square, found.bias("bias", 5)], "again")
    model = found.general(again, "bias")
    after = apply(pack_dense_over, model)
    assert "bias" in after.tensors
    check_same(model, after)


def test_products_that_are_left_alone():
    found = Rows()
    several = found.add("expand", [found.add("reshape", ["rows"], "one", shape=(1, 6, 5))], "several", shape=(2, 6, 5))
    stacked = found.add("matmul", [several, found.constant("stack", found.values(2, 5, 3))], "stacked")
    turned = found.add("permute", ["rows"], "turned", order=(1, 0))
    computed = found.add("matmul", ["rows", turned], "computed")
    left = found.add("matmul", [found.constant("left", found.values(2, 6)), "rows"], "left over")
    model = found.general(stacked, computed, left)
    assert apply(pack_dense_over, model) == model


def test_a_sum_and_an_activation_become_part_of_the_layer_that_is_computed_last():
    found = Rows()
    first, second = found.layer("rows", "first", 9), found.layer("rows", "second", 9)
    between = found.add("tanh", [second], "between")
    total = found.add("plus", [found.add("plus", [between, first], "sum"), second], "more")
    model = found.general(found.add("relu", [total], "relu"))
    packed = pack_dense_over(model, RAISE)
    assert ops(apply(fuse_sums, packed)) == ["dense_over", "tanh", "dense_over", "plus", "relu"]
    check_same(model, fuse_sums(packed, RAISE))

    found = Rows()
    both = found.add("plus", [found.layer("rows", "first", 9), found.layer("rows", "second", 9)], "sum")
    last = found.add("plus", [found.layer(found.add("gelu", [both], "gelu"), "third", 9), both], "last")
    model = found.general(found.add("relu", [last], "relu"))
    after = apply(fuse_activations, apply(fuse_sums, apply(pack_dense_over, model)))
    assert ops(after) == ["dense_over", "dense_over", "gelu", "dense_over"]
    assert [node.name for node in after.nodes] == ["first", "second", "gelu", "third"]
    assert after.nodes[1].inputs[3] == "first"
    assert after.nodes[3].inputs[3] == "sum"
    assert after.nodes[3].attributes["activation"] == "relu"
    check_same(model, after)


def test_sums_that_stay():
    def alone(found: Rows, *results: str) -> None:
        packed = pack_dense_over(found.general(*results), RAISE)
        assert apply(fuse_sums, packed) == packed

    found = Rows()
    layer = found.layer("rows", "layer", 5)
    alone(found, found.add("plus", [layer, "rows"], "needed"), layer)
    found = Rows()
    layer = found.layer("rows", "layer", 5)
    alone(found, found.add("plus", [layer, layer], "twice"))
    found = Rows()
    alone(found, found.add("plus", [found.layer("rows", "layer", 5), found.constant("c", found.values(5))], "constant"))
    found = Rows()
    alone(found, found.add("plus", [found.layer("rows", "layer", 1), "rows"], "repeated"))
    found = Rows()
    alone(found, found.add("minus", [found.layer("rows", "layer", 5), "rows"], "difference"))
    found = Rows()
    activated = found.add("tanh", [found.layer("rows", "layer", 5)], "tanh")
    alone(found, found.add("plus", [activated, "rows"], "after"))


def test_a_sum_follows_its_layer_through_a_reshape():
    found = Rows()
    flat = found.add("reshape", ["rows"], "flat", shape=(3, 10))
    back = found.add("reshape", [found.layer(flat, "layer", 10)], "back", shape=(6, 5))
    model = found.general(found.add("relu", [found.add("plus", ["rows", back], "sum")], "relu"))
    sunk = apply(sink_reshapes, model)
    assert sink_reshapes(sunk, RAISE) == sunk
    check_same(model, sunk)
    after = run_passes(model, RAISE)
    assert ops(after) == ["reshape", "reshape", "dense_over", "reshape"]
    assert after.nodes[2].attributes["activation"] == "relu"
    assert after.nodes[2].inputs[3] == after.nodes[1].outputs[0]
    check_same(model, after)
