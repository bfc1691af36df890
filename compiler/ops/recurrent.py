"""
One step of an LSTM, in the parts that a network is made of.

A step of torch.nn.LSTM is: gates = linear(x, W_ih, b_ih) + linear(h, W_hh, b_hh), then `lstm_cell`, then `lstm_hidden`.
The gates lie side by side in torch's order: input, forget, cell, output.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.elementwise import sigmoid
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse


def _add_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("add", *inputs)
    if inputs[0].shape != inputs[1].shape:
        refuse("add", f"needs two tensors of one shape, found {inputs[0].shape}, {inputs[1].shape}")
    return TensorType.of(inputs[0])


def _reset_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    state, starts = inputs
    need_float("reset", state, starts)
    need_rows("reset", state)
    if starts.shape != state.shape[:1]:
        refuse("reset", f"needs one start for each observation, found {starts.shape}")
    return TensorType.of(state)


def _lstm_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    gates, cell = inputs
    need_float("lstm", gates, cell)
    if need_rows("lstm", gates) != 4 * need_rows("lstm", cell):
        refuse("lstm", f"needs four gates for each unit, found {gates.shape}, {cell.shape}")
    return TensorType.of(cell)


def _lstm_cell(gates: Array, cell: Array) -> Array:
    size = cell.shape[1]
    entering, forgetting, candidate = (gates[:, k * size : (k + 1) * size] for k in range(3))
    result: Array = sigmoid(forgetting) * cell + sigmoid(entering) * np.tanh(candidate)
    return result


def _lstm_hidden(gates: Array, cell: Array) -> Array:
    result: Array = sigmoid(gates[:, 3 * cell.shape[1] :]) * np.tanh(cell)
    return result


ROWS = (
    Op(
        name="add",
        summary="x + y of one shape",
        result=_add_result,
        reference=lambda x, y: x + y,
        arity=2,
        template="add",
    ),
    Op(
        name="reset",
        summary="state * (1 - episode_start): a recurrent state, zero where an episode begins",
        result=_reset_result,
        reference=lambda state, starts: state * (1 - starts)[:, None],
        arity=2,
        template="reset",
    ),
    Op(
        name="lstm_cell",
        summary="nn.LSTM: the next cell state, sigmoid(f) * c + sigmoid(i) * tanh(g)",
        result=_lstm_result,
        reference=_lstm_cell,
        arity=2,
        template="lstm_cell",
    ),
    Op(
        name="lstm_hidden",
        summary="nn.LSTM: the next hidden state, sigmoid(o) * tanh(c)",
        result=_lstm_result,
        reference=_lstm_hidden,
        arity=2,
        template="lstm_hidden",
    ),
)
