"""
The kernels of general models that convolve: sums for some filters and some pixels side by side stay in registers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

from compiler.codegen.arranging_kernels import integer, integers
from compiler.codegen.body import Body, Operand, Running, product, sum_of, tiles
from compiler.codegen.product_kernels import ALONE, advanced
from compiler.codegen.windows import (
    Side,
    Unit,
    column_taps,
    is_narrow,
    row_taps,
    rows_taps,
    units_of,
    whole_rows,
)
from compiler.ir import Node
from compiler.ops.tiles import MOST_SUMS

USUAL_VECTORS, MOST_VECTORS = 3, 4
"""Registers of pixels in a tile: of a row of many, and of one that these can hold."""
FEW_VECTORS = 2
"""Registers of pixels of a row whose length is known at run time only: more would often hold few pixels."""
MOST_FILTERS = 12
"""Filters in a tile: each reads weights of its own."""


@dataclass(frozen=True)
class Convolution:
    """
    Sizes that all parts of a convolution share.
    """

    images: int
    channels: int
    """In one group."""
    filters: int
    """In one group."""
    groups: int
    image: tuple[int, int]
    result: tuple[int, int]
    kernel: tuple[int, int]
    channel_pitch: int
    """Weights from one channel to the next."""
    filter_pitch: int
    """Weights from one filter to the next."""
    group_pitch: int
    """Weights from one group to the next."""


@dataclass(frozen=True)
class Phase:
    """
    The pixels of a result from `first` on, each `step` further: rows and columns.
    """

    rows: Side
    columns: Side
    first: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)


def write_conv(body: Body, node: Node, source: Operand, weight: Operand, result: Operand) -> None:
    """
    Writes the kernel of a convolution; one with windows of one pixel goes through the pixels as if they were one row.
    """
    images, channels, *image = source.dims
    filters, inner, *kernel = weight.dims
    groups, height, width = integer(node, "groups"), *result.dims[2:]
    stride, padding, dilation = (integers(node, name) for name in ("stride", "padding", "dilation"))
    _write_end(body, source, padding)
    if kernel == [1, 1] and stride == (1, 1) and padding == (0, 0):
        image, height, width = [1, height * width], 1, product((height, width))
    rows, columns = (
        Side.of(*side) for side in zip((height, width), image, kernel, stride, padding, dilation, strict=True)
    )
    area = kernel[0] * kernel[1]
    sizes = Convolution(
        images=images,
        channels=channels // groups,
        filters=filters // groups,
        groups=groups,
        image=(image[0], image[1]),
        result=(height, width),
        kernel=(kernel[0], kernel[1]),
        channel_pitch=area,
        filter_pitch=inner * area,
        group_pitch=filters // groups * inner * area,
    )
    _write(body, sizes, [Phase(rows, columns)])


def _write_end(body: Body, source: Operand, padding: tuple[int, ...]) -> None:
    """
    Writes the zeros that are behind the end of images whose height or width is known at run time only.

    The images are values of the workspace, of which nothing else reads what stands there.
    """
    for axis, zeros in zip((2, 3), padding, strict=True):
        size = source.dims[axis]
        if isinstance(size, Running) and zeros:
            inner = source.strides[axis]
            start, stop = sum_of((size.text, inner)), sum_of((size.text, inner), ("1", zeros * inner))
            head = f"for i in range({start}, min({size * inner}, {stop})):"
            with body.loop("k", prod(source.dims[:axis])) as k, body.block(head):
                body.add(f"store_scalar(source, {sum_of((k, size * inner), ('i', 1))}, np.float32(0))")


@contextmanager
def _reached(body: Body, unit: Unit, count: int) -> Iterator[str]:
    """
    The loop over the windows of a unit; of a number that is known at run time, as far as that reaches.
    """
    if not isinstance(count, Running):
        with body.span("x", unit.start, unit.stop, unit.step) as x:
            yield x
        return
    with body.block(f"for x in range({unit.start}, min({unit.stop}, {count.text}), {unit.step}):"):
        yield "x"


def write_conv_transposed(body: Body, node: Node, source: Operand, weight: Operand, result: Operand) -> None:
    """
    Writes the kernel of a transposed convolution.

    Pixels of the result that are `stride` apart meet the same elements of the window: they are a convolution of their
    own, without a stride.
    """
    images, channels, *image = source.dims
    _, filters, *kernel = weight.dims
    groups, (height, width) = integer(node, "groups"), result.dims[2:]
    stride, padding, dilation = (integers(node, name) for name in ("stride", "padding", "dilation"))
    area = kernel[0] * kernel[1]
    sizes = Convolution(
        images=images,
        channels=channels // groups,
        filters=filters,
        groups=groups,
        image=(image[0], image[1]),
        result=(height, width),
        kernel=(kernel[0], kernel[1]),
        channel_pitch=filters * area,
        filter_pitch=area,
        group_pitch=channels // groups * filters * area,
    )
    sides = [
        [_phase_side(first, *side) for first in range(min(side[4], side[0]))]
        for side in zip((height, width), image, kernel, dilation, stride, padding, strict=True)
    ]
    step = (stride[0], stride[1])
    phases = [
        Phase(rows, columns, (top, left), step)
        for top, rows in enumerate(sides[0])
        for left, columns in enumerate(sides[1])
    ]
    _write(body, sizes, phases)


def _phase_side(first: int, count: int, size: int, kernel: int, dilation: int, stride: int, padding: int) -> Side:
    """
    The windows of elements `first`, `first + stride` and so on of a transposed convolution's result.
    """
    places = [(k, first + padding - k * dilation) for k in range(kernel)]
    taps = tuple((k, place // stride) for k, place in places if place % stride == 0)
    return Side(-(-(count - first) // stride), size, 1, taps)


def _write(body: Body, sizes: Convolution, phases: list[Phase]) -> None:
    area = sizes.image[0] * sizes.image[1]
    with body.loop("n", sizes.images, shared=True) as n, body.loop("group", sizes.groups, shared=True) as group:
        image = sum_of((n, sizes.groups * sizes.channels * area), (group, sizes.channels * area))
        body.add(f"image = {advanced('source', image)}")
        for phase in phases:
            if is_narrow(phase.rows, phase.columns, phase.step, body.lanes):
                _write_narrow(body, sizes, phase, n, group)
            else:
                _write_wide(body, sizes, phase, n, group)


def _write_wide(body: Body, sizes: Convolution, phase: Phase, n: str, group: str) -> None:
    """
    Writes the loops over pixels, registers of which lie in one row, and over filters.

    What is larger, the image or the weights, is gone through once: the other stays in the cache.
    """
    registers = -(-phase.columns.count // body.lanes)
    vectors = registers if registers <= MOST_VECTORS else USUAL_VECTORS
    if isinstance(phase.columns.count, Running):
        vectors = min(registers, FEW_VECTORS)
    tall = _filters_at_once(sizes, MOST_SUMS[body.lanes] // vectors)
    units = list(units_of(phase.columns, vectors, body.lanes))
    if sizes.channels * sizes.image[0] * sizes.image[1] > sizes.group_pitch:
        with body.loop("y", phase.rows.count, shared=True) as y:
            for unit in units:
                with _reached(body, unit, phase.columns.count) as x:
                    for filters in _filter_tiles(body, sizes, tall, n, group):
                        _write_unit(body, sizes, phase, filters, unit, y, x)
        return
    for filters in _filter_tiles(body, sizes, tall, n, group):
        with body.loop("y", phase.rows.count) as y:
            for unit in units:
                with _reached(body, unit, phase.columns.count) as x:
                    _write_unit(body, sizes, phase, filters, unit, y, x)


def _write_narrow(body: Body, sizes: Convolution, phase: Phase, n: str, group: str) -> None:
    """
    Writes the loops over pixels, registers of which hold whole rows, and over filters.
    """
    together = body.lanes // phase.columns.count
    registers = -(-phase.rows.count // together)
    tall = _filters_at_once(sizes, MOST_FILTERS)
    vectors = min(registers, MOST_SUMS[body.lanes] // tall, ALONE)
    several = phase.rows.count > vectors * together
    if sizes.channels * sizes.image[0] * sizes.image[1] > sizes.group_pitch:
        for start, stop, rows in tiles(phase.rows.count, vectors * together):
            with body.span("y", start, stop, rows, shared=several) as y:
                for filters in _filter_tiles(body, sizes, tall, n, group):
                    _write_rows(body, sizes, phase, filters, y, rows)
        return
    for filters in _filter_tiles(body, sizes, tall, n, group):
        for start, stop, rows in tiles(phase.rows.count, vectors * together):
            with body.span("y", start, stop, rows) as y:
                _write_rows(body, sizes, phase, filters, y, rows)


def _filters_at_once(sizes: Convolution, most: int) -> int:
    """
    Filters in a tile: as many as may be, or a few less if that leaves none over.
    """
    most = max(1, min(MOST_FILTERS, most, sizes.filters))
    return next((size for size in range(most, most // 2, -1) if sizes.filters % size == 0), most)


def _filter_tiles(body: Body, sizes: Convolution, tall: int, n: str, group: str) -> Iterator[int]:
    """
    Goes through the filters of a group: writes where weights, bias and result of a tile begin, yields its size.
    """
    pixels = sizes.result[0] * sizes.result[1]
    for start, stop, filters in tiles(sizes.filters, tall):
        with body.span("filter", start, stop, filters, shared=True) as first:
            weights = sum_of((group, sizes.group_pitch), (first, sizes.filter_pitch))
            channel = sum_of((group, sizes.filters), (first, 1))
            target = sum_of((n, sizes.groups * sizes.filters * pixels), (channel, pixels))
            body.add(
                f"weights = {advanced('weight', weights)}",
                f"biases = {advanced('bias', channel)}",
                f"results = {advanced('target', target)}",
            )
            yield filters


def _begin_sums(body: Body, filters: int, registers: int) -> None:
    for number in range(filters):
        body.add(f"s{number}_0 = splat(load_scalar(biases, {number}))")
        body.add(*(f"s{number}_{v} = s{number}_0" for v in range(1, registers)))


def _multiply(body: Body, sizes: Convolution, filters: int, tap: str, met: list[list[str]]) -> None:
    """
    Writes the products of what registers of pixels meet, each the sum of some terms, with the weights of some filters.
    """
    if not any(met):
        return
    for v, terms in enumerate(met):
        body.add(*(f"x{v} = {f'x{v} + ' if later else ''}{text}" for later, text in enumerate(terms)))
    for number in range(filters):
        place = sum_of((tap, 1), ("1", number * sizes.filter_pitch))
        body.add(f"w = splat(load_scalar(weights, {place}))")
        body.add(*(f"s{number}_{v} = fma(x{v}, w, s{number}_{v})" for v, text in enumerate(met) if text))


def _write_rows(body: Body, sizes: Convolution, phase: Phase, filters: int, y: str, rows: int) -> None:
    """
    Writes the sums of some filters for some whole rows.
    """
    width = phase.columns.count
    together = body.lanes // width
    registers = [range(first, min(first + together, rows)) for first in range(0, rows, together)]
    _begin_sums(body, filters, len(registers))
    with rows_taps(body, phase.rows, y, rows) as (k, checked), body.loop("channel", sizes.channels) as channel:
        begin = sum_of((channel, sizes.image[0] * sizes.image[1]))
        tap = sum_of((channel, sizes.channel_pitch), (k, sizes.kernel[1]))
        for column, place in phase.columns.taps:
            met = [
                whole_rows(body, phase.columns, sum_of((begin, 1), ("1", place)), place, register, checked)
                for register in registers
            ]
            _multiply(body, sizes, filters, sum_of((tap, 1), ("1", column)), met)
    for number in range(filters):
        for v, register in enumerate(registers):
            own = ("1", number * sizes.result[0] * width + register.start * width)
            body.store("results", sum_of((y, width), own), len(register) * width, f"s{number}_{v}")


def _write_unit(body: Body, sizes: Convolution, phase: Phase, filters: int, unit: Unit, y: str, x: str) -> None:
    """
    Writes the sums of some filters for some pixels of a row.
    """
    _begin_sums(body, filters, len(unit.widths))
    if phase.rows.taps and phase.columns.taps:
        with row_taps(body, phase.rows, y) as (k, row), body.loop("channel", sizes.channels) as channel:
            begin = sum_of((channel, sizes.image[0] * sizes.image[1]), (row, sizes.image[1]))
            tap = sum_of((channel, sizes.channel_pitch), (k, sizes.kernel[1]))
            for column, met in column_taps(body, phase.columns, unit, x, "image", begin):
                _multiply(body, sizes, filters, sum_of((tap, 1), (column, 1)), [[text] if text else [] for text in met])
    (top, left), (down, across) = phase.first, phase.step
    for number in range(filters):
        for v, width in enumerate(unit.widths):
            own = (
                "1",
                number * sizes.result[0] * sizes.result[1] + top * sizes.result[1] + left + v * body.lanes * across,
            )
            place = sum_of((y, down * sizes.result[1]), (x, across), own)
            if across == 1:
                body.store("results", place, width, f"s{number}_{v}")
            else:
                body.add(f"store_spaced(results, {place}, {across}, {width}, s{number}_{v})")
