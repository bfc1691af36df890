"""
Gives layers of general models the ops whose kernels are fastest, where these can compute them.
"""

import math
from dataclasses import replace

from compiler.ir import BATCH, Model, Node, Shape, Tensor
from compiler.ops import OPS
from compiler.ops.convolution import CHANNELS_FIRST
from compiler.ops.lengths import follows
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def lower_layers(model: Model, options: BuildOptions) -> Model:
    """
    Turns `linear_over` of one row into `linear`; of one image, `conv` of one group into `conv2d`, pools into `pool2d`.

    A `reshape` before and one after each makes its input and result what the rest of the model expects. A `permute`
    that moves only dimensions of size 1 is a `reshape` too.
    """
    constants = Constants(model)
    nodes: list[Node] = []
    for node in model.nodes:
        if node.op == "permute" and _moves_nothing(model, node):
            nodes.append(reshape(node.name, node.inputs[0], node.outputs[0], model.tensors[node.outputs[0]].shape))
            continue
        found = LOWERED[node.op](model, node) if node.op in LOWERED else None
        nodes += [node] if found is None else _between(constants, node, *found)
    return constants.result(nodes) if nodes != list(model.nodes) else model


def _moves_nothing(model: Model, node: Node) -> bool:
    """
    Whether a `permute` leaves all elements in their order.
    """
    order, sizes = node.attributes["order"], model.tensors[node.inputs[0]].fixed_shape
    assert isinstance(order, tuple)
    moved = [axis for axis in order if sizes[int(axis)] != 1]
    return moved == sorted(moved)


def _linear(model: Model, node: Node) -> tuple[Node, Shape, Shape] | None:
    """
    The faster node with the shapes of its input and its result; None where it does not compute the same.
    """
    source, weight = (model.tensors[name] for name in node.inputs[:2])
    if weight.data is None or math.prod(source.fixed_shape[:-1]) != 1:
        return None
    outputs, features = weight.fixed_shape
    return replace(node, op="linear", attributes={}), (BATCH, features), (BATCH, outputs)


def _convolution(model: Model, node: Node) -> tuple[Node, Shape, Shape] | None:
    source, result = model.tensors[node.inputs[0]], model.tensors[node.outputs[0]]
    if model.tensors[node.inputs[1]].data is None or source.fixed_shape[0] != 1 or node.attributes["groups"] != 1:
        return None
    if follows(source.shape):
        return None
    attributes = {key: value for key, value in node.attributes.items() if key != "groups"}
    faster = replace(node, op="conv2d", attributes=attributes)
    return faster, (BATCH, *source.fixed_shape[1:]), (BATCH, *result.fixed_shape[1:])


def _pooling(model: Model, node: Node) -> tuple[Node, Shape, Shape] | None:
    """
    The faster node; None for several images, gaps in windows, and windows of several sizes.
    """
    source, result = model.tensors[node.inputs[0]], model.tensors[node.outputs[0]]
    image, pooled = source.fixed_shape, result.fixed_shape
    if image[0] != 1 or follows(source.shape) or node.attributes.get("dilation", (1, 1)) != (1, 1):
        return None
    attributes = {key: value for key, value in node.attributes.items() if key not in ("dilation", "size")}
    attributes |= {"kind": "max" if node.op == "max_pool" else "mean", "layout": CHANNELS_FIRST}
    if node.op == "adaptive_avg_pool":
        if image[2] % pooled[2] or image[3] % pooled[3]:
            return None
        window = (image[2] // pooled[2], image[3] // pooled[3])
        attributes |= {"kernel": window, "stride": window}
    faster = replace(node, op="pool2d", attributes=OPS["pool2d"].complete(attributes))
    return faster, (BATCH, *source.shape[2:]), (BATCH, *result.shape[2:])


LOWERED = {
    "linear_over": _linear,
    "conv": _convolution,
    **dict.fromkeys(("max_pool", "avg_pool", "adaptive_avg_pool"), _pooling),
}


def _between(constants: Constants, node: Node, faster: Node, taken: Shape, given: Shape) -> list[Node]:
    source, result = node.inputs[0], node.outputs[0]
    before, after = constants.unused(f"{result}:input"), constants.unused(f"{result}:result")
    dtype = constants.tensors[result].dtype
    constants.tensors |= {before: Tensor(before, dtype, taken), after: Tensor(after, dtype, given)}
    return [
        reshape(node.name, source, before, taken),
        replace(faster, inputs=(before, *faster.inputs[1:]), outputs=(after,)),
        reshape(node.name, after, result, constants.tensors[result].shape),
    ]


def reshape(name: str, source: str, result: str, shape: Shape) -> Node:
    """
    A node that gives the same elements in another shape.
    """
    return Node("reshape", f"{name}:reshape", (source,), (result,), {"shape": tuple(shape[1:])})  # type: ignore[dict-item]
