"""
The kernels of general models that convolve: sums for some filters and some pixels side by side stay in registers.
"""

from dataclasses import dataclass
from math import gcd

from compiler.codegen.arranging_kernels import integer, integers
from compiler.codegen.body import Body, Operand, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.codegen.windows import Side, Unit, column_taps, row_taps, units_of
from compiler.ir import Node
from compiler.ops.tiles import MOST_SUMS

MOST_VECTORS = 3
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
    if kernel == [1, 1] and stride == (1, 1) and padding == (0, 0):
        image, height, width = [1, height * width], 1, height * width
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
    assert gcd(stride, dilation) >= 1
    places = [(k, first + padding - k * dilation) for k in range(kernel)]
    taps = tuple((k, place // stride) for k, place in places if place % stride == 0)
    return Side(-(-(count - first) // stride), size, 1, taps)


def _write(body: Body, sizes: Convolution, phases: list[Phase]) -> None:
    area, pixels = sizes.image[0] * sizes.image[1], sizes.result[0] * sizes.result[1]
    with body.loop("n", sizes.images) as n, body.loop("group", sizes.groups) as group:
        image = sum_of((n, sizes.groups * sizes.channels * area), (group, sizes.channels * area))
        body.add(f"image = {advanced('source', image)}")
        for phase in phases:
            vectors = min(-(-phase.columns.count // body.lanes), MOST_VECTORS)
            most = max(1, min(MOST_FILTERS, MOST_SUMS[body.lanes] // vectors))
            tall = next((size for size in range(most, most // 2, -1) if sizes.filters % size == 0), most)
            for start, stop, filters in tiles(sizes.filters, min(tall, sizes.filters)):
                with body.span("filter", start, stop, filters) as first:
                    weights = sum_of((group, sizes.group_pitch), (first, sizes.filter_pitch))
                    channel = sum_of((group, sizes.filters), (first, 1))
                    target = sum_of((n, sizes.groups * sizes.filters * pixels), (channel, pixels))
                    body.add(
                        f"weights = {advanced('weight', weights)}",
                        f"biases = {advanced('bias', channel)}",
                        f"results = {advanced('target', target)}",
                    )
                    with body.loop("y", phase.rows.count) as y:
                        for unit in units_of(phase.columns, vectors, body.lanes):
                            with body.span("x", unit.start, unit.stop, unit.step) as x:
                                _write_unit(body, sizes, phase, filters, unit, y, x)


def _write_unit(body: Body, sizes: Convolution, phase: Phase, filters: int, unit: Unit, y: str, x: str) -> None:
    """
    Writes the sums of some filters for some pixels of a row.
    """
    registers = range(len(unit.widths))
    for number in range(filters):
        body.add(f"s{number}_0 = splat(load_scalar(biases, {number}))")
        body.add(*(f"s{number}_{v} = s{number}_0" for v in registers[1:]))
    if phase.rows.taps and phase.columns.taps:
        with row_taps(body, phase.rows, y) as (k, row), body.loop("channel", sizes.channels) as channel:
            begin = sum_of((channel, sizes.image[0] * sizes.image[1]), (row, sizes.image[1]))
            tap = sum_of((channel, sizes.channel_pitch), (k, sizes.kernel[1]))
            for column, met in column_taps(body, phase.columns, unit, x, "image", begin):
                body.add(*(f"x{v} = {text}" for v, text in enumerate(met) if text))
                for number in range(filters if any(met) else 0):
                    place = sum_of((tap, 1), (column, 1), ("1", number * sizes.filter_pitch))
                    body.add(f"w = splat(load_scalar(weights, {place}))")
                    body.add(*(f"s{number}_{v} = fma(x{v}, w, s{number}_{v})" for v in registers if met[v]))
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
