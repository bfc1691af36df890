"""
The kernel of an LSTM over sequences whose gates have been given what they get of the input.

The weights lie in the order in which they are read: for a block of units, of each hidden value the four gates. As many
sequences as there are registers for their gates share what is loaded of them, and all sequences go by a block of units
before the next: it stays in the nearest cache meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, even_tile, passes, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.ir import Node
from compiler.ops.blocks import BLOCK
from compiler.ops.tiles import MOST_SUMS

GATES = ("enter", "forget", "candidate", "leave")
CHAINS = 2
"""Sums that each gate of a single sequence has under way: with four gates as many as the processor needs to be busy."""


@dataclass(frozen=True)
class Sequences:
    """
    Those that are side by side: how many, and values of each operand from one of them to the next.
    """

    count: int
    gates: int
    state: int
    cell: int
    results: int
    last: int


@dataclass(frozen=True)
class Steps:
    """
    What all parts of the kernel share.
    """

    steps: int
    units: int
    packed: int
    """Units of a block of the weights."""
    reverse: bool
    sequences: Sequences
    gates: int
    """Values from the gates of a step to those of the next."""
    results: int
    """The same of results."""


def write_lstm_steps(body: Body, node: Node, inputs: Sequence[Operand], results: Sequence[Operand]) -> None:
    """
    Writes the kernel for one observation.
    """
    count, units = inputs[1].dims
    _write_steps(body, node, inputs, Sequences(count, 4 * units, *(units,) * 4), (count * 4 * units, count * units))


def write_lstm_steps_together(body: Body, node: Node, inputs: Sequence[Operand], results: Sequence[Operand]) -> None:
    """
    Writes the kernel for a block of observations, each of which has one sequence.
    """
    units = inputs[1].dims[1]
    sequences = Sequences(BLOCK, *(operand.apart for operand in (*inputs[:3], *results)))
    _write_steps(body, node, inputs, sequences, (4 * units, units))


def _write_steps(
    body: Body, node: Node, inputs: Sequence[Operand], sequences: Sequences, apart: tuple[int, int]
) -> None:
    """
    Writes all steps; `apart` are values from one to the next, of the gates that are given and of the results.
    """
    units, packed = inputs[1].dims[1], inputs[3].dims[3]
    layer = Steps(inputs[0].dims[0], units, packed, bool(node.attributes["reverse"]), sequences, *apart)
    most = even_tile(sequences.count, min(sequences.count, MOST_SUMS[body.lanes] // len(GATES)))
    if most > 1:
        body.add(f"sums = workspace({most * len(GATES)} * LANES)")
    for begin, stop, together in tiles(sequences.count, most if body.dividing else sequences.count):
        with body.span("n_", begin, stop, together, shared=True) as start, body.loop("r", together) as line:
            n = sum_of((start, 1), (line, 1))
            for i, width in body.pieces(units):
                cells = body.load("cell", sum_of((n, sequences.cell), (i, 1)), width)
                body.store("last", sum_of((n, sequences.last), (i, 1)), width, cells)
    with body.loop("step", layer.steps) as step:
        for first, count, size in ((0, units // packed, packed), (units // packed, 1, units % packed)):
            if not count or not size:
                continue
            with body.span("block", first, first + count, 1) as block:
                body.add(f"rows = {advanced('weight', sum_of((block, 4 * units * packed)))}")
                for begin, stop, together in tiles(sequences.count, most):
                    with body.span("n", begin, stop, together, shared=True) as n:
                        reach = _write_places(body, layer, n, step)
                        _write_units(body, layer, block, size, together, reach)


def _write_places(body: Body, layer: Steps, n: str, step: str) -> str:
    """
    Writes where a step finds, and leaves, what is of sequence `n`: `given`, `hidden`, `results` and `cells_of`.

    Returns:
        The expression of how far it is from the hidden state of a sequence to that of the next.
    """
    sequences, reach = layer.sequences, str(layer.sequences.state)
    time = sum_of((passes(layer.steps), 1), ("1", -1), (step, -1)) if layer.reverse else step
    here = sum_of((time, layer.results), (n, sequences.results))
    body.add(
        f"given = {advanced('source', sum_of((time, layer.gates), (n, sequences.gates)))}",
        f"hidden = {advanced('state', sum_of((n, sequences.state)))}",
        f"results = {advanced('target', here)}",
        f"cells_of = {advanced('last', sum_of((n, sequences.last)))}",
    )
    if layer.steps > 1:
        differs = sequences.state != sequences.results
        if differs:
            body.add(f"reach = {reach}")
        before = layer.results * (1 if layer.reverse else -1)
        with body.block(f"if {step} > 0:"):
            body.add(f"hidden = advance(target, {sum_of((here, 1), ('1', before))})")
            if differs:
                body.add(f"reach = {sequences.results}")
        reach = "reach" if differs else reach
    return reach


def _write_units(body: Body, layer: Steps, block: str, size: int, together: int, reach: str) -> None:
    """
    Writes one step of the units of a block, of which there are so many, for some sequences.
    """
    sequences = layer.sequences
    for i, width in body.pieces(size):
        first = sum_of((block, layer.packed), (i, 1))
        _write_gates(body, layer, first, i, width, together, reach)
        if together == 1:
            _write_cells(body, width, first, first)
            continue
        for r in range(together):
            for gate, name in enumerate(GATES):
                body.add(f"store(sums, {(r * len(GATES) + gate) * body.lanes}, {name}{r})")
        with body.loop("r", together) as line:
            for gate, name in enumerate(GATES):
                place = sum_of((line, len(GATES) * body.lanes), ("1", gate * body.lanes))
                body.add(f"{name}0 = load(sums, {place})")
            places = (sum_of((line, apart), (first, 1)) for apart in (sequences.last, sequences.results))
            _write_cells(body, width, *places)


def _write_gates(body: Body, layer: Steps, first: str, i: str, width: int, together: int, reach: str) -> None:
    """
    Writes the sums of the four gates of some units, one unit in each lane, for some sequences.

    The units are the first of all units, the one `i` of its block. The registers are called after gate and sequence.
    """
    units, packed = layer.units, layer.packed
    chains = CHAINS if together == 1 else 1
    for r in range(together):
        for gate, name in enumerate(GATES):
            place = sum_of((first, 1), ("1", r * layer.sequences.gates + gate * units))
            body.add(f"{name}{r} = {body.load('given', place, width)}")
            body.add(*(f"{name}{r}_{chain} = splat(0.0)" for chain in range(1, chains)))

    def step(place: str, chain: int) -> None:
        for gate, name in enumerate(GATES):
            at = sum_of((place, 4 * packed), (i, 1), ("1", (4 * chain + gate) * packed))
            body.add(f"w_{name} = load(rows, {at})")
        for r in range(together):
            body.add(f"x = splat(load_scalar(hidden, {sum_of((place, 1), ('1', chain), (reach, r))}))")
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


def _write_cells(body: Body, width: int, cells: str, results: str) -> None:
    """
    Writes the cells and the results of some units of one sequence, at these places, from the sums of their gates.
    """
    for name in GATES:
        body.add(f"{name} = {'tanh' if name == 'candidate' else 'sigmoid'}({name}0)")
    body.add(f"cells = fma(forget, {body.load('cells_of', cells, width)}, enter * candidate)")
    body.store("cells_of", cells, width, "cells")
    body.store("results", results, width, "leave * tanh(cells)")
