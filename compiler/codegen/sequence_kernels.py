"""
The kernels of recurrent layers over sequences: each step computes the gates of LANES units, and then these units.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, passes, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.ir import Node
from compiler.ops.tiles import MOST_SUMS


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


def write_lstm_steps(body: Body, node: Node, inputs: Sequence[Operand], results: Sequence[Operand]) -> None:
    """
    Writes the kernel of an LSTM whose gates have been given what they get of the input.

    The weights lie in the order in which they are read: for a block of units, of each hidden value the four gates. As
    many sequences as there are registers for their gates share what is loaded of them.
    """
    reverse, (steps, count, _) = bool(node.attributes["reverse"]), inputs[0].dims
    units, packed = inputs[1].dims[1], inputs[3].dims[3]
    most = min(count, MOST_SUMS[body.lanes] // len(GATES))
    if most > 1:
        body.add(f"sums = workspace({most * len(GATES)} * LANES)")
    for together in _each_step(body, (steps, count), (4 * units, units), reverse, most):
        if units >= packed:
            with body.loop("block", units // packed) as block:
                _write_units(body, units, packed, block, packed, together)
        if units % packed:
            _write_units(body, units, packed, str(units // packed), units % packed, together)


def _write_units(body: Body, units: int, packed: int, block: str, size: int, together: int) -> None:
    """
    Writes one step of the units of a block, of which there are so many, for some sequences.
    """
    body.add(f"rows = {advanced('weight', sum_of((block, 4 * units * packed)))}")
    for i, width in body.pieces(size):
        first = sum_of((block, packed), (i, 1))
        _write_gates(body, units, packed, first, i, width, together)
        if together == 1:
            _write_cells(body, first, width, first)
            continue
        for r in range(together):
            for gate, name in enumerate(GATES):
                body.add(f"store(sums, {(r * len(GATES) + gate) * body.lanes}, {name}{r})")
        with body.loop("r", together) as line:
            for gate, name in enumerate(GATES):
                place = sum_of((line, len(GATES) * body.lanes), ("1", gate * body.lanes))
                body.add(f"{name}0 = load(sums, {place})")
            _write_cells(body, first, width, sum_of((line, units), (first, 1)))


def _write_cells(body: Body, first: str, width: int, place: str) -> None:
    """
    Writes the cells and the results of some units of one sequence, at this place, from the sums of their gates.
    """
    for name in GATES:
        body.add(f"{name} = {'tanh' if name == 'candidate' else 'sigmoid'}({name}0)")
    body.add(f"cells = fma(forget, {body.load('cells_of', place, width)}, enter * candidate)")
    body.store("cells_of", place, width, "cells")
    body.store("results", place, width, "leave * tanh(cells)")


def _each_step(body: Body, counts: tuple[int, int], sizes: tuple[int, int], reverse: bool, most: int) -> Iterator[int]:
    """
    Goes through steps, and in each through sequences, at most so many at once; yields how many.

    `given`, `hidden`, `results` and `cells_of` are what a step takes and gives of the first of them.
    """
    (steps, count), (width, units) = counts, sizes
    for i, lanes in body.pieces(count * units):
        body.store("last", i, lanes, body.load("cell", i, lanes))
    with body.loop("step", steps) as step:
        time = sum_of((passes(steps), 1), ("1", -1), (step, -1)) if reverse else step
        for begin, stop, together in tiles(count, most):
            with body.span("n", begin, stop, together) as n:
                here = sum_of((time, count * units), (n, units))
                body.add(
                    f"given = {advanced('source', sum_of((time, count * width), (n, width)))}",
                    f"hidden = {advanced('state', sum_of((n, units)))}",
                    f"results = {advanced('target', here)}",
                    f"cells_of = {advanced('last', sum_of((n, units)))}",
                )
                if steps > 1:
                    before = count * units * (1 if reverse else -1)
                    with body.block(f"if {step} > 0:"):
                        body.add(f"hidden = advance(target, {sum_of((here, 1), ('1', before))})")
                yield together


GATES = ("enter", "forget", "candidate", "leave")
CHAINS = 2
"""Sums that each gate of a single sequence has under way: with four gates as many as the processor needs to be busy."""


def _write_gates(body: Body, units: int, packed: int, first: str, i: str, width: int, together: int) -> None:
    """
    Writes the sums of the four gates of some units, one unit in each lane, for some sequences.

    The units are the first of all units, the one `i` of its block. The registers are called after gate and sequence.
    """
    chains = CHAINS if together == 1 else 1
    for r in range(together):
        for gate, name in enumerate(GATES):
            place = sum_of((first, 1), ("1", (r * len(GATES) + gate) * units))
            body.add(f"{name}{r} = {body.load('given', place, width)}")
            body.add(*(f"{name}{r}_{chain} = splat(0.0)" for chain in range(1, chains)))

    def step(place: str, chain: int) -> None:
        for gate, name in enumerate(GATES):
            at = sum_of((place, 4 * packed), (i, 1), ("1", (4 * chain + gate) * packed))
            body.add(f"w_{name} = load(rows, {at})")
        for r in range(together):
            body.add(f"x = splat(load_scalar(hidden, {sum_of((place, 1), ('1', chain + r * units))}))")
            for name in GATES:
                into = f"{name}{r}_{chain}" if chain else f"{name}{r}"
                body.add(f"{into} = fma(x, w_{name}, {into})")

    whole = units - units % chains
    if whole:
        with body.span("unit", 0, whole, chains) as unit:
            for chain in range(chains):
                step(unit, chain)
    if units > whole:
        step(str(whole), 0)
    for chain in range(1, chains):
        body.add(*(f"{name}0 = {name}0 + {name}0_{chain}" for name in GATES))


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
