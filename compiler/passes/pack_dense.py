"""
Lays the weights of fully connected layers out as the kernels read them.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node
from compiler.ops import Array
from compiler.ops.dense import COLUMNS, ROWS_LAYOUT, unpack
from compiler.options import BuildOptions
from compiler.passes.constants import Constants

REGISTERS = 8
"""The most registers of outputs that a kernel keeps at once: half of AVX-512's, all but the operands' of AVX2's."""
REDUCTION = 6
"""What summing up the lanes of one register costs, in multiply-adds of whole registers."""
STREAMED = 1 << 20
"""Bytes of weights from which on they come from memory, or from a cache that all cores share."""
LINE = 16
"""float32 in a line of the caches."""
MOST_ROWS = 16
"""The most outputs that are worth a dot product each."""


def pack_dense(model: Model, options: BuildOptions) -> Model:
    """
    Turns `linear` into `dense`, whose weight is laid out for registers of `options.lanes` values.

    The layout is `columns` in general, `rows` for a layer with few outputs. A `dense` that is packed for other
    registers is packed anew.
    """
    constants = Constants(model)
    return constants.result([_pack(node, constants, options.lanes) for node in model.nodes])


def _pack(node: Node, constants: Constants, lanes: int) -> Node:
    """
    The packed node; its packed weight and bias replace the constants of the same names, if nothing else reads those.
    """
    if node.op not in ("linear", "dense"):
        return node
    weight, bias = _matrix(node, constants)
    outputs, inputs = weight.shape
    # Of other models' values, what stands behind the last is not zero: a kernel must not read it.
    whole = constants.model.policy is not None or inputs % lanes == 0
    layout = _layout(inputs, outputs, lanes) if whole else COLUMNS
    packed = _columns(weight, lanes) if layout == COLUMNS else _rows(weight, lanes)
    room = packed.shape[0] * packed.shape[2] if layout == COLUMNS else _up(outputs, lanes)
    names = constants.replace(node.inputs[1:], [packed, np.pad(bias, (0, room - outputs))], "packed")
    attributes = {"activation": "", **node.attributes, "layout": layout, "outputs": outputs}
    return replace(node, op="dense", inputs=(node.inputs[0], *names), attributes=attributes)


def _matrix(node: Node, constants: Constants) -> tuple[Array, Array]:
    """
    Weight (outputs, inputs) and bias (outputs,) of a layer, packed or not.
    """
    weight, bias = constants.data(node)
    if node.op == "linear":
        return weight, bias
    source, result = (constants.model.tensors[name].elements for name in (node.inputs[0], node.outputs[0]))
    return unpack(weight, str(node.attributes["layout"]), source, result), bias[:result]


def _layout(inputs: int, outputs: int, lanes: int) -> str:
    """
    The layout with fewer multiply-adds of whole registers for one observation.
    """
    columns = _up(outputs, lanes) // lanes * inputs
    rows = outputs * (_up(inputs, lanes) // lanes + REDUCTION)
    return ROWS_LAYOUT if rows < columns and outputs <= MOST_ROWS else COLUMNS


def _columns(weight: Array, lanes: int) -> Array:
    """
    (blocks, inputs, width): the width, in registers, that wastes least, the widest of those.

    Of weights that are streamed, a block is as wide as a line of the caches: kernels for many observations take no more
    outputs at once, and would read all lines of a wider block several times, or wait for lines far from each other.
    """
    outputs, inputs = weight.shape
    registers = _up(outputs, lanes) // lanes
    widths = range(1, REGISTERS + 1) if registers <= REGISTERS else range(REGISTERS // 2, REGISTERS + 1)
    width = min(widths, key=lambda width: (_up(registers, width), -width)) * lanes
    if 4 * weight.size >= STREAMED:
        width = max(lanes, LINE)
    padded = np.pad(weight, ((0, _up(outputs, width) - outputs), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, width, inputs).transpose(0, 2, 1))


def _rows(weight: Array, lanes: int) -> Array:
    """
    (outputs, padded inputs).
    """
    return np.pad(weight, ((0, 0), (0, _up(weight.shape[1], lanes) - weight.shape[1])))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
