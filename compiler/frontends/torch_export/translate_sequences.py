"""
Recurrent networks: torch.nn's layers and directions become nodes of one layer and one direction each.
"""

from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_layers import filled, linear
from compiler.frontends.torch_export.translate_shapes import cut, join

aten = torch.ops.aten


class _Parameters:
    """
    The weights of a recurrent module, in the order in which torch.nn keeps them.
    """

    def __init__(self, g: Graph, given: Sequence[Value], has_biases: bool, directions: int, layers: int) -> None:
        plain = 4 if has_biases else 2
        self.each = len(given) // (directions * layers)
        self._graph, self._given, self._biases = g, given, has_biases
        self.projected = self.each == plain + 1
        if len(given) != self.each * directions * layers or self.each not in (plain, plain + 1):
            g.refuse(f"has {len(given)} weights, expected {plain} or {plain + 1} for each layer and direction")

    def _known(self, index: int) -> list[torch.Tensor]:
        given = self._given[index * self.each : (index + 1) * self.each]
        return [self._graph.floating(self._graph.known(value, "a weight")) for value in given]

    def weights(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        weight_ih, weight_hh, bias_ih and bias_hh of one direction of one layer.
        """
        found = self._known(index)
        biases = found[2:4] if self._biases else [filled(found[0].shape[0], 0.0)] * 2
        return found[0], found[1], biases[0], biases[1]

    def projection(self, index: int) -> torch.Tensor:
        """
        weight_hr, (proj_size, hidden_size), of one direction of one layer.
        """
        return self._known(index)[-1]


def _one(g: Graph, states: Value, index: int) -> Value:
    """
    The state of one direction of one layer, (N, H), of those of all.
    """
    return g.reshape(cut(g, g.floating(states), 0, index, index + 1), dims_of(states)[1:])


def _last(g: Graph, outputs: Value, reverse: bool) -> Value:
    """
    The hidden state after the last step, as (1, N, H).
    """
    place = 0 if reverse else dims_of(outputs)[0] - 1
    return cut(g, outputs, 0, place, place + 1)


def _swapped(g: Graph, x: Value) -> Value:
    return x.transpose(0, 1) if isinstance(x, torch.Tensor) else g.add("permute", [x], order=(1, 0, 2))


def _recurrent(kind: str) -> Translation:
    """
    lstm, gru, rnn_tanh or rnn_relu of a batch of sequences of one length.
    """

    def translate(
        g: Graph,
        x: Value,
        states: Any,
        params: Sequence[Value],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool = False,
    ) -> Value:
        if train and dropout:
            g.refuse("draws at random, as in training: call module.eval() before the export")
        hidden, cells = states if kind == "lstm" else (states, None)
        lone = len(dims_of(x)) == 2
        if lone:
            x = g.reshape(x, (dims_of(x)[0], 1, dims_of(x)[1]))
            hidden, cells = (
                None if s is None else g.reshape(s, (dims_of(s)[0], 1, dims_of(s)[1])) for s in (hidden, cells)
            )
        x = g.computed(x) if isinstance(x, torch.Tensor) else x
        x = _swapped(g, g.floating(x)) if batch_first and not lone else g.floating(x)
        directions = 2 if bidirectional else 1
        parameters = _Parameters(g, params, has_biases, directions, num_layers)
        last_hidden, last_cells = [], []
        for layer in range(num_layers):
            outputs = []
            for direction in range(directions):
                index, reverse = layer * directions + direction, direction == 1
                cell = None if cells is None else _one(g, cells, index)
                weights, before = parameters.weights(index), _one(g, hidden, index)
                if parameters.projected:
                    found = _projected(g, x, before, cell, weights, parameters.projection(index), reverse)
                else:
                    found = _direction(g, kind, x, before, cell, weights, reverse)
                outputs.append(found[0])
                last_hidden.append(_last(g, found[0], reverse))
                last_cells += [g.reshape(cell, (1, *dims_of(cell))) for cell in found[1:]]
            x = join(g, outputs, 2)
        results = [
            _swapped(g, x) if batch_first and not lone else x,
            join(g, last_hidden, 0),
            *([join(g, last_cells, 0)] if last_cells else []),
        ]
        return [g.reshape(value, g.result_dims(place)) for place, value in enumerate(results)]

    return translate


def _direction(
    g: Graph,
    kind: str,
    x: Value,
    hidden: Value,
    cell: Value,
    weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    reverse: bool,
) -> list[Value]:
    """
    The outputs of one direction of one layer, and of an LSTM the last cell.
    """
    input_weight, hidden_weight, input_bias, hidden_bias = weights
    if kind == "gru":
        inputs = [x, hidden, input_weight, hidden_weight, input_bias, hidden_bias]
        return [g.add("gru", inputs, reverse=reverse)]
    bias = (input_bias.double() + hidden_bias.double()).float()
    if kind == "lstm":
        return list(g.add_all("lstm", [x, hidden, cell, input_weight, hidden_weight, bias], reverse=reverse))
    name = kind.removeprefix("rnn_")
    return [g.add("rnn", [x, hidden, input_weight, hidden_weight, bias], reverse=reverse, kind=name)]


def _projected(
    g: Graph,
    x: Value,
    hidden: Value,
    cell: Value,
    weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    projection: torch.Tensor,
    reverse: bool,
) -> list[Value]:
    """
    One direction of an LSTM with projections: one without them, whose outputs are projected afterwards.

    The step before comes to the gates as weight_hh weight_hr m, of which the first two are one known matrix. A state
    to begin with is no such product: it comes in as a part of the first step's input.
    """
    input_weight, hidden_weight, *biases = weights
    joined = (hidden_weight.double() @ projection.double()).float()
    if not (isinstance(hidden, torch.Tensor) and not hidden.any()):
        length = dims_of(x)[0]
        first = g.reshape(hidden, (1, *dims_of(hidden)))
        if length > 1:
            rest = torch.zeros((length - 1, *dims_of(hidden)))
            first = join(g, [rest, first] if reverse else [first, rest], 0)
        x = join(g, [x, first], 2)
        input_weight = torch.cat((input_weight, hidden_weight), 1)
    nothing = torch.zeros(dims_of(cell))
    found = _direction(g, "lstm", x, nothing, cell, (input_weight, joined, biases[0], biases[1]), reverse)
    return [linear(g, found[0], projection), *found[1:]]


TRANSLATIONS: dict[Any, Translation] = {
    aten.lstm.input: _recurrent("lstm"),
    aten.gru.input: _recurrent("gru"),
    aten.rnn_tanh.input: _recurrent("rnn_tanh"),
    aten.rnn_relu.input: _recurrent("rnn_relu"),
}
