"""
What layers become that can't follow a length as they are: the same in ops that can.

Normalisation over groups becomes means, differences and products; windows that move by one become shifted copies of the
image, of which the largest or the sum is taken.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from compiler.ir import Attribute, Model, Node
from compiler.ops.builder import GraphBuilder

LOWEST = float(np.finfo(np.float32).min)
"""What padding is to a window that takes the largest."""


def in_ops_that_follow(model: Model, names: Collection[str]) -> Model:
    """
    The model with other ops in the place of some nodes, where there are any.

    Args:
        model: of one length.
        names: of the first outputs of these nodes.
    """
    builder = GraphBuilder()
    builder.tensors.update((name, tensor) for name, tensor in model.tensors.items() if name not in names)
    for node in model.nodes:
        if node.outputs[0] in names:
            REPLACED[node.op](builder, node)
        else:
            builder.nodes.append(node)
    return replace(model, nodes=tuple(builder.nodes), tensors=builder.tensors)


def replaceable(node: Node) -> bool:
    """
    Whether there are other ops for a node.
    """
    has = node.attributes
    if node.op in ("max_pool", "avg_pool"):
        return has["stride"] == (1, 1) and not has["ceil"] and has.get("count_padding", True) is True
    return node.op in REPLACED


def _normalise(builder: GraphBuilder, node: Node) -> None:
    """
    group_norm: each group of channels less its mean, over the root of its variance.
    """
    (x, *constants), (result,) = node.inputs, node.outputs
    count, channels, *image = builder.tensors[x].fixed_shape
    groups, epsilon = node.attributes["groups"], node.attributes["epsilon"]
    assert isinstance(groups, int)

    def add(op: str, *inputs: str, **attributes: Attribute) -> str:
        return builder.add(op, list(inputs), f"{node.name}.{op}", **attributes)

    def constant(name: str, values: np.ndarray) -> str:
        return builder.constant(f"{result}:{name}", values.astype(np.float32))

    axes = tuple(range(2, 3 + len(image)))
    grouped = add("reshape", x, shape=(count, groups, channels // groups, *image))
    centred = add("minus", grouped, add("reduce_mean", grouped, axes=axes, keep=True))
    variance = add("reduce_mean", add("square", centred), axes=axes, keep=True)
    scale = add("rsqrt", add("plus", variance, constant("epsilon", np.array(epsilon))))
    normal = add("reshape", add("times", centred, scale), shape=(count, channels, *image))
    weight, bias = (builder.tensors[name].data for name in constants)
    assert weight is not None
    assert bias is not None
    ones = (1,) * len(image)
    scaled = add("times", normal, constant("weight", weight.reshape(channels, *ones)))
    builder.add("plus", [scaled, constant("bias", bias.reshape(channels, *ones))], result)


def _slide(builder: GraphBuilder, node: Node) -> None:
    """
    max_pool and avg_pool with windows that move by one: from all copies of the image, shifted by what a window spans.
    """
    (x,), (result,), has = node.inputs, node.outputs, node.attributes
    kernel, padding, dilation = (has.get(key, (1, 1)) for key in ("kernel", "padding", "dilation"))
    assert isinstance(kernel, tuple)
    assert isinstance(padding, tuple)
    assert isinstance(dilation, tuple)
    largest = node.op == "max_pool"
    around = (0, 0, *map(int, padding))
    value = LOWEST if largest else 0.0
    padded = builder.add("surround", [x], f"{node.name}.padded", before=around, after=around, value=value)
    *_, height, width = builder.tensors[padded].fixed_shape
    (rows, columns), (down, across) = ([int(size) for size in pair] for pair in (kernel, dilation))
    copies = []
    for row, column in product(range(rows), range(columns)):
        part = padded
        for axis, start, most in (
            (2, row * down, height - (rows - 1) * down),
            (3, column * across, width - (columns - 1) * across),
        ):
            cut = {"axis": axis, "start": start, "stop": start + most, "step": 1}
            part = builder.add("slice", [part], f"{node.name}.shifted", **cut)
        copies.append(part)
    found, *others = copies
    for other in others:
        found = builder.add("largest_of" if largest else "plus", [found, other], f"{node.name}.found")
    if largest:
        builder.add("reshape", [found], result, shape=builder.tensors[found].fixed_shape)
    else:
        share = builder.constant(f"{result}:share", np.array(1 / len(copies), np.float32))
        builder.add("times", [found, share], result)


REPLACED: Mapping[str, Callable[[GraphBuilder, Node], None]] = {
    "group_norm": _normalise,
    "max_pool": _slide,
    "avg_pool": _slide,
}
"""The ops that others take the place of."""
