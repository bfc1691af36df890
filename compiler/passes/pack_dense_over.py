"""
Lays the weights of linear layers over many rows out as the kernels read them.
"""

from dataclasses import replace
from math import prod

import numpy as np

from compiler.ir import Model, Node, Tensor
from compiler.ops import Array
from compiler.ops.dense import COLUMNS, unpack
from compiler.ops.tiles import product_vectors
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def pack_dense_over(model: Model, options: BuildOptions) -> Model:
    """
    Turns `linear_over`, and `matmul` by a constant matrix, into `dense_over`.

    The weight of that is packed for registers of `options.lanes` values; one that is packed for others is packed anew.
    """
    constants = Constants(model)
    return constants.result([_packed(constants, node, options.lanes) for node in model.nodes])


def _packed(constants: Constants, node: Node, lanes: int) -> Node:
    found = _matrix(constants.model, node)
    if found is None:
        return node
    weight, bias = found
    outputs, inputs = weight.shape
    rows = constants.model.tensors[node.inputs[0]].elements // inputs
    width = min(product_vectors(rows, outputs, lanes), -(-outputs // lanes)) * lanes
    room = -(-outputs // width) * width
    blocks = np.pad(weight, ((0, room - outputs), (0, 0))).reshape(-1, width, inputs)
    arrays = [np.ascontiguousarray(blocks.transpose(0, 2, 1)), np.pad(bias, (0, room - outputs))]
    if node.op == "dense_over" and constants.model.tensors[node.inputs[1]].fixed_shape == arrays[0].shape:
        return node
    source, right, *others = node.inputs
    if node.op == "matmul":
        others = [constants.unused(f"{right}:bias")]
        (packed,) = constants.replace([right], arrays[:1], "packed")
        constants.tensors[others[0]] = Tensor.constant(others[0], arrays[1])
        names = (packed, *others)
    else:
        names = (*constants.replace([right, others[0]], arrays, "packed"), *others[1:])
    attributes = {"activation": "", **node.attributes, "outputs": outputs}
    return replace(node, op="dense_over", inputs=(source, *names), attributes=attributes)


def _matrix(model: Model, node: Node) -> tuple[Array, Array] | None:
    """
    Weight (outputs, inputs) and bias (outputs,) of what can be a `dense_over`; None for all else.
    """
    if node.op not in ("linear_over", "matmul", "dense_over"):
        return None
    weight = model.tensors[node.inputs[1]].data
    if weight is None:
        return None
    if node.op == "matmul":
        columns = weight.shape[-1]
        fits = prod(weight.shape[:-2]) == 1
        return (weight.reshape(-1, columns).T, np.zeros(columns, np.float32)) if fits else None
    bias = model.tensors[node.inputs[2]].data
    assert bias is not None
    if node.op == "linear_over":
        return weight, bias
    outputs = int(str(node.attributes["outputs"]))
    return unpack(weight, COLUMNS, weight.shape[1], outputs), bias[:outputs]
