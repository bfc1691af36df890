"""
How many results of a convolution are computed at once: a tile of pixels times some registers of filters.

A tile's sums stay in registers while the window goes by. Each step of that loads one register of weights for each
register of filters and one value for each pixel, and multiplies each with each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

MOST_SUMS = {1: 12, 4: 12, 8: 12, 16: 24}
"""
Registers of sums, by lanes: AVX-512 has 32 registers, AVX2 and SSE have 16. The rest is for weights and pixels; with
fewer left, what LLVM makes of a step is now and then half as fast.
"""
MOST_PIXELS = 14
"""
Pixels in a tile of two registers of filters with AVX-512, where the window has several: all its registers but one. Each
weight that is loaded, from the cache that all cores share, meets more pixels.
"""
MOST_VECTORS = 4
CHAINS = 8
"""Sums that must be under way at once to hide the latency of a multiply-add."""
OVERHEAD = 1
"""What a step costs besides, in multiply-adds."""
START = 40
"""What a tile costs besides its steps, likewise."""
UNEVEN = 0.03
"""What a last block of filters that is not full costs besides: threads can't divide it, nothing can be added to it."""
VARIANT = 0.02
"""What each further size of tile, of what whole tiles leave over, must save at least: it takes time to compile."""


@dataclass(frozen=True)
class Tiling:
    """
    The best way found to cover a result.
    """

    vectors: int
    """Registers of filters."""
    rows: int
    columns: int
    cost: float
    """For all filters and pixels, in multiply-adds of registers."""


def tiled_sides(height: int, width: int, window: Sequence[int], stride: Sequence[int]) -> tuple[int, int]:
    """
    The rows and columns of a result as tiles see it: one column where each window is the pixel beside the last one.

    Args:
        height: of the result.
        width: of the result.
        window: its height and width.
        stride: from one window to the next, downwards and to the right.
    """
    return (height * width, 1) if max(*window, *stride) == 1 else (height, width)


@cache
def best_tiling(height: int, width: int, filters: int, window: tuple[int, ...], lanes: int) -> Tiling:
    """
    The registers of filters and the pixels of a tile that cover a result in the least time.

    Args:
        height: of the result.
        width: of the result.
        filters: channels of the result.
        window: its sizes; one of them is the channels.
        lanes: values in a register.
    """
    registers = -(-filters // lanes)
    choices = [
        best_tile(height, width, filters, vectors, window, lanes)
        for vectors in range(1, min(registers, MOST_VECTORS) + 1)
    ]
    return min(
        (
            Tiling(found.vectors, found.rows, found.columns, found.cost * _blocks(filters, found.vectors * lanes))
            for found in choices
        ),
        key=lambda tiling: tiling.cost,
    )


@cache
def best_tile(height: int, width: int, filters: int, vectors: int, window: tuple[int, ...], lanes: int) -> Tiling:
    """
    The pixels of a tile for given registers of filters; the cost is that of one block of these filters.

    If the last block of filters is not full, a tile has pixels of one row or one column: what is written beyond the
    last filter of a pixel stands in the place of pixels after it, which must therefore be written later.
    """
    tallest = 1 if filters % (vectors * lanes) and width > 1 else height
    steps, several = prod(window), sum(size > 1 for size in window) > 1
    most = max(1, MOST_SUMS[lanes] // vectors)  # filters may be packed for wider registers than these
    if several and vectors == 2 and lanes == 16:
        most = MOST_PIXELS
    tilings = [
        Tiling(vectors, rows, columns, _cost(height, width, rows, columns, vectors, steps))
        for rows in range(1, min(tallest, most) + 1)
        for columns in range(1, min(width, most // rows) + 1)
    ]
    return min(tilings, key=lambda tiling: (tiling.cost, tiling.rows))


def parts(size: int, tile: int) -> list[tuple[int, int]]:
    """
    How a side of the result is cut: (how many, how large each); whole tiles first, then what they leave over.
    """
    whole, rest = divmod(size, tile)
    return [(count, part) for count, part in ((whole, tile), (1, rest)) if count and part]


def _blocks(filters: int, width: int) -> float:
    """
    Blocks of so many filters, in what full ones cost.
    """
    return -(-filters // width) * (1 + UNEVEN * (filters % width > 0))


def _cost(height: int, width: int, rows: int, columns: int, vectors: int, steps: int) -> float:
    total = 0.0
    variants = [
        (tiles_down * tiles_across, tall * wide)
        for tiles_down, tall in parts(height, rows)
        for tiles_across, wide in parts(width, columns)
    ]
    for tiles, pixels in variants:
        step = max(pixels * vectors, pixels + vectors, CHAINS) + OVERHEAD
        total += tiles * (step * steps + START)
    return total * (1 + VARIANT * (len(variants) - 1))


PRODUCT_SPEED = {1: 0.63, 2: 0.80, 3: 0.84, 4: 0.72}
"""What part of the peak a product of matrices reaches, by registers of columns in a tile of as many rows as fit."""
FEW_ROWS = 3
"""Rows up to which registers of columns are what keeps the processor busy."""


def product_vectors(rows: int, columns: int, lanes: int) -> int:
    """
    The registers of columns in a tile of a product of matrices whose right one is packed.

    Args:
        rows: of the left matrix.
        columns: of the right one.
        lanes: values in a register.
    """
    registers = -(-columns // lanes)
    if rows <= FEW_ROWS:
        return min(registers, MOST_VECTORS)

    def cost(vectors: int) -> float:
        whole, rest = divmod(registers, vectors)
        return whole * vectors / PRODUCT_SPEED[vectors] + (rest / PRODUCT_SPEED[rest] if rest else 0.0)

    return min(range(1, min(registers, MOST_VECTORS) + 1), key=cost)
