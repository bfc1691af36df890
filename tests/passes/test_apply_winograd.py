"""
Large convolutions of 3 x 3 become products of transforms; all else stays as it is.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import BATCH, DType, Model
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes.apply_winograd import apply_winograd
from compiler.passes.fuse_activations import fuse_activations
from compiler.passes.fuse_sums import fuse_sums
from compiler.passes.pack_convolutions import pack_convolutions
from tests.images import ImageGraph, Layer, image_model, image_policy
from tests.passes.graphs import PROPAGATE, RAISE, apply, data_of

POINTWISE = Layer(32, (1, 1))


def general(side: int, *layers: Layer) -> Model:
    """
    A model that is no policy, with packed convolutions of an image of three channels.
    """
    model = replace(image_policy((3, side, side), layers, hidden=()), policy=None)
    return pack_convolutions(model, RAISE)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.nodes]


def check_same(before: Model, after: Model) -> None:
    shape = before.tensors["observation"].fixed_shape
    given = {"observation": np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.float64)}
    # The transforms of the filters are rounded to float32.
    one, other = evaluate(before, given)["q_net"], evaluate(after, given)["q_net"]
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("lanes", LANES[1:])
@pytest.mark.parametrize(("side", "filters", "size"), [(12, 64, 6), (13, 48, 6), (6, 64, 4)])
def test_large_layers(side, filters, size, lanes):
    before = general(side, POINTWISE, Layer(filters, (3, 3), padding=(1, 1)))
    after = apply(apply_winograd, before, BuildOptions(lanes=lanes))
    (node,) = (node for node in after.nodes if node.op == "winograd")
    blocks, *sizes, width = data_of(after, node.inputs[1]).shape
    assert sizes == [size, size, 32]
    assert blocks * width == filters
    assert width == (32 if lanes == 16 and filters == 64 else 16)
    check_same(before, after)


@pytest.mark.parametrize(
    ("side", "layer"),
    [
        (12, Layer(64, (3, 3), stride=(2, 2))),
        (12, Layer(64, (3, 3), dilation=(2, 2))),
        (12, Layer(64, (3, 2))),
        (12, Layer(40, (3, 3))),  # which leaves registers half full
        (5, Layer(64, (3, 3))),  # where most of a tile is beyond the result
        (7, Layer(512, (3, 3), padding=(1, 1))),  # whose transforms would take longer to come than to multiply
    ],
)
def test_layers_that_stay(side, layer):
    channels = replace(POINTWISE, filters=512 if layer.filters == 512 else 32)
    before = general(side, channels, layer)
    assert apply(apply_winograd, before) == before


def test_a_layer_that_has_its_activation_keeps_it():
    # As in a model file, of which other registers are asked.
    before = apply(fuse_activations, general(12, POINTWISE, Layer(64, (3, 3), padding=(1, 1))))
    after = apply(apply_winograd, before)
    (node,) = (node for node in after.nodes if node.op == "winograd")
    assert node.attributes["activation"] == "relu"
    check_same(before, after)


def test_policies_stay_and_what_is_not_finite_must_spread():
    layers = POINTWISE, Layer(64, (3, 3), padding=(1, 1))
    policy = pack_convolutions(image_policy((3, 12, 12), layers), RAISE)
    assert apply(apply_winograd, policy) == policy
    model = general(12, *layers)
    assert apply(apply_winograd, model, PROPAGATE) == model
    assert apply(apply_winograd, model, BuildOptions(lanes=1)) == model
    assert apply(apply_winograd, model) != model


@pytest.mark.parametrize("first", LANES[1:])
@pytest.mark.parametrize("second", LANES[1:])
def test_what_is_packed_for_other_registers_is_packed_anew(first, second):
    model = general(12, POINTWISE, Layer(64, (3, 3), padding=(1, 1)))
    again = apply_winograd(apply_winograd(model, BuildOptions(lanes=first)), BuildOptions(lanes=second))
    assert again == apply_winograd(model, BuildOptions(lanes=second))


def test_sums_and_activations_are_part_of_it():
    graph = ImageGraph(0)
    observed = graph.input("observation", DType.FLOAT32, (BATCH, 3, 12, 12))
    first = graph.convolution(observed, POINTWISE, "first")
    layer = Layer(32, (3, 3), padding=(1, 1), activation="")
    weight = graph.convolution(first, layer, "second")
    both = graph.add("relu", [graph.add("plus", [weight, first], "sum")], "both")
    scores = graph.linear(graph.add("flatten", [both], "flat"), "q_net", 3)
    before = pack_convolutions(replace(image_model(graph, scores, (3, 12, 12)), policy=None), RAISE)
    after = apply(fuse_activations, apply(fuse_sums, apply(apply_winograd, before)))
    (node,) = (node for node in after.nodes if node.op == "winograd")
    assert len(node.inputs) == 4
    assert node.attributes == {"activation": "relu"}
    assert not {"plus", "relu"} & set(ops(after))
    check_same(before, after)


def test_a_long_activation_is_a_kernel_of_its_own():
    model = apply_winograd(general(12, POINTWISE, Layer(64, (3, 3), padding=(1, 1), activation="tanh")), RAISE)
    assert ops(fuse_activations(model, RAISE)).count("tanh") == 1


def test_filters_that_another_layer_reads_too_stay_beside():
    graph = ImageGraph(0)
    result = graph.convolution(graph.input("observation", DType.FLOAT32, (BATCH, 3, 12, 12)), POINTWISE, "first")
    shared = [
        graph.constant("weight", graph.rng.normal(size=(32, 32, 3, 3)).astype(np.float32)),
        graph.bias("bias", 32),
    ]
    for name, stride in (("second", (1, 1)), ("third", (2, 2))):
        result = graph.add("conv2d", [result, *shared], name, stride=stride, padding=(1, 1), dilation=(1, 1))
    scores = graph.linear(graph.add("flatten", [result], "flat"), "q_net", 3)
    before = pack_convolutions(replace(image_model(graph, scores, (3, 12, 12)), policy=None), RAISE)
    after = apply(apply_winograd, before)
    assert [op for op in ops(after) if op in ("convolution", "winograd")] == ["convolution", "winograd", "convolution"]
    check_same(before, after)
