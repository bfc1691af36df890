"""
Lays the weights of fully connected layers out as the kernels read them.
"""

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np

from compiler.errors import UnsupportedError, quote
from compiler.ir import Model, Node, Tensor
from compiler.ops import Array
from compiler.ops.dense import COLUMNS, ROWS_LAYOUT, unpack
from compiler.options import BuildOptions

REGISTERS = 8
"""The most registers of outputs that a kernel keeps at once: half of AVX-512's, all but the operands' of AVX2's."""
REDUCTION = 6
"""What summing up the lanes of one register costs, in multiply-adds of whole registers."""
MOST_ROWS = 16
"""The most outputs that are worth a dot product each."""


def pack_dense(model: Model, options: BuildOptions) -> Model:
    """
    Turns `linear` into `dense`, whose weight is laid out for registers of `options.lanes` values.

    The layout is `columns` in general, `rows` for a layer with few outputs. A `dense` that is packed for other
    registers is packed anew.
    """
    tensors = dict(model.tensors)
    uses = _uses(model)
    nodes = tuple(_pack(node, model, tensors, uses, options.lanes) for node in model.nodes)
    result = model.with_graph(nodes, tensors)
    unpacked = uses.keys() - _uses(result).keys()
    return model.with_graph(nodes, {name: tensor for name, tensor in tensors.items() if name not in unpacked})


def _uses(model: Model) -> Counter[str]:
    """
    How often each tensor is read, by nodes, as a result or as a state.
    """
    states = [(state.input, state.output, state.initial) for state in model.states]
    results = [output.tensor for output in model.outputs]
    return Counter(chain(*(node.inputs for node in model.nodes), *states, results))


def _pack(node: Node, model: Model, tensors: dict[str, Tensor], uses: Counter[str], lanes: int) -> Node:
    """
    The packed node; its packed weight and bias replace the constants of the same names, if nothing else reads those.
    """
    if node.op not in ("linear", "dense"):
        return node
    weight, bias = _matrix(node, model)
    outputs, inputs = weight.shape
    layout = _layout(inputs, outputs, lanes)
    packed = _columns(weight, lanes) if layout == COLUMNS else _rows(weight, lanes)
    room = packed.shape[0] * packed.shape[2] if layout == COLUMNS else _up(outputs, lanes)
    names = [name if uses[name] == 1 else _unused(f"{name}:packed", tensors) for name in node.inputs[1:]]
    for name, data in zip(names, (packed, np.pad(bias, (0, room - outputs))), strict=True):
        tensors[name] = Tensor.constant(name, data)
    attributes = {"activation": "", **node.attributes, "layout": layout, "outputs": outputs}
    return replace(node, op="dense", inputs=(node.inputs[0], *names), attributes=attributes)


def _unused(name: str, tensors: dict[str, Tensor]) -> str:
    candidate, number = name, 2
    while candidate in tensors:
        candidate, number = f"{name}:{number}", number + 1
    return candidate


def _matrix(node: Node, model: Model) -> tuple[Array, Array]:
    """
    Weight (outputs, inputs) and bias (outputs,) of a layer, packed or not.
    """
    source, weight, bias = (model.tensors[name] for name in node.inputs)
    if weight.data is None or bias.data is None:
        raise UnsupportedError(node.op, f"layer {quote(node.name)}: weight and bias must be constants")
    if node.op == "linear":
        return weight.data, bias.data
    outputs = model.tensors[node.outputs[0]].elements
    return unpack(weight.data, str(node.attributes["layout"]), source.elements, outputs), bias.data[:outputs]


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
    """
    outputs, inputs = weight.shape
    registers = _up(outputs, lanes) // lanes
    widths = range(1, REGISTERS + 1) if registers <= REGISTERS else range(REGISTERS // 2, REGISTERS + 1)
    width = min(widths, key=lambda width: (_up(registers, width), -width)) * lanes
    padded = np.pad(weight, ((0, _up(outputs, width) - outputs), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, width, inputs).transpose(0, 2, 1))


def _rows(weight: Array, lanes: int) -> Array:
    """
    (outputs, padded inputs).
    """
    return np.pad(weight, ((0, 0), (0, _up(weight.shape[1], lanes) - weight.shape[1])))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
