"""
The kernel of attention: block of keys by block, their values are added up for each query, weighted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, Running, broadcast, place_of, strides_of, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.ir import Node

QUERIES = 6
"""Queries at once, which share what is loaded of keys and values."""
VECTORS = {1: 2, 4: 2, 8: 2, 16: 4}
"""Registers of keys in a block, and of values at once, by lanes: with the queries as many sums as registers hold."""


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
    turned: bool
    """Whether a key is a column."""
    mask_steps: tuple[int, int] | None
    """Of the mask, from one query to the next and from one key to the next; None without a mask."""
    keys: int
    """In a block."""


@dataclass(frozen=True)
class Block:
    """
    Some keys: where they begin, and how many there are in each register.
    """

    start: str
    sizes: tuple[int | str, ...]

    @property
    def count(self) -> int | str:
        """
        How many there are.
        """
        sizes = [size for size in self.sizes if isinstance(size, int)]
        return sum(sizes) if len(sizes) == len(self.sizes) else self.sizes[0]


def write_attention(body: Body, node: Node, inputs: Sequence[Operand], result: Operand) -> None:
    """
    Writes a kernel that goes through the keys of some queries, a block at once.

    A row of the result holds the sum of the values so far, weighted by e ** (score - largest), where `largest` is the
    largest score so far: when a larger one comes, all before become smaller. Source: Milakov and Gimelshein, Online
    normalizer calculation for softmax. The scores of a block, and what is known of each query, stand on the stack.
    """
    queries, keys, values = inputs[:3]
    scale, causal, turned = node.attributes["scale"], bool(node.attributes["causal"]), bool(node.attributes["turned"])
    assert isinstance(scale, float)
    *batch, count, width = queries.dims
    length, wide = values.dims[-2:]
    strides = broadcast(inputs[3].dims, (*batch, count, length)) if len(inputs) > 3 else ()
    steps = (strides[-2], strides[-1]) if strides else None
    head = Attention(width, length, wide, scale, causal, turned, steps, VECTORS[body.lanes] * body.lanes)
    sizes = {"query": count * width, "key": length * width, "value": length * wide, "result": count * wide}
    body.add(
        f"scores = workspace({QUERIES * head.keys})",
        f"largest, whole, shrunk = ({', '.join([f'workspace({QUERIES} * LANES)'] * 3)})",
    )
    with body.loops("b", batch, shared=True) as variables:
        for name, operand in (("query", queries), ("key", keys), ("value", values), ("result", result)):
            place = place_of(variables, [stride * sizes[name] for stride in strides_of(batch)])
            body.add(f"{name} = {advanced(operand.name, place)}")
        if strides:
            body.add(f"added = {advanced(inputs[3].name, place_of(variables, strides[:-2]))}")
        for start, stop, together in tiles(count, QUERIES):
            with body.span("row", start, stop, together, shared=True) as row:
                _write_queries(body, head, row, together)


def _write_queries(body: Body, head: Attention, row: str, count: int) -> None:
    """
    Writes the rows of the result of some queries.
    """
    with body.loop("q", count) as q:
        body.add(
            f"store(largest, {sum_of((q, body.lanes))}, splat(-np.inf))",
            f"store(whole, {sum_of((q, body.lanes))}, splat(0.0))",
        )
        for at, wide in body.pieces(head.wide, "j"):
            body.store("result", sum_of((row, head.wide), (q, head.wide), (at, 1)), wide, "splat(0.0)")
    for block in _blocks(body, head):
        last = sum_of((row, 1), ("1", count - 1))
        needed = f"if {block.start} <= {last}:" if head.causal and block.start != "0" else ""
        with body.block(needed):
            (_write_turned_scores if head.turned else _write_scores)(body, head, row, count, block)
            with body.loop("q", count) as q:
                _write_weights(body, head, row, q, block)
            _write_values(body, head, row, count, block)
    with body.loop("q", count) as q:
        body.add(f"sums = splat(total(load(whole, {sum_of((q, body.lanes))})))")
        body.add("sums = select(sums == 0.0, splat(1.0), sums)")
        for at, wide in body.pieces(head.wide, "j"):
            place = sum_of((row, head.wide), (q, head.wide), (at, 1))
            body.store("result", place, wide, f"{body.load('result', place, wide)} / sums")


def _blocks(body: Body, head: Attention) -> Iterator[Block]:
    """
    Goes through the keys, each once; of a number that is known at run time only, a register at a time.
    """
    if isinstance(head.length, Running):
        for start, lanes in body.exact_pieces(head.length, "first"):
            yield Block(start, (lanes,))
        return
    for begin, stop, size in tiles(head.length, head.keys):
        with body.span("first", begin, stop, size) as first:
            yield Block(first, tuple(min(body.lanes, size - at) for at in range(0, size, body.lanes)))


def _write_turned_scores(body: Body, head: Attention, row: str, count: int, block: Block) -> None:
    """
    Writes the products of some queries with the keys of a block, which are columns: one key in each lane.
    """
    names = [[f"s{q}_{v}" for v in range(len(block.sizes))] for q in range(count)]
    body.add(*(f"{name} = splat(0.0)" for some in names for name in some))
    with body.loop("i", head.width) as i:
        for v, size in enumerate(block.sizes):
            place = sum_of((i, int(head.length)), (block.start, 1), ("1", v * body.lanes))
            body.add(f"x{v} = {body.load('key', place, size)}")
        for q, some in enumerate(names):
            body.add(f"w = splat(load_scalar(query, {sum_of((row, head.width), (i, 1), ('1', q * head.width))}))")
            body.add(*(f"{name} = fma(w, x{v}, {name})" for v, name in enumerate(some)))
    for q, some in enumerate(names):
        for v, name in enumerate(some):
            body.add(f"store(scores, {q * head.keys + v * body.lanes}, {name})")


def _write_scores(body: Body, head: Attention, row: str, count: int, block: Block) -> None:
    """
    Writes the same for keys that are rows: products one by one.
    """
    with body.block(f"for k in range({block.count}):"):
        body.add(f"near = {advanced('key', sum_of((block.start, head.width), ('k', head.width)))}")
        body.add(*(f"a{q} = splat(0.0)" for q in range(count)))
        for i, width in body.pieces(head.width):
            body.add(f"x = {body.load('near', i, width)}")
            for q in range(count):
                place = sum_of((row, head.width), (i, 1), ("1", q * head.width))
                body.add(f"a{q} = fma({body.load('query', place, width)}, x, a{q})")
        body.add(
            *(f"store_scalar(scores, {sum_of(('k', 1), ('1', q * head.keys))}, total(a{q}))" for q in range(count))
        )


def _write_weights(body: Body, head: Attention, row: str, q: str, block: Block) -> None:
    """
    Writes what the keys of a block weigh for a query, and by what factor all before them become smaller.
    """
    registers = range(len(block.sizes))
    for v, size in enumerate(block.sizes):
        x = f"x{v}"
        body.add(f"{x} = load(scores, {sum_of((q, head.keys), ('1', v * body.lanes))})")
        if head.scale != 1.0:
            body.add(f"{x} = {x} * {head.scale!r}")
        if head.mask_steps is not None:
            down, across = head.mask_steps
            place = sum_of((row, down), (q, down), (block.start, across), ("1", v * body.lanes * across))
            text = body.load("added", place, size) if across else f"splat(load_scalar(added, {place}))"
            body.add(f"{x} = {x} + {text}")
        if size != body.lanes:
            body.add(f"{x} = select(between(0, {size}), {x}, splat(-np.inf))")
        if head.causal:
            seen = sum_of((row, 1), (q, 1), ("1", 1 - v * body.lanes), (block.start, -1))
            body.add(f"{x} = select(between(0, {seen}), {x}, splat(-np.inf))")
    here = sum_of((q, body.lanes))
    body.add("most = x0", *(f"most = maximum(most, x{v})" for v in registers[1:]))
    body.add(
        f"before = load(largest, {here})",
        "most = maximum(before, splat(highest(most)))",
        "base = select(most <= -np.inf, splat(0.0), most)",
        "smaller = exp(before - base)",
        f"store(largest, {here}, most)",
        f"store(shrunk, {here}, smaller)",
        f"sums = load(whole, {here}) * smaller",
    )
    for v in registers:
        body.add(f"x{v} = exp(x{v} - base)", f"sums = sums + x{v}")
        body.add(f"store(scores, {sum_of((q, head.keys), ('1', v * body.lanes))}, x{v})")
    body.add(f"store(whole, {here}, sums)")


def _write_values(body: Body, head: Attention, row: str, count: int, block: Block) -> None:
    """
    Adds the values of the keys of a block to the rows of the result, weighted.
    """
    for begin, stop, together in tiles(head.wide, VECTORS[body.lanes] * body.lanes):
        with body.span("j", begin, stop, together) as j:
            registers = [(at, min(body.lanes, together - at)) for at in range(0, together, body.lanes)]

            def place(q: int, at: int, j: str = j) -> str:
                return sum_of((row, head.wide), (j, 1), ("1", q * head.wide + at))

            for q in range(count):
                body.add(f"smaller = load(shrunk, {q * body.lanes})")
                for v, (at, width) in enumerate(registers):
                    body.add(f"s{q}_{v} = {body.load('result', place(q, at), width)} * smaller")
            with body.block(f"for k in range({block.count}):"):
                for v, (at, width) in enumerate(registers):
                    value = sum_of((block.start, head.wide), ("k", head.wide), (j, 1), ("1", at))
                    body.add(f"x{v} = {body.load('value', value, width)}")
                for q in range(count):
                    body.add(f"w = splat(load_scalar(scores, {sum_of(('k', 1), ('1', q * head.keys))}))")
                    body.add(*(f"s{q}_{v} = fma(w, x{v}, s{q}_{v})" for v in range(len(registers))))
            for q in range(count):
                for v, (at, width) in enumerate(registers):
                    body.store("result", place(q, at), width, f"s{q}_{v}")
