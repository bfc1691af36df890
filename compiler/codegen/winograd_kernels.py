"""
The kernel of a convolution by Winograd's algorithm: tiles are transformed, multiplied with filters, transformed back.

What is between these steps has a room of its own: a strip of tiles, and the sums of a block of filters.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from numpy.polynomial import polynomial

from compiler.codegen.body import Body, sum_of, tiles
from compiler.codegen.dense_over_kernels import UNROLLED, Layer, write_products
from compiler.codegen.division import most_parts
from compiler.codegen.product_kernels import advanced
from compiler.codegen.streaming import step_ahead
from compiler.ir import Model, Node
from compiler.ops.tiles import MOST_PIXELS, MOST_SUMS, MOST_VECTORS
from compiler.ops.winograd import POINTS, WINDOW
from compiler.ops.winograd_plan import Plan

MOST_ROOMS = 8
"""Threads that compute parts of one layer: each needs a room of its own."""


def plan_of(model: Model, node: Node) -> Plan:
    """
    The plan of a `winograd`.
    """
    height, width, _ = model.tensors[node.outputs[0]].fixed_shape
    blocks, size, _, channels, block = model.tensors[node.inputs[1]].fixed_shape
    return Plan(height, width, channels, blocks, block, size)


def rooms_in(model: Model, node: Node) -> int:
    """
    How many threads at most compute parts of a layer, each of which needs a room.
    """
    plan = plan_of(model, node)
    strips = plan.down // plan.rows
    return min(MOST_ROOMS, strips if strips > 1 else plan.blocks, most_parts(model))


def room_words(model: Model, node: Node) -> int:
    """
    float32 of the rooms of all threads that compute one observation.
    """
    return plan_of(model, node).words * rooms_in(model, node)


def write_winograd(body: Body, plan: Plan, rooms: int, added: bool, activation: str) -> None:
    """
    Writes the kernel.

    Args:
        body: where to.
        plan: the sizes.
        rooms: how many threads at most compute a part.
        added: whether another image is added to the result.
        activation: the call of a function on `x`, or nothing.
    """
    with body.block(f"if part < {rooms}:" if body.dividing else ""):
        if body.dividing:
            body.add(f"parts = min(parts, {rooms})", f"room = advance(room, part * {plan.words})")
        body.add("tiles = room", f"sums = advance(room, {plan.sums_at})")
        _write_strips(body, plan, added, activation)


def _write_strips(body: Body, plan: Plan, added: bool, activation: str) -> None:
    """
    Writes the loops over strips and blocks of filters. Parts of a single strip all transform its tiles.
    """
    several = plan.down > plan.rows
    with body.span("strip", 0, plan.down, plan.rows, shared=several) as strip:
        with _each_tile(body, plan, strip):
            _write_tile(body, plan)
        with body.loop("block", plan.blocks, shared=not several) as block:
            with body.loop("plane", plan.planes) as plane:
                _write_sums(body, plan, block, plane)
            with _each_tile(body, plan, strip):
                _write_pixels(body, plan, block, added, activation)


@contextmanager
def _each_tile(body: Body, plan: Plan, strip: str) -> Iterator[None]:
    """
    The loops over the tiles of a strip; inside, `tile` is the number of one, `y` and `left` are its first pixel.
    """
    with body.loop("row", plan.rows) as row, body.loop("column", plan.across) as column:
        body.add(
            f"tile = {sum_of((row, plan.across), (column, 1))}",
            f"y = {_first(sum_of((strip, plan.step), (row, plan.step)), plan.step, plan.height)}",
            f"left = {_first(sum_of((column, plan.step)), plan.step, plan.width)}",
        )
        yield


def _first(place: str, step: int, pixels: int) -> str:
    return place if pixels % step == 0 else f"min({place}, {pixels - step})"


def _write_tile(body: Body, plan: Plan) -> None:
    """
    Writes the transform of a tile, some channels at once: first of its columns, then of its rows.
    """
    pitch = (plan.width + WINDOW - 1) * plan.channels
    elements = range(plan.size)
    body.add(f"corner = {sum_of(('y', pitch), ('left', plan.channels))}")
    with body.span("c", 0, plan.channels, body.lanes) as c:
        body.add(f"at = {sum_of(('corner', 1), (c, 1))}")
        for column in elements:
            for row in elements:
                body.add(f"d{row} = load(source, {sum_of(('at', 1), ('1', row * pitch + column * plan.channels))})")
            _write_forth(
                body, POINTS[plan.size], [f"d{row}" for row in elements], [f"t{row}_{column}" for row in elements]
            )
        body.add(f"at = {sum_of(('tile', plan.channels), (c, 1))}")
        for row in elements:
            _write_forth(body, POINTS[plan.size], [f"t{row}_{k}" for k in elements], [f"d{k}" for k in elements])
            for k in elements:
                body.add(f"store(tiles, {sum_of(('at', 1), ('1', (row * plan.size + k) * plan.tile_plane))}, d{k})")


def _write_forth(body: Body, points: Sequence[float], given: Sequence[str], made: Sequence[str]) -> None:
    """
    Writes the transform of one row or column of a tile.

    What the polynomials for a point and its negative have in common, the even and the odd powers, is computed once.
    """
    squares = [point * point for point in points]
    whole = _polynomial(squares)
    body.add(
        f"{made[0]} = {_weighted(whole, given[0::2])}",
        f"{made[-1]} = {_weighted(whole, given[1::2])}",
    )
    for number, point in enumerate(points):
        others = _polynomial([square for k, square in enumerate(squares) if k != number])
        body.add(
            f"even = {_weighted(others, given[2::2])}",
            f"odd = {_weighted([point * factor for factor in others], given[1::2])}",
            f"{made[1 + 2 * number]} = even + odd",
            f"{made[2 + 2 * number]} = even - odd",
        )


def _polynomial(roots: Sequence[float]) -> list[float]:
    """
    The factors of the powers, the lowest first.
    """
    return [float(factor) for factor in polynomial.polyfromroots(roots)]


def _write_back(body: Body, points: Sequence[float], given: Sequence[str], made: Sequence[str]) -> None:
    """
    Writes the transform of one row or column of sums into pixels; the same powers belong to a point and its negative.
    """
    for number in range(len(points)):
        one, other = given[1 + 2 * number], given[2 + 2 * number]
        body.add(f"even{number} = {one} + {other}", f"odd{number} = {one} - {other}")
    for power, name in enumerate(made):
        terms = [(point**power, f"{'odd' if power % 2 else 'even'}{number}") for number, point in enumerate(points)]
        terms += [(1.0, given[0])] * (power == 0) + [(1.0, given[-1])] * (power == len(made) - 1)
        factors, values = zip(*terms, strict=True)
        body.add(f"{name} = {_weighted(factors, values)}")


def _weighted(factors: Sequence[float], values: Sequence[str]) -> str:
    """
    The sum of values times factors.
    """
    terms = sorted(zip(factors, values, strict=False), key=lambda term: term[0] != 1)
    factor, text = terms[0]
    text = text if factor == 1 else f"splat({factor}) * {text}"
    for factor, value in terms[1:]:
        text = f"{text} + {value}" if factor == 1 else f"fma(splat({factor}), {value}, {text})"
    return text


def _write_sums(body: Body, plan: Plan, block: str, plane: str) -> None:
    """
    Writes the products of one element of a strip's tiles with that of a block of filters, summed over the channels.
    """
    vectors = min(plan.block // body.lanes, MOST_VECTORS)
    most = MOST_PIXELS if (vectors, body.lanes) == (2, 16) else max(1, MOST_SUMS[body.lanes] // vectors)
    count = -(-plan.together // most)
    weights = plan.channels * plan.block
    layer = Layer(
        inputs=plan.channels,
        outputs=plan.block,
        rows=plan.together,
        width=plan.block,
        added=False,
        activation="",
        reach=plan.channels,
        step=plan.block,
        vectors=vectors,
        ahead=step_ahead(UNROLLED * plan.block, count) if plan.large else 0,
    )
    first = sum_of((block, plan.planes * weights), (plane, weights))
    if layer.ahead:
        body.add(f"ahead = {sum_of((first, 1), ('1', weights))}")
    for top, bottom, height in tiles(plan.together, -(-plan.together // count)):
        with (
            body.span("row", top, bottom, height) as row,
            body.span("part", 0, plan.block, vectors * body.lanes) as part,
        ):
            body.add(
                f"near = {advanced('tiles', sum_of((plane, plan.tile_plane), (row, plan.channels)))}",
                f"panel = {advanced('weight', sum_of((first, 1), (part, 1)))}",
            )
            names = [[f"s{r}_{v}" for v in range(vectors)] for r in range(height)]
            body.add(*(f"{name} = splat(0.0)" for row_ in names for name in row_))
            write_products(body, layer, names)
            body.add(f"place = {sum_of((plane, plan.sum_plane), (row, plan.block), (part, 1))}")
            for r, row_ in enumerate(names):
                for v, name in enumerate(row_):
                    body.add(f"store(sums, {sum_of(('place', 1), ('1', r * plan.block + v * body.lanes))}, {name})")


def _write_pixels(body: Body, plan: Plan, block: str, added: bool, activation: str) -> None:
    """
    Writes the transform of the sums of a tile into pixels, some filters at once: first of columns, then of rows.
    """
    elements, pixels = range(plan.size), range(plan.step)
    pitch = plan.width * plan.filters
    body.add(f"corner = {sum_of(('y', pitch), ('left', plan.filters), (block, plan.block))}")
    with body.span("f", 0, plan.block, body.lanes) as f:
        body.add(f"at = {sum_of(('tile', plan.block), (f, 1))}")
        for column in elements:
            for row in elements:
                place = sum_of(("at", 1), ("1", (row * plan.size + column) * plan.sum_plane))
                body.add(f"d{row} = load(sums, {place})")
            _write_back(
                body, POINTS[plan.size], [f"d{row}" for row in elements], [f"t{row}_{column}" for row in pixels]
            )
        body.add(f"bias_ = load(bias, {sum_of((block, plan.block), (f, 1))})", f"at = {sum_of(('corner', 1), (f, 1))}")
        for row in pixels:
            _write_back(body, POINTS[plan.size], [f"t{row}_{k}" for k in elements], [f"d{k}" for k in pixels])
            for k in pixels:
                place = sum_of(("at", 1), ("1", row * pitch + k * plan.filters))
                body.add(f"x = d{k} + bias_{f' + load(added, {place})' if added else ''}")
                body.add(f"store(target, {place}, {activation or 'x'})")
