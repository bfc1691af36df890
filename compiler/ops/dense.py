"""
Fully connected layers: `linear` as PyTorch stores it, `dense` as the kernels read it, `lookup` of one-hot vectors.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.choices import one_hot_width
from compiler.ops.fused import FusedOp, activate
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse

COLUMNS = "columns"
"""Weights (blocks, inputs, width): each input meets `width` neighbouring outputs, which stay in registers."""
ROWS_LAYOUT = "rows"
"""Weights (outputs, padded inputs): each output is a dot product; for layers with few outputs. The bias is padded."""
MOST_CHOICES = 64
"""The most choices that one look-up takes: its kernel spells each of them out."""


def unpack(weight: Array, layout: str, inputs: int, outputs: int) -> Array:
    """
    The (outputs, inputs) matrix of a packed weight.
    """
    if layout == ROWS_LAYOUT:
        return weight[:outputs, :inputs]
    return weight.transpose(0, 2, 1).reshape(-1, weight.shape[1])[:outputs]


def _linear_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    need_float("linear", source, weight, bias)
    features = need_rows("linear", source)
    if len(weight.shape) != 2 or weight.shape[1] != features:
        refuse("linear", f"the weight must have shape (outputs, {features}), found {weight.shape}")
    if bias.shape != weight.shape[:1]:
        refuse("linear", f"the bias must have shape {weight.shape[:1]}, found {bias.shape}")
    return TensorType(source.dtype, (source.shape[0], weight.shape[0]))


def _dense_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    need_float("dense", source, weight, bias)
    features = need_rows("dense", source)
    outputs, layout = attributes["outputs"], attributes["layout"]
    if not isinstance(outputs, int) or outputs < 1:
        refuse("dense", f"attribute outputs must be at least 1, found {outputs}")
    sizes = weight.fixed_shape
    if layout == COLUMNS:
        fits = len(sizes) == 3 and sizes[1] == features and sizes[0] * sizes[2] >= outputs
        padded = sizes[0] * sizes[2] if fits else 0
    elif layout == ROWS_LAYOUT:
        fits = len(sizes) == 2 and sizes[0] == outputs and sizes[1] >= features
        padded = bias.elements if bias.elements >= outputs else 0
    else:
        refuse("dense", f"unknown layout {layout!a}")
    if not fits or bias.shape != (padded,):
        refuse("dense", f"weight {weight.shape} and bias {bias.shape} do not fit {features} inputs, {outputs} outputs")
    return TensorType(source.dtype, (source.shape[0], outputs))


def _dense(
    x: Array, weight: Array, bias: Array, *, layout: str, outputs: int, activation: str, **parameters: float
) -> Array:
    result = x @ unpack(weight, layout, x.shape[1], outputs).T + bias[:outputs]
    return activate(result, activation, parameters)


def _lookup_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, table, bias = inputs
    need_float("lookup", table, bias)
    width = one_hot_width("lookup", source, attributes)
    if source.elements > MOST_CHOICES:
        refuse("lookup", f"takes {MOST_CHOICES} choices at most, found {source.elements}")
    if len(table.shape) != 2 or table.shape[0] != width or not isinstance(table.shape[1], int):
        refuse("lookup", f"the table must have shape ({width}, outputs), found {table.shape}")
    if bias.shape not in (table.shape[1:], (source.shape[0], *table.shape[1:])):
        refuse("lookup", f"the bias must have shape {table.shape[1:]}, with or without a batch, found {bias.shape}")
    return TensorType(table.dtype, (source.shape[0], table.shape[1]))


def _lookup(
    x: Array, table: Array, bias: Array, *, sizes: tuple[int, ...], activation: str, **parameters: float
) -> Array:
    firsts = np.cumsum([0, *sizes[:-1]])
    rows = firsts + np.clip(x.reshape(len(x), -1).astype(np.int64), 0, np.subtract(sizes, 1))
    return activate(table[rows].sum(axis=1) + bias, activation, parameters)


def _multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    return inputs[0].elements * int(np.prod(inputs[1].fixed_shape[:1], dtype=np.int64))


def _dense_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    outputs = attributes["outputs"]
    assert isinstance(outputs, int)
    return inputs[0].elements * outputs


ROWS = (
    Op(
        name="linear",
        summary="nn.Linear",
        result=_linear_result,
        reference=lambda x, weight, bias: x @ weight.T + bias,
        arity=3,
        multiply_adds=_multiply_adds,
    ),
    FusedOp(
        name="dense",
        summary="nn.Linear, packed, with the activation that follows it",
        result=_dense_result,
        reference=_dense,
        arity=3,
        attributes={"layout": COLUMNS, "outputs": int, "activation": ""},
        template="dense_{layout}",
        multiply_adds=_dense_multiply_adds,
    ),
    FusedOp(
        name="lookup",
        summary="nn.Linear of one-hot vectors: the bias plus the table's row of each choice, then an activation",
        result=_lookup_result,
        reference=_lookup,
        arity=3,
        attributes={"sizes": tuple, "activation": ""},
        template="lookup",
    ),
)
