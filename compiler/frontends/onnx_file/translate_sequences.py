"""
Recurrent layers: each direction becomes a row, with its gates in torch's order.

ONNX has the gates as i, o, f, c (LSTM) and z, r, h (GRU), all directions in one tensor, and both biases in one row.
"""

from collections.abc import Sequence

import numpy as np

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_layers import filled
from compiler.frontends.onnx_file.translate_shapes import cut, join, permute
from compiler.ops import Array

GATES = {"lstm": (0, 2, 3, 1), "gru": (1, 0, 2), "rnn": (0,)}
"""Where in ONNX's order each gate of torch's order stands."""
DEFAULTS = {"lstm": ["Sigmoid", "Tanh", "Tanh"], "gru": ["Sigmoid", "Tanh"], "rnn": ["Tanh"]}
KINDS = {"tanh": "tanh", "relu": "relu"}


def _ordered(kind: str, weight: Array) -> Array:
    """
    Rows of gates in torch's order.
    """
    parts = np.split(weight, len(GATES[kind]))
    return np.concatenate([parts[gate] for gate in GATES[kind]])


def _functions(g: Graph, kind: str, has: Has, directions: int) -> list[str]:
    """
    What a plain recurrent layer applies in each direction; refuses all that gates of others don't.
    """
    found = list(has.get("activations", DEFAULTS[kind] * directions))
    if kind == "rnn":
        kinds = [KINDS.get(name.lower(), "") for name in found]
        if len(kinds) != directions or not all(kinds):
            g.refuse(f"is compiled with the activations Tanh and Relu, found {', '.join(map(ascii, found))}")
        return kinds
    if [name.lower() for name in found] != [name.lower() for name in DEFAULTS[kind] * directions]:
        g.refuse(f"is compiled with the activations {DEFAULTS[kind]}, found {', '.join(map(ascii, found))}")
    return [""] * directions


def _check(g: Graph, kind: str, given: Given, has: Has, length: int) -> None:
    """
    Refuses what a row does not compute.
    """
    if has.get("clip"):
        g.refuse("is compiled without clip")
    if has.get("input_forget", 0):
        g.refuse("is compiled without input_forget")
    if kind == "gru" and not has.get("linear_before_reset", 0):
        g.refuse("is compiled with linear_before_reset=1, as PyTorch, and Keras with reset_after=True, write it")
    peepholes = at(given, 7)
    if peepholes is not None and g.known(peepholes, "the peepholes").any():
        g.refuse("is compiled without peepholes")
    lengths = at(given, 4)
    if lengths is not None and (g.known(lengths, "the sequence lengths") != length).any():
        g.refuse("is compiled where all sequences are as long as the input")


def _state(g: Graph, states: Value, direction: int, dims: tuple[int, int]) -> Value:
    """
    The state in which a direction begins: 0 where none is given.
    """
    if states is None:
        return filled(g, dims, 0.0)
    return g.reshape(cut(g, states, 0, direction, direction + 1), dims)


def _direction(
    g: Graph, kind: str, given: Given, states: Sequence[Value], index: int, reverse: bool, function: str
) -> list[Value]:
    """
    One direction: all its outputs (T, N, H), and the last cells of an LSTM.
    """
    x, units = given[0], dims_of(given[2])[-1]
    weights = [_ordered(kind, g.known(given[place], "a weight")[index]) for place in (1, 2)]
    weights = [g.renamed(weight, given[place]) for weight, place in zip(weights, (1, 2), strict=True)]
    rows = len(GATES[kind]) * units
    bias = filled(g, (2 * rows,), 0.0) if at(given, 3) is None else g.known(given[3], "the bias")[index]
    biases = [_ordered(kind, part) for part in np.split(bias, 2)]
    begins = [_state(g, state, index, (dims_of(x)[1], units)) for state in states]
    if kind == "gru":
        return g.add_all("gru", [x, *begins, *weights, *biases], reverse=reverse)
    inputs = [x, *begins, *weights, biases[0] + biases[1]]
    if kind == "lstm":
        return g.add_all("lstm", inputs, reverse=reverse)
    return g.add_all("rnn", inputs, reverse=reverse, kind=function)


def _recurrent(kind: str) -> Translation:
    def translate(g: Graph, given: Given, has: Has) -> Value:
        flipped = bool(has.get("layout", 0))
        states = [at(given, 5), at(given, 6)] if kind == "lstm" else [at(given, 5)]
        x = given[0]
        if flipped:
            x = permute(g, x, (1, 0, 2))
            states = [state if state is None else permute(g, state, (1, 0, 2)) for state in states]
        given = [x, *given[1:]]
        length, count, _ = dims_of(x)
        named = has.get("direction", "forward")
        reverses = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[named]
        _check(g, kind, given, has, length)
        functions = _functions(g, kind, has, len(reverses))
        outputs, hidden, cells = [], [], []
        for index, (reverse, function) in enumerate(zip(reverses, functions, strict=True)):
            found = _direction(g, kind, given, states, index, reverse, function)
            units = dims_of(found[0])[2]
            outputs.append(g.reshape(found[0], (length, 1, count, units)))
            last = 0 if reverse else length - 1
            hidden.append(cut(g, found[0], 0, last, last + 1))
            cells += [g.reshape(cell, (1, count, units)) for cell in found[1:]]
        results = [join(g, outputs, 1), join(g, hidden, 0)]
        results += [join(g, cells, 0)] if kind == "lstm" else []
        if flipped:
            return [permute(g, results[0], (2, 0, 1, 3)), *(permute(g, one, (1, 0, 2)) for one in results[1:])]
        return results

    return translate


TRANSLATIONS: dict[str, Translation] = {"GRU": _recurrent("gru"), "LSTM": _recurrent("lstm"), "RNN": _recurrent("rnn")}
