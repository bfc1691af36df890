"""
The kernel of attention: for each query the values are added up key by key, weighted, without room for all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, broadcast, place_of, strides_of, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.ir import Node

QUERIES = 4
"""Queries at once, which share what is loaded of keys and values."""
VALUES = 4
"""Registers of values at once."""


@dataclass(frozen=True)
class Attention:
    """
    The sizes of one head, and what happens to its scores.
    """

    width: int
    """Of a query and of a key."""
    length: int
    """Keys."""
    wide: int
    """Values of a key."""
    scale: float
    causal: bool
    mask_steps: tuple[int, int] | None
    """Of the mask, from one query to the next and from one key to the next; None without a mask."""


def write_attention(body: Body, node: Node, inputs: Sequence[Operand], result: Operand) -> None:
    """
    Writes a kernel that goes through the keys of some queries, LANES at once.

    A row of the result holds the sum of the values so far, weighted by e ** (score - largest), where `largest` is the
    largest score so far: when a larger one comes, all before become smaller. Source: Milakov and Gimelshein, Online
    normalizer calculation for softmax.
    """
    queries, keys, values = inputs[:3]
    scale, causal = node.attributes["scale"], bool(node.attributes["causal"])
    assert isinstance(scale, float)
    *batch, count, width = queries.dims
    length, wide = values.dims[-2:]
    strides = broadcast(inputs[3].dims, (*batch, count, length)) if len(inputs) > 3 else ()
    head = Attention(width, length, wide, scale, causal, (strides[-2], strides[-1]) if strides else None)
    sizes = {"query": count * width, "key": length * width, "value": length * wide, "result": count * wide}
    with body.loops("b", batch) as variables:
        for name, operand in (("query", queries), ("key", keys), ("value", values), ("result", result)):
            place = place_of(variables, [stride * sizes[name] for stride in strides_of(batch)])
            body.add(f"{name} = {advanced(operand.name, place)}")
        if strides:
            body.add(f"added = {advanced(inputs[3].name, place_of(variables, strides[:-2]))}")
        for start, stop, together in tiles(count, QUERIES):
            with body.span("row", start, stop, together) as row:
                _write_queries(body, head, row, together)


def _write_queries(body: Body, head: Attention, row: str, count: int) -> None:
    """
    Writes the rows of the result of some queries.
    """
    for q in range(count):
        body.add(f"largest{q}, whole{q} = splat(-np.inf), splat(0.0)")
        for at, wide in body.pieces(head.wide, "j"):
            body.store("result", sum_of((row, head.wide), (at, 1), ("1", q * head.wide)), wide, "splat(0.0)")
    for start, lanes in body.exact_pieces(head.length, "first"):
        needed = f"if {start} <= {sum_of((row, 1), ('1', count - 1))}:" if head.causal and start != "0" else ""
        with body.block(needed):
            _write_scores(body, head, row, count, start, lanes)
            for q in range(count):
                _write_weights(body, head, sum_of((row, 1), ("1", q)), q, start, lanes)
            _write_values(body, head, row, count, start, lanes)
    for q in range(count):
        body.add(f"whole{q} = select(whole{q} == 0.0, splat(1.0), whole{q})")
        for at, wide in body.pieces(head.wide, "j"):
            place = sum_of((row, head.wide), (at, 1), ("1", q * head.wide))
            body.store("result", place, wide, f"{body.load('result', place, wide)} / whole{q}")


def _write_scores(body: Body, head: Attention, row: str, count: int, start: str, lanes: int | str) -> None:
    """
    Writes the products of some queries with some keys, a register for each query, one key in each lane.
    """
    body.add(*(f"scores{q} = splat(-np.inf)" for q in range(count)))
    with body.block(f"for k in range({'LANES' if lanes == body.lanes else lanes}):"):
        body.add(f"near = {advanced('key', sum_of((start, head.width), ('k', head.width)))}")
        body.add(*(f"a{q} = splat(0.0)" for q in range(count)))
        for i, width in body.pieces(head.width):
            body.add(f"x = {body.load('near', i, width)}")
            for q in range(count):
                place = sum_of((row, head.width), (i, 1), ("1", q * head.width))
                body.add(f"a{q} = fma({body.load('query', place, width)}, x, a{q})")
        body.add(*(f"scores{q} = put(scores{q}, k, total(a{q}))" for q in range(count)))


def _write_weights(body: Body, head: Attention, query: str, q: int, start: str, lanes: int | str) -> None:
    """
    Writes what some keys weigh for a query, and by what factor all before them become smaller.
    """
    scores = f"scores{q}"
    if head.scale != 1.0:
        body.add(f"{scores} = {scores} * {head.scale!r}")
    if head.mask_steps is not None:
        down, across = head.mask_steps
        place = sum_of((query, down), (start, across))
        text = body.load("added", place, lanes) if across else f"splat(load_scalar(added, {place}))"
        body.add(f"{scores} = {scores} + {text}")
    if lanes != body.lanes:
        body.add(f"{scores} = select(between(0, {lanes}), {scores}, splat(-np.inf))")
    if head.causal:
        seen = sum_of((query, 1), ("1", 1), (start, -1))
        body.add(f"{scores} = select(between(0, {seen}), {scores}, splat(-np.inf))")
    body.add(
        f"before, largest{q} = largest{q}, maximum(largest{q}, splat(highest({scores})))",
        f"base = select(largest{q} <= -np.inf, splat(0.0), largest{q})",
        f"weights{q} = exp({scores} - base)",
        f"shrunk{q} = exp(before - base)",
        f"whole{q} = whole{q} * shrunk{q} + splat(total(weights{q}))",
    )


def _write_values(body: Body, head: Attention, row: str, count: int, start: str, lanes: int | str) -> None:
    """
    Adds the values of some keys to the rows of the result, weighted.
    """
    for begin, stop, together in tiles(head.wide, VALUES * body.lanes):
        with body.span("j", begin, stop, together) as j:
            registers = [(at, min(body.lanes, together - at)) for at in range(0, together, body.lanes)]

            def place(q: int, at: int, j: str = j) -> str:
                return sum_of((row, head.wide), (j, 1), ("1", q * head.wide + at))

            for q in range(count):
                for v, (at, width) in enumerate(registers):
                    body.add(f"s{q}_{v} = {body.load('result', place(q, at), width)} * shrunk{q}")
            with body.block(f"for k in range({'LANES' if lanes == body.lanes else lanes}):"):
                for v, (at, width) in enumerate(registers):
                    value = sum_of((start, head.wide), ("k", head.wide), (j, 1), ("1", at))
                    body.add(f"x{v} = {body.load('value', value, width)}")
                for q in range(count):
                    body.add(f"w = splat(get(weights{q}, k))")
                    body.add(*(f"s{q}_{v} = fma(w, x{v}, s{q}_{v})" for v in range(len(registers))))
            for q in range(count):
                for v, (at, width) in enumerate(registers):
                    body.store("result", place(q, at), width, f"s{q}_{v}")
