"""
The kernels of general models that multiply matrices: sums for a tile of the result stay in registers.
"""

from compiler.codegen.body import Body, Operand, Running, broadcast, place_of, strides_of, sum_of, tiles
from compiler.ops.tiles import MOST_SUMS

MOST_VECTORS = {1: 2, 4: 2, 8: 2, 16: 4}
"""Registers of columns in a tile of several rows, by lanes."""
ALONE = 8
"""Registers of sums in a tile of one row: so many are needed to hide the latency of a multiply-add."""


def write_matmul(body: Body, left: Operand, right: Operand, result: Operand) -> None:
    """
    Writes a kernel of tiles of rows times registers of columns.
    """
    *batch, rows, columns = result.dims
    count = left.dims[-1]
    left_strides = [stride * rows * count for stride in broadcast(left.dims[:-2], batch)]
    right_strides = [stride * count * columns for stride in broadcast(right.dims[:-2], batch)]
    strides = [stride * rows * columns for stride in strides_of(batch)]
    with body.loops("b", batch, shared=True) as variables:
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
    several = columns > vectors * lanes and not isinstance(columns, Running)
    for start, stop, wide in tiles(columns, vectors * lanes):
        with body.span("column", start, stop, wide, shared=several) as column:
            for top, bottom, height in tiles(rows, tall):
                with body.span("row", top, bottom, height, shared=True) as row:
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
