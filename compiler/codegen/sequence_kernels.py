"""
The kernels of recurrent layers over sequences: each step computes the gates of LANES units, and then these units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, passes, sum_of
from compiler.codegen.product_kernels import advanced
from compiler.ir import Node


@dataclass(frozen=True)
class Sizes:
    """
    Of a recurrent layer.
    """

    count: int
    """Sequences side by side."""
    features: int
    units: int


def write_sequence(body: Body, node: Node, inputs: Sequence[Operand], results: Sequence[Operand]) -> None:
    """
    Writes the kernel of a recurrent layer.

    The hidden state is what the step before gave, in the outputs. An LSTM's cell state stands in the second result.
    """
    op, reverse, kind = node.op, bool(node.attributes["reverse"]), str(node.attributes.get("kind", ""))
    steps, count, features = inputs[0].dims
    sizes = Sizes(count, features, inputs[1].dims[1])
    units = sizes.units
    if op == "lstm":
        for i, width in body.pieces(count * units):
            body.store("last", i, width, body.load("cell", i, width))
    with body.loop("step", steps) as step, body.loop("n", count) as n:
        time = sum_of((passes(steps), 1), ("1", -1), (step, -1)) if reverse else step
        given = sum_of((time, count * features), (n, features))
        here = sum_of((time, count * units), (n, units))
        body.add(
            f"given = {advanced('source', given)}",
            f"hidden = {advanced('state', sum_of((n, units)))}",
            f"results = {advanced('target', here)}",
        )
        if steps > 1:
            with body.block(f"if {step} > 0:"):
                body.add(
                    f"hidden = advance(target, {sum_of((here, 1), ('1', count * units * (1 if reverse else -1)))})"
                )
        for first, width in body.pieces(units, "first"):
            WRITERS[op](body, sizes, n, first, width, kind)


def _write_sums(
    body: Body, sizes: Sizes, first: str, width: int, gates: tuple[tuple[int, str], ...], names: list[str]
) -> None:
    """
    Writes the weighted sums of some units, one unit in each lane of a register for each gate.

    Args:
        body: where to.
        sizes: of the layer.
        first: the first unit.
        width: how many units.
        gates: the number of each, and what it reads: the input ("x"), the hidden state ("h"), or both ("xh").
        names: the registers' names.
    """
    body.add(*(f"{name} = splat(0.0)" for name in names))
    with body.block(f"for unit in range({'LANES' if width == body.lanes else width}):"):
        body.add(*(f"s_{name} = splat(0.0)" for name in names))
        for read, pointer, weight, count in (
            ("x", "given", "weight", sizes.features),
            ("h", "hidden", "recurrent", sizes.units),
        ):
            chosen = [(gate, name) for (gate, reads), name in zip(gates, names, strict=True) if read in reads]
            if not chosen:
                continue
            for i, lanes in body.pieces(count):
                body.add(f"x = {body.load(pointer, i, lanes)}")
                for gate, name in chosen:
                    place = sum_of((first, count), ("unit", count), (i, 1), ("1", gate * sizes.units * count))
                    body.add(f"s_{name} = fma(x, {body.load(weight, place, lanes)}, s_{name})")
        body.add(*(f"{name} = put({name}, unit, total(s_{name}))" for name in names))


def _with_bias(body: Body, bias: str, sizes: Sizes, first: str, width: int, gate: int) -> str:
    return body.load(bias, sum_of((first, 1), ("1", gate * sizes.units)), width)


def _write_lstm(body: Body, sizes: Sizes, n: str, first: str, width: int, kind: str) -> None:
    names = ["enter", "forget", "candidate", "leave"]
    _write_sums(body, sizes, first, width, tuple((gate, "xh") for gate in range(4)), names)
    for gate, name in enumerate(names):
        function = "tanh" if name == "candidate" else "sigmoid"
        body.add(f"{name} = {function}({name} + {_with_bias(body, 'bias', sizes, first, width, gate)})")
    place = sum_of((n, sizes.units), (first, 1))
    body.add(f"cells = fma(forget, {body.load('last', place, width)}, enter * candidate)")
    body.store("last", place, width, "cells")
    body.store("results", first, width, "leave * tanh(cells)")


def _write_gru(body: Body, sizes: Sizes, n: str, first: str, width: int, kind: str) -> None:
    gates = ((0, "xh"), (1, "xh"), (2, "x"), (2, "h"))
    names = ["reset", "update", "entering", "kept"]
    _write_sums(body, sizes, first, width, gates, names)
    for gate, name in enumerate(names[:2]):
        biases = [_with_bias(body, bias, sizes, first, width, gate) for bias in ("bias", "recurrent_bias")]
        body.add(f"{name} = sigmoid({name} + {biases[0]} + {biases[1]})")
    body.add(
        f"kept = kept + {_with_bias(body, 'recurrent_bias', sizes, first, width, 2)}",
        f"entering = entering + {_with_bias(body, 'bias', sizes, first, width, 2)}",
        "candidate = tanh(fma(reset, kept, entering))",
    )
    body.store("results", first, width, f"fma(update, {body.load('hidden', first, width)} - candidate, candidate)")


def _write_rnn(body: Body, sizes: Sizes, n: str, first: str, width: int, kind: str) -> None:
    _write_sums(body, sizes, first, width, ((0, "xh"),), ["sums"])
    body.store("results", first, width, f"{kind}(sums + {_with_bias(body, 'bias', sizes, first, width, 0)})")


WRITERS = {"lstm": _write_lstm, "gru": _write_gru, "rnn": _write_rnn}
