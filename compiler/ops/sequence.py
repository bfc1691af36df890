"""
Recurrent layers over whole sequences: one layer, one direction, x of dims (T, N, F), states of dims (N, H).

Gates lie in torch's order: input, forget, cell, output; reset, update, new. With `reverse`, steps go from the last to
the first, and what a step gives stands at its own place.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from compiler.errors import quote
from compiler.ir import Tensor
from compiler.ops.dims import FLOAT, Dims, dims_of, need_computed, need_constant, need_kind, sample
from compiler.ops.elementwise import sigmoid
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "relu": lambda x: np.where(x < 0, 0, x)}
"""What a plain recurrent layer applies, by its attribute `kind`."""


def _steps(x: Array, reverse: bool) -> Sequence[int]:
    steps = range(x.shape[1])
    return steps[::-1] if reverse else steps


def _result(op: str, states: int, gates: int, biases: int, inputs: Sequence[Tensor]) -> tuple[Dims, Dims]:
    """
    The dims of all outputs and of one state, if the inputs are x, states, weight_ih, weight_hh and biases.
    """
    source = inputs[0]
    need_computed(op, source)
    need_kind(op, (FLOAT,), *inputs)
    length, count, features = dims_of(op, source, 3)
    state = dims_of(op, inputs[1], 2)
    for tensor in inputs[1 : 1 + states]:
        if dims_of(op, tensor, 2) != state or state[0] != count:
            refuse(op, f"{quote(tensor.name)} must have dimensions ({count}, units), found {tensor.shape}")
    width = gates * state[1]
    need_constant(op, inputs[1 + states], (width, features))
    need_constant(op, inputs[2 + states], (width, state[1]))
    for tensor in inputs[3 + states : 3 + states + biases]:
        need_constant(op, tensor, (width,))
    return (length, *state), state


def _lstm_result(inputs: Sequence[Tensor], attributes: Attributes) -> list[TensorType]:
    outputs, state = _result("lstm", 2, 4, 1, inputs)
    return [sample(FLOAT, outputs), sample(FLOAT, state)]


def _gru_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    outputs, _ = _result("gru", 1, 3, 2, inputs)
    return sample(FLOAT, outputs)


def _rnn_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    if attributes["kind"] not in ACTIVATIONS:
        refuse("rnn", f"attribute kind must be {' or '.join(ACTIVATIONS)}, found {quote(attributes['kind'])}")
    outputs, _ = _result("rnn", 1, 1, 1, inputs)
    return sample(FLOAT, outputs)


def _lstm(
    x: Array, hidden: Array, cell: Array, weight_ih: Array, weight_hh: Array, bias: Array, reverse: bool
) -> tuple[Array, Array]:
    outputs = np.empty((*x.shape[:3], hidden.shape[-1]))
    for step in _steps(x, reverse):
        gates = x[:, step] @ weight_ih.T + hidden @ weight_hh.T + bias
        entering, forgetting, candidate, leaving = np.split(gates, 4, axis=-1)
        cell = sigmoid(forgetting) * cell + sigmoid(entering) * np.tanh(candidate)
        hidden = sigmoid(leaving) * np.tanh(cell)
        outputs[:, step] = hidden
    return outputs, cell


def pack_recurrence(weight: Array, width: int) -> Array:
    """
    A weight_hh (4 * units, units) as kernels read it: (blocks of units, units, gates, width), padded with zeros.
    """
    units = weight.shape[1]
    blocks = -(-units // width)
    padded = np.pad(weight.reshape(4, units, units), ((0, 0), (0, blocks * width - units), (0, 0)))
    return np.ascontiguousarray(padded.reshape(4, blocks, width, units).transpose(1, 3, 0, 2))


def unpack_recurrence(weight: Array) -> Array:
    """
    The weight_hh (4 * units, units) of a packed one.
    """
    blocks, units, gates, width = weight.shape
    rows = weight.transpose(2, 0, 3, 1).reshape(gates, blocks * width, units)[:, :units]
    return np.ascontiguousarray(rows.reshape(gates * units, units))


def _lstm_steps_result(inputs: Sequence[Tensor], attributes: Attributes) -> list[TensorType]:
    gates, hidden, cell, weight = inputs
    need_computed("lstm_steps", gates)
    need_kind("lstm_steps", (FLOAT,), *inputs)
    length, count, width = dims_of("lstm_steps", gates, 3)
    state = dims_of("lstm_steps", hidden, 2)
    if dims_of("lstm_steps", cell, 2) != state or state[0] != count or width != 4 * state[1]:
        refuse("lstm_steps", f"gates {gates.shape} and states {hidden.shape}, {cell.shape} do not fit")
    packed = dims_of("lstm_steps", weight, 4)
    if packed[1:3] != (state[1], 4) or not 0 <= packed[0] * packed[3] - state[1] < packed[3]:
        refuse("lstm_steps", f"the weight must be (blocks, {state[1]}, 4, width), found {weight.shape}")
    need_constant("lstm_steps", weight, packed)
    return [sample(FLOAT, (length, *state)), sample(FLOAT, state)]


def _lstm_steps(gates: Array, hidden: Array, cell: Array, weight: Array, reverse: bool) -> tuple[Array, Array]:
    recurrent = unpack_recurrence(weight)
    none = np.zeros(gates.shape[-1])
    return _lstm(gates, hidden, cell, np.eye(gates.shape[-1]), recurrent, none, reverse)


def _lstm_steps_work(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    return math.prod(inputs[0].fixed_shape) * inputs[1].fixed_shape[-1]


def _gru(
    x: Array,
    hidden: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array,
    bias_hh: Array,
    reverse: bool,
) -> Array:
    outputs = np.empty((*x.shape[:3], hidden.shape[-1]))
    for step in _steps(x, reverse):
        given = np.split(x[:, step] @ weight_ih.T + bias_ih, 3, axis=-1)
        kept = np.split(hidden @ weight_hh.T + bias_hh, 3, axis=-1)
        reset, update = sigmoid(given[0] + kept[0]), sigmoid(given[1] + kept[1])
        new = np.tanh(given[2] + reset * kept[2])
        hidden = (1 - update) * new + update * hidden
        outputs[:, step] = hidden
    return outputs


def _rnn(x: Array, hidden: Array, weight_ih: Array, weight_hh: Array, bias: Array, reverse: bool, kind: str) -> Array:
    outputs = np.empty((*x.shape[:3], hidden.shape[-1]))
    for step in _steps(x, reverse):
        hidden = ACTIVATIONS[kind](x[:, step] @ weight_ih.T + hidden @ weight_hh.T + bias)
        outputs[:, step] = hidden
    return outputs


def _multiply_adds(states: int) -> Callable[[Sequence[Tensor], Attributes], int]:
    def count(inputs: Sequence[Tensor], attributes: Attributes) -> int:
        steps = math.prod(inputs[0].fixed_shape[:2])
        return steps * sum(weight.elements for weight in inputs[1 + states : 3 + states])

    return count


ROWS = (
    Op(
        name="lstm",
        summary="nn.LSTM, one layer in one direction: all outputs, and the last cell state",
        result=_lstm_result,
        reference=_lstm,
        arity=6,
        attributes={"reverse": False},
        template="nest",
        single=True,
        multiply_adds=_multiply_adds(states=2),
    ),
    Op(
        name="lstm_steps",
        summary="the steps of nn.LSTM, given what the gates get of the input; the weight packed",
        result=_lstm_steps_result,
        reference=_lstm_steps,
        arity=4,
        attributes={"reverse": False},
        template="nest",
        single=True,
        multiply_adds=_lstm_steps_work,
    ),
    Op(
        name="gru",
        summary="nn.GRU, one layer in one direction: all outputs",
        result=_gru_result,
        reference=_gru,
        arity=6,
        attributes={"reverse": False},
        template="nest",
        single=True,
        multiply_adds=_multiply_adds(states=1),
    ),
    Op(
        name="rnn",
        summary="nn.RNN, one layer in one direction: all outputs",
        result=_rnn_result,
        reference=_rnn,
        arity=5,
        attributes={"reverse": False, "kind": "tanh"},
        template="nest",
        single=True,
        multiply_adds=_multiply_adds(states=1),
    ),
)
