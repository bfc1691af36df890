"""
Recurrent networks: torch.nn's layers and directions become nodes of one layer and one direction each.
"""

from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_layers import filled
from compiler.frontends.torch_export.translate_shapes import cut, join

aten = torch.ops.aten


class _Parameters:
    """
    The weights of a recurrent module, in the order in which torch.nn keeps them.
    """

    def __init__(self, g: Graph, given: Sequence[Value], has_biases: bool, directions: int, layers: int) -> None:
        each = 4 if has_biases else 2
        if len(given) != each * directions * layers:
            g.refuse("is compiled without projections (proj_size=0)")
        self._graph, self._given, self._each = g, given, each

    def weights(self, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        weight_ih, weight_hh, bias_ih and bias_hh of one direction of one layer.
        """
        found = [
            self._graph.floating(self._graph.known(value, "a weight"))
            for value in self._given[index * self._each : (index + 1) * self._each]
        ]
        if self._each == 2:
            found += [filled(found[0].shape[0], 0.0)] * 2
        return found[0], found[1], found[2], found[3]


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
                found = _direction(g, kind, x, _one(g, hidden, index), cell, parameters.weights(index), reverse)
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


TRANSLATIONS: dict[Any, Translation] = {
    aten.lstm.input: _recurrent("lstm"),
    aten.gru.input: _recurrent("gru"),
    aten.rnn_tanh.input: _recurrent("rnn_tanh"),
    aten.rnn_relu.input: _recurrent("rnn_relu"),
}
