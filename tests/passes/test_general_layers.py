"""
Layers of general models take the ops with the fastest kernels, batch norms go into them, reshapes get out of the way.
"""

from dataclasses import replace

import numpy as np
import pytest

from compiler.ir import BATCH, Attribute, DType, Model, Output
from compiler.ops import OPS
from compiler.ops.reference import evaluate
from compiler.options import LANES, BuildOptions
from compiler.passes.fold_scales import fold_scales
from compiler.passes.lower_layers import lower_layers
from compiler.passes.sink_reshapes import sink_reshapes
from compiler.pipeline import run_passes
from tests.passes.graphs import RAISE, Graph, apply


class Images(Graph):
    """
    A builder whose input `image` has three channels.
    """

    def __init__(self, number: int = 1) -> None:
        super().__init__()
        self.tensors.clear()
        self.input("image", DType.FLOAT32, (BATCH, number, 3, 8, 9))

    def conv(self, source: str, name: str, filters: int, groups: int = 1) -> str:
        channels = self.tensors[source].fixed_shape[1] // groups
        weight = self.constant(f"{name}.weight", self.values(filters, channels, 3, 3))
        inputs = [source, weight, self.bias(f"{name}.bias", filters)]
        return self.add("conv", inputs, name, stride=(1, 2), padding=(1, 0), dilation=(1, 1), groups=groups)

    def norm(self, source: str, name: str) -> str:
        channels = self.tensors[source].fixed_shape[1]
        scaled = self.add("times", [source, self.constant(f"{name}.scale", self.values(channels, 1, 1))], name)
        return self.add("plus", [scaled, self.constant(f"{name}.shift", self.values(channels, 1, 1))], name)

    def values(self, *shape: int):
        return self.rng.normal(size=shape).astype(np.float32)

    def general(self, *results: str) -> Model:
        outputs = tuple(Output(f"output_{name}", name) for name in results)
        return replace(self.model((results[0], "output"), policy=False, inputs=("image",)), outputs=outputs)


def check_same(before: Model, after: Model, number: int = 1) -> None:
    inputs = {"image": np.random.default_rng(1).normal(size=(2, number, 3, 8, 9))}
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    for old, new in zip(before.outputs, after.outputs, strict=True):
        np.testing.assert_allclose(one[old.tensor], other[new.tensor], rtol=1e-6, atol=1e-6)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.nodes]


def test_one_image_and_one_group_become_a_convolution_of_policies():
    found = Images()
    model = found.general(found.conv("image", "stem", 8))
    after = apply(lower_layers, model)
    assert ops(after) == ["reshape", "conv2d", "reshape"]
    assert after.nodes[1].attributes == {"stride": (1, 2), "padding": (1, 0), "dilation": (1, 1)}
    check_same(model, after)


@pytest.mark.parametrize(("number", "groups"), [(2, 1), (1, 3)])
def test_several_images_or_groups_are_left_alone(number, groups):
    found = Images(number)
    model = found.general(found.conv("image", "stem", 6, groups))
    assert apply(lower_layers, model) == model


def test_one_row_becomes_a_linear_layer_and_several_do_not():
    found = Images()
    row = found.add("reshape", ["image"], "flat", shape=(1, 216))
    rows = found.add("reshape", ["image"], "rows", shape=(3, 72))
    weights = [found.constant("w", found.values(5, 216)), found.bias("b", 5)]
    others = [found.constant("v", found.values(4, 72)), found.bias("c", 4)]
    model = found.general(
        found.add("linear_over", [row, *weights], "head"), found.add("linear_over", [rows, *others], "mixer")
    )
    after = apply(lower_layers, model)
    assert ops(after) == ["reshape", "reshape", "reshape", "linear", "reshape", "linear_over"]
    check_same(model, after)


def test_batch_norm_becomes_part_of_the_convolution():
    found = Images()
    model = found.general(found.norm(found.conv("image", "stem", 6, 3), "norm"))
    after = apply(fold_scales, model)
    assert ops(after) == ["conv"]
    check_same(model, after)


def test_layers_that_share_weights_have_a_batch_norm_each():
    """
    A network that looks at two images, or one head for all levels of a pyramid.
    """
    found = Images()
    first = found.conv("image", "stem", 6)
    layer = found.nodes[-1]
    normed = found.norm(first, "norm")
    second = found.add("conv", [found.add("exp", ["image"], "bright"), *layer.inputs[1:]], "again", **layer.attributes)
    model = found.general(normed, found.norm(second, "other"))
    after = apply(fold_scales, model)
    assert ops(after) == ["conv", "exp", "conv"]
    check_same(model, after)


def test_what_is_no_batch_norm_stays():
    for filters in (6, 8):  # eight, as there are rows
        found = Images()
        convolved = found.conv("image", "stem", filters)
        rows = found.constant("rows", found.values(8, 1))
        by_row = found.general(found.add("times", [convolved, rows], "by row"))
        assert apply(fold_scales, by_row) == by_row

    found = Images()
    convolved = found.conv("image", "stem", 6)
    needed = found.general(found.norm(convolved, "norm"), convolved)
    assert apply(fold_scales, needed) == needed

    found = Images()
    alone = found.general(found.norm("image", "norm"))
    assert apply(fold_scales, alone) == alone


def test_an_activation_follows_its_layer_through_a_reshape():
    found = Images()
    first = found.add("relu", [found.norm(found.conv("image", "stem", 8), "norm")], "relu")
    second = found.add("relu", [found.conv(first, "next", 4)], "relu")
    model = found.general(second)
    lowered = apply(sink_reshapes, apply(lower_layers, apply(fold_scales, model)))
    assert ops(lowered) == ["reshape", "conv2d", "relu", "conv2d", "relu", "reshape"]
    packed = run_passes(model, RAISE)
    assert ops(packed) == ["reshape", "pad", "convolution", "pad", "convolution", "channels_first", "reshape"]
    check_same(model, lowered)
    check_same(model, packed)


def test_reshapes_in_a_row_become_one():
    found = Images()
    flat = found.add("reshape", ["image"], "flat", shape=(216,))
    back = found.add("reshape", [flat], "back", shape=(1, 3, 8, 9))
    other = found.add("reshape", [back], "other", shape=(24, 9))
    model = found.general(found.add("tanh", [back], "tanh"), other)
    after = apply(sink_reshapes, model)
    assert ops(after) == ["reshape", "tanh"]
    assert after.nodes[1].inputs == ("image",)
    check_same(model, after)


def test_an_input_stays_of_which_only_a_reshape_is_made_that_nobody_reads():
    found = Images()
    other = found.input("other", DType.FLOAT32, (BATCH, 6))
    found.add("reshape", [other], "rows", shape=(2, 3))
    model = replace(found.general(found.add("tanh", ["image"], "tanh")), inputs=("image", other))
    after = apply(sink_reshapes, model)
    assert ops(after) == ["tanh"]
    assert after.inputs == model.inputs


def test_an_output_is_what_has_its_elements():
    found = Images()
    computed = found.add("tanh", ["image"], "tanh")
    model = found.general(found.add("reshape", [computed], "same", shape=(1, 3, 8, 9)))
    after = apply(sink_reshapes, model)
    assert ops(after) == ["tanh"]
    assert [(output.name, output.tensor) for output in after.outputs] == [("output_same", "tanh")]
    check_same(model, after)


def test_outputs_that_are_an_input_or_twice_the_same_stay():
    found = Images()
    same = found.add("reshape", ["image"], "same", shape=(1, 3, 8, 9))
    computed = found.add("tanh", ["image"], "tanh")
    again = found.add("reshape", [computed], "again", shape=(1, 3, 8, 9))
    model = found.general(same, computed, again)
    after = apply(sink_reshapes, model)
    assert ops(after) == ["reshape", "tanh", "reshape"]
    check_same(model, after)


def block(found: Images, source: str, name: str, filters: int) -> str:
    """
    Two convolutions and a way around them, as ResNets have them.
    """

    def layer(source: str, part: str, kernel: int) -> str:
        channels = found.tensors[source].fixed_shape[1]
        weight = found.constant(f"{name}.{part}.weight", found.values(filters, channels, kernel, kernel))
        inputs = [source, weight, found.bias(f"{name}.{part}.bias", filters)]
        padding = (kernel // 2, kernel // 2)
        return found.add("conv", inputs, f"{name}.{part}", stride=(1, 1), padding=padding, dilation=(1, 1), groups=1)

    first = found.add("relu", [layer(source, "first", 3)], f"{name}.relu")
    total = found.add("plus", [layer(first, "second", 3), layer(source, "around", 1)], f"{name}.sum")
    return found.add("relu", [total], f"{name}.end")


def pool(found: Images, op: str, source: str, **attributes: Attribute) -> str:
    given = OPS[op].complete({"kernel": (2, 3), "stride": (2, 3), **attributes})
    return found.add(op, [source], f"{source}.{op}", **given)


@pytest.mark.parametrize("lanes", LANES)
def test_images_stay_with_channels_last(lanes):
    found = Images()
    first = pool(found, "max_pool", block(found, "image", "one", 16), padding=(1, 1))
    second = found.add("plus", [block(found, first, "two", 16), first], "more")
    third = pool(found, "avg_pool", second, count_padding=False, padding=(1, 0))
    mean = found.add("adaptive_avg_pool", [third], "mean", size=(1, 1))
    flat = found.add("reshape", [mean], "flat", shape=(1, 16))
    weights = [found.constant("w", found.values(5, 16)), found.bias("b", 5)]
    model = found.general(found.add("linear_over", [flat, *weights], "head"))
    options = BuildOptions(lanes=lanes, without=("apply_winograd",))
    after = run_passes(model, options)
    check_same(model, after)
    assert run_passes(after, options) == after
    computed = [node for node in after.nodes if node.op not in ("reshape", "pad", "plus")]
    assert [node.op for node in computed] == [*["convolution"] * 3, "pool2d"] * 2 + ["pool2d", "dense"]
    assert {node.attributes["layout"] for node in computed[3:-1]} == {"channels_last"}
    assert [len(node.inputs) for node in computed[:3]] == [3, 3, 4]
    assert ops(after).count("plus") == 1  # of what a ReLU and what a pooling gave


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("max_pool", {"dilation": (2, 1)}),
        ("adaptive_avg_pool", {"size": (3, 3)}),
    ],
)
def test_pooling_that_stays_as_it_is(op, attributes):
    found = Images()
    if op == "adaptive_avg_pool":
        result = found.add(op, ["image"], "pool", **attributes)
    else:
        result = pool(found, op, "image", **attributes)
    model = found.general(result)
    assert apply(lower_layers, model) == model
    several = Images(2)
    model = several.general(pool(several, "max_pool", "image"))
    assert apply(lower_layers, model) == model


def test_a_convolution_whose_filters_leave_gaps_adds_nothing():
    found = Images()
    model = found.general(block(found, "image", "one", 5))
    after = run_passes(model, RAISE)
    assert ops(after).count("plus") == 1
    check_same(model, after)


def test_a_sum_leaves_a_convolution_whose_filters_leave_gaps_in_other_registers():
    found = Images()
    model = found.general(block(found, "image", "one", 4))
    after = run_passes(model, BuildOptions(lanes=4))
    assert "plus" not in ops(after)
    again = run_passes(after, BuildOptions(lanes=16))
    assert ops(again) == [*ops(after)[:-2], "plus", "relu", *ops(after)[-2:]]
    assert run_passes(again, BuildOptions(lanes=16)) == again
    check_same(model, again)


def test_images_that_are_multiplied_by_one_value_for_each_channel_are_copied_back():
    found = Images()
    image = block(found, "image", "one", 16)
    mean = found.add("adaptive_avg_pool", [image], "mean", size=(1, 1))
    model = found.general(found.add("times", [image, mean], "gated"))
    after = run_passes(model, BuildOptions(without=("apply_winograd",)))
    assert ops(after).count("channels_first") == 2
    check_same(model, after)
