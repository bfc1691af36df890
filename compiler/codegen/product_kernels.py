"""
The kernels of general models that multiply matrices: sums for a tile of the result stay in registers.
"""

from math import prod

from compiler.codegen.body import Body, Operand, broadcast, place_of, strides_of, sum_of, tiles
from compiler.ops.tiles import MOST_SUMS

MOST_VECTORS = {1: 2, 4: 2, 8: 2, 16: 4}
"""Registers of columns in a tile of several rows, by lanes."""
ALONE = 8
"""Registers of sums in a tile of one row: so many are needed to hide the latency of a multiply-add."""
OUTPUTS = 4
"""Outputs in a tile of a layer whose weights lie output by output."""


def write_matmul(body: Body, left: Operand, right: Operand, result: Operand) -> None:
    """
    Writes a kernel of tiles of rows times registers of columns.
    """
    *batch, rows, columns = result.dims
    count = left.dims[-1]
    left_strides = [stride * rows * count for stride in broadcast(left.dims[:-2], batch)]
    right_strides = [stride * count * columns for stride in broadcast(right.dims[:-2], batch)]
    strides = [stride * rows * columns for stride in strides_of(batch)]
    with body.loops("b", batch) as variables:
        body.add(f"lefts = {advanced(left.name, place_of(variables, left_strides))}")
        body.add(f"rights = {advanced(right.name, place_of(variables, right_strides))}")
        body.add(f"results = {advanced(result.name, place_of(variables, strides))}")
        _write_tiles(body, rows, count, columns)


def advanced(name: str, place: str) -> str:
    """
    The pointer to a place of a tensor.
    """
    return name if place == "0" else f"advance({name}, {place})"


def _write_tiles(body: Body, rows: int, count: int, columns: int) -> None:
    """
    Writes the product of `lefts`, rows times count, and `rights`, count times columns, into `results`.
    """
    lanes = body.lanes
    registers = -(-columns // lanes)
    vectors = min(registers, ALONE if rows == 1 else MOST_VECTORS[lanes])
    tall = min(rows, max(1, MOST_SUMS[lanes] // vectors))
    for start, stop, wide in tiles(columns, vectors * lanes):
        with body.span("column", start, stop, wide) as column:
            for top, bottom, height in tiles(rows, tall):
                with body.span("row", top, bottom, height) as row:
                    _write_tile(body, row, height, column, wide, count, columns)


def _write_tile(body: Body, row: str, height: int, column: str, wide: int, count: int, columns: int) -> None:
    registers = [(at, min(body.lanes, wide - at)) for at in range(0, wide, body.lanes)]
    sums = [[f"s{r}_{v}" for v in range(len(registers))] for r in range(height)]
    body.add(*(f"{name} = splat(0.0)" for names in sums for name in names))
    with body.loop("i", count) as i:
        for v, (at, width) in enumerate(registers):
            body.add(f"w{v} = {body.load('rights', sum_of((i, columns), (column, 1), ('1', at)), width)}")
        for r, names in enumerate(sums):
            body.add(f"x = splat(load_scalar(lefts, {sum_of((row, count), (i, 1), ('1', r * count))}))")
            body.add(*(f"{name} = fma(x, w{v}, {name})" for v, name in enumerate(names)))
    for r, names in enumerate(sums):
        for (at, width), name in zip(registers, names, strict=True):
            body.store("results", sum_of((row, columns), (column, 1), ("1", r * columns + at)), width, name)


def write_linear(body: Body, source: Operand, result: Operand) -> None:
    """
    Writes a kernel of tiles of rows times outputs, each a dot product: weights lie output by output.
    """
    count, outputs = source.dims[-1], result.dims[-1]
    rows = prod(source.dims[:-1])
    wide = min(outputs, ALONE if rows == 1 else OUTPUTS, body.lanes if body.lanes > 1 else outputs)
    tall = min(rows, 1 if rows == 1 else max(1, min(4, MOST_SUMS[body.lanes] // wide)))
    for start, stop, width in tiles(outputs, wide):
        with body.span("output", start, stop, width) as output:
            for top, bottom, height in tiles(rows, tall):
                with body.span("row", top, bottom, height) as row:
                    _write_dots(body, row, height, output, width, count, outputs)


def _write_dots(body: Body, row: str, height: int, output: str, width: int, count: int, outputs: int) -> None:
    body.add(*(f"s{r}_{o} = splat(0.0)" for r in range(height) for o in range(width)))
    for i, lanes in body.pieces(count):
        for r in range(height):
            body.add(f"x{r} = {body.load('source', sum_of((row, count), (i, 1), ('1', r * count)), lanes)}")
        for o in range(width):
            body.add(f"w = {body.load('weight', sum_of((output, count), (i, 1), ('1', o * count)), lanes)}")
            body.add(*(f"s{r}_{o} = fma(x{r}, w, s{r}_{o})" for r in range(height)))
    for r in range(height):
        store_totals(
            body, [f"s{r}_{o}" for o in range(width)], sum_of((row, outputs), (output, 1), ("1", r * outputs)), output
        )


def store_totals(body: Body, sums: list[str], place: str, output: str) -> None:
    """
    Writes the sums of the lanes of some registers, with a bias, side by side.
    """
    if body.lanes == 1:
        for number, name in enumerate(sums):
            at = ("1", number)
            body.add(f"store(target, {sum_of((place, 1), at)}, {name} + load(bias, {sum_of((output, 1), at)}))")
        return
    body.add("found = splat(0.0)")
    body.add(*(f"found = put(found, {number}, total({name}))" for number, name in enumerate(sums)))
    body.store("target", place, len(sums), f"found + {body.load('bias', output, len(sums))}")
