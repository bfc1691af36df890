"""
Makes a batch norm in evaluation, which is a product and a sum for each channel, part of the convolution before it.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.passes.constants import Constants

LAYERS = {"conv": 3, "linear_over": 1}
"""The layers, and which dimension from the end their channels are."""


def fold_scales(model: Model, options: BuildOptions) -> Model:
    """
    Multiplies the weights of a layer by constants that its result is multiplied by, and adds to its bias those added.
    """
    constants = Constants(model)
    nodes: list[Node] = []
    for node in model.nodes:
        layer = nodes[-1] if nodes else None
        factor = None if layer is None else _per_channel(constants, layer, node)
        if layer is None or factor is None:
            nodes.append(node)
            continue
        weight, bias = (constants.tensors[name].data for name in layer.inputs[1:])
        assert weight is not None
        assert bias is not None
        wide, shift = weight.astype(np.float64), bias.astype(np.float64)
        if node.op == "times":
            wide = wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
            shift = shift * factor
        else:
            shift = shift + factor
        names = constants.replace(layer.inputs[1:], [wide.astype(np.float32), shift.astype(np.float32)], "scaled")
        nodes[-1] = replace(layer, inputs=(layer.inputs[0], *names), outputs=node.outputs)
    return constants.result(nodes)


def _per_channel(constants: Constants, layer: Node, node: Node) -> Array | None:
    """
    The constant of a product or sum that follows a layer at once, one value for each of its channels.
    """
    model, tensors = constants.model, constants.tensors
    between = layer.outputs[0]
    if layer.op not in LAYERS or node.op not in ("times", "plus") or node.inputs.count(between) != 1:
        return None
    if len(model.consumers(between)) != 1 or model.is_result(between):
        return None
    if model.tensors[node.outputs[0]].shape != model.tensors[between].shape:
        return None
    if any(tensors[name].data is None for name in layer.inputs[1:]):
        return None
    (other,) = (name for name in node.inputs if name != between)
    data, place = model.tensors[other].data, LAYERS[layer.op]
    if data is None or data.size != max(data.shape[-place : -place + 1 or None], default=0):
        return None
    channels = tensors[layer.inputs[1]].fixed_shape[0]
    return data.reshape(-1).astype(np.float64) if data.size == channels else None
