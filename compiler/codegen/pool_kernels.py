"""
The kernels of general models that pool images, and that make them larger or smaller.
"""

from collections import Counter
from math import prod

import numpy as np

from compiler.codegen.arranging_kernels import integers
from compiler.codegen.body import Body, Operand, sum_of
from compiler.codegen.sums import SUM, begin_chains, chains_of, end_chains, fold_lanes, fold_values
from compiler.codegen.windows import Side, Unit, column_taps, lanes_inside, row_taps, units_of
from compiler.ir import Node
from compiler.ops.image import averaged
from compiler.ops.upsampling import nearest_places

VECTORS = 2


def write_max_pool(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes the kernel of a maximum over windows; NaN is the largest.
    """
    sides = zip(
        result.dims[2:],
        source.dims[2:],
        *(integers(node, name) for name in ("kernel", "stride", "padding")),
        integers(node, "dilation") if "dilation" in node.attributes else (1, 1),
        strict=True,
    )
    rows, columns = (Side.of(*side) for side in sides)
    with body.loop("plane", prod(source.dims[:2]), shared=True) as plane, body.loop("y", rows.count) as y:
        for unit in units_of(columns, VECTORS, body.lanes):
            with body.span("x", unit.start, unit.stop, unit.step) as x:
                registers = range(len(unit.widths))
                body.add(*(f"s{v} = splat(-np.inf)" for v in registers))
                with row_taps(body, rows, y) as (_, row):
                    begin = sum_of((plane, prod(source.dims[2:])), (row, columns.size))
                    for column, met in column_taps(body, columns, unit, x, "source", begin):
                        for v in registers:
                            if met[v]:
                                body.add(f"x{v} = {met[v]}")
                                _fill(body, columns, unit, v, column)
                                body.add(f"s{v} = maximum(s{v}, x{v})")
                _store(body, result, plane, y, x, unit, [f"s{v}" for v in registers])


def _fill(body: Body, side: Side, unit: Unit, vector: int, column: str) -> None:
    """
    Writes what makes lanes beyond the image the least of all.
    """
    if unit.inside:
        return
    low, high = f"low{vector}", f"high{vector}"
    if column.isdecimal():
        places = {str(k): place for k, place in side.taps}
        start = unit.start + vector * body.lanes
        first, last = lanes_inside(side, start, unit.widths[vector], places[column])
        if (first, last) == (0, body.lanes):
            return
        low, high = str(first), str(last)
    body.add(f"x{vector} = select(between({low}, {high}), x{vector}, splat(-np.inf))")


def write_avg_pool(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes the kernel of a mean over windows.
    """
    counts = bool(node.attributes["count_padding"])
    kernel, stride, padding = (integers(node, name) for name in ("kernel", "stride", "padding"))
    _write_average(body, source, result, kernel, stride, padding, counts)


def _write_average(
    body: Body,
    source: Operand,
    result: Operand,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    counts: bool,
) -> None:
    both = list(zip(result.dims[2:], source.dims[2:], kernel, stride, padding, strict=True))
    rows, columns = (Side.of(*side) for side in both)
    high, wide = (averaged(*side, counts) for side in both)
    with body.loop("plane", prod(source.dims[:2]), shared=True) as plane, body.loop("y", rows.count) as y:
        divisor = str(high[0])
        if len(set(high)) > 1:
            top, edge = sum_of((y, stride[0]), ("1", -padding[0])), source.dims[2] + (padding[0] if counts else 0)
            body.add(f"top = {top}", f"tall = min(top + {kernel[0]}, {edge}) - {'top' if counts else 'max(top, 0)'}")
            divisor = "tall"
        for unit in units_of(columns, VECTORS, body.lanes):
            with body.span("x", unit.start, unit.stop, unit.step) as x:
                registers = range(len(unit.widths))
                body.add(*(f"s{v} = splat(0.0)" for v in registers))
                with row_taps(body, rows, y) as (_, row):
                    begin = sum_of((plane, prod(source.dims[2:])), (row, columns.size))
                    for _, met in column_taps(body, columns, unit, x, "source", begin):
                        body.add(*(f"s{v} = s{v} + {met[v]}" for v in registers if met[v]))
                for v, width in enumerate(unit.widths):
                    at = unit.start + v * body.lanes
                    _divide(body, f"s{v}", divisor, wide[at : at + width])
                _store(body, result, plane, y, x, unit, [f"s{v}" for v in registers])


def _divide(body: Body, name: str, divisor: str, counts: list[int]) -> None:
    """
    Writes the division by the elements of each window: rows, which all have, times its own columns.
    """
    (usual, _), *_ = Counter(counts).most_common(1)
    if divisor.isdecimal() and len(set(counts)) == 1:
        body.add(f"{name} = {name} / {float(int(divisor) * usual)}")
        return
    body.add(f"count = splat({float(usual)})")
    body.add(*(f"count = put(count, {lane}, np.float32({n}))" for lane, n in enumerate(counts) if n != usual))
    body.add(f"{name} = {name} / (count * np.float32({divisor}))")


def _store(body: Body, result: Operand, plane: str, y: str, x: str, unit: Unit, values: list[str]) -> None:
    height, width = result.dims[2:]
    for v, (count, value) in enumerate(zip(unit.widths, values, strict=True)):
        place = sum_of((plane, height * width), (y, width), (x, 1), ("1", v * body.lanes))
        body.store("target", place, count, value)


def write_adaptive_avg_pool(body: Body, source: Operand, result: Operand) -> None:
    """
    Writes the kernel of means over windows that cover the image, whatever its size.
    """
    image, size = source.dims[2:], result.dims[2:]
    planes = prod(source.dims[:2])
    if size == (1, 1):
        area, chains = prod(image), chains_of(body, prod(image))
        with body.loop("plane", planes, shared=True) as plane:
            begin_chains(body, chains)
            fold_values(body, "source", sum_of((plane, area)), area, chains, SUM)
            end_chains(body, chains)
            fold_lanes(body, SUM)
            body.store("target", plane, 1, f"a0 / {float(area)}")
        return
    if all(side % count == 0 for side, count in zip(image, size, strict=True)):
        kernel = (image[0] // size[0], image[1] // size[1])
        _write_average(body, source, result, kernel, kernel, (0, 0), counts=False)
        return
    with body.loops("i", (planes, *size), shared=True) as (plane, y, x):
        for name, place, side, count in (("row", y, image[0], size[0]), ("column", x, image[1], size[1])):
            body.add(f"{name} = {place} * {side} // {count}")
            body.add(f"{name}s = (({place} + 1) * {side} + {count - 1}) // {count} - {name}")
        body.add("whole = np.float32(0)")
        with body.block("for v in range(row, row + rows):"), body.block("for u in range(column, column + columns):"):
            place = sum_of((plane, prod(image)), ("v", image[1]), ("u", 1))
            body.add(f"whole += load_scalar(source, {place})")
        place = sum_of((plane, prod(size)), (y, size[1]), (x, 1))
        body.add(f"store_scalar(target, {place}, whole / np.float32(rows * columns))")


def write_nearest(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes the kernel of an image of another size, each element of which is the nearest.
    """
    image, size = source.dims[2:], result.dims[2:]
    rows, columns = zip(image, size, _scales(node), strict=True)
    repeats = _repeats(*columns)
    with body.loops("i", (prod(source.dims[:2]), size[0]), shared=True) as (plane, y):
        body.add(f"row = {_nearest(y, *rows)}")
        begin = sum_of((plane, prod(image)), ("row", image[1]))
        target = sum_of((plane, prod(size)), (y, size[1]))
        if repeats == 0:
            with body.loop("x", size[1]) as x:
                body.add(f"column = {_nearest(x, *columns)}")
                value = f"load_scalar(source, {sum_of((begin, 1), ('column', 1))})"
                body.add(f"store_scalar(target, {sum_of((target, 1), (x, 1))}, {value})")
            return
        for i, count in body.pieces(image[1]):
            body.add(f"x = {body.load('source', sum_of((begin, 1), (i, 1)), count)}")
            for k in range(repeats):
                place = sum_of((target, 1), (i, repeats), ("1", k))
                if repeats == 1:
                    body.store("target", place, count, "x")
                else:
                    body.add(f"store_spaced(target, {place}, {repeats}, {count}, x)")


def _repeats(size: int, count: int, scale: float) -> int:
    """
    How often each element of one side stands in the result, if all do equally often and once at least; else 0.
    """
    times = count // size
    same = times > 0 and np.array_equal(nearest_places(size, count, scale), np.arange(count) // times)
    return times if same and count % size == 0 else 0


def _nearest(place: str, size: int, count: int, scale: float) -> str:
    """
    The nearest element of one side, computed in float32 as PyTorch does.
    """
    times = _repeats(size, count, scale)
    if times:
        return place if times == 1 else f"{place} // {times}"
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(count)
    return f"min(int(np.float32({place}) * np.float32({float(step)!r})), {size - 1})"


def write_bilinear(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes the kernel of an image of another size, each element of which is a mean of the four around.
    """
    image, size = source.dims[2:], result.dims[2:]
    corners = bool(node.attributes["align_corners"])
    scales = _scales(node)
    with body.loops("i", (prod(source.dims[:2]), size[0]), shared=True) as (plane, y):
        _between_elements(body, "row", y, image[0], size[0], scales[0], corners)
        body.add(
            f"top = advance(source, {sum_of((plane, prod(image)), ('row', image[1]))})",
            f"bottom = advance(source, {sum_of((plane, prod(image)), ('next_row', image[1]))})",
        )
        with body.loop("x", size[1]) as x:
            _between_elements(body, "column", x, image[1], size[1], scales[1], corners)
            for name in ("top", "bottom"):
                body.add(f"first, second = load_scalar({name}, column), load_scalar({name}, next_column)")
                body.add(f"{name}_mean = first * (1 - column_part) + second * column_part")
            body.add("value = np.float32(top_mean * (1 - row_part) + bottom_mean * row_part)")
            place = sum_of((plane, prod(size)), (y, size[1]), (x, 1))
            body.add(f"store_scalar(target, {place}, value)")


def _between_elements(body: Body, name: str, place: str, size: int, count: int, scale: float, corners: bool) -> None:
    """
    Writes the elements before and after a place, `name` and `next_name`, and how far it is between: `name_part`.
    """
    if size == count:
        body.add(f"{name} = next_{name} = {place}", f"{name}_part = 0.0")
        return
    if corners:
        where = f"{place} * {(size - 1) / (count - 1) if count > 1 else 0.0!r}"
    else:
        where = f"max(({place} + 0.5) * {1 / scale if scale else size / count!r} - 0.5, 0.0)"
    body.add(
        f"place = {where}",
        f"{name} = min(int(place), {size - 1})",
        f"next_{name} = min({name} + 1, {size - 1})",
        f"{name}_part = min(place - {name}, 1.0)",
    )


def _scales(node: Node) -> tuple[float, float]:
    value = node.attributes["scales"]
    assert isinstance(value, tuple)
    return float(value[0]), float(value[1])
