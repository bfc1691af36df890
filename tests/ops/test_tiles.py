"""
Tiles cover the result, fit the registers, and are not worse than others.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ops.tiles import MOST_PIXELS, MOST_SUMS, UNEVEN, best_tile, best_tiling, parts
from compiler.options import LANES

SIZES = st.integers(1, 100)


@given(SIZES, SIZES)
def test_parts_cover_a_side(size, tile):
    found = parts(size, tile)
    assert sum(count * part for count, part in found) == size
    assert 1 <= len(found) <= 2
    assert all(1 <= part <= tile for _, part in found)


WINDOWS = st.tuples(st.integers(1, 60), st.integers(1, 3), st.integers(1, 3))


@given(SIZES, SIZES, st.integers(1, 200), WINDOWS, st.sampled_from(LANES))
def test_a_tile_fits_the_registers_and_the_result(height, width, filters, window, lanes):
    tiling = best_tiling(height, width, filters, window, lanes)
    pixels = tiling.rows * tiling.columns
    alone = lanes == 16 and tiling.vectors == 2 and sorted(window)[1] > 1 and pixels <= MOST_PIXELS
    assert alone or tiling.vectors * pixels <= MOST_SUMS[lanes]
    assert tiling.rows <= height
    assert tiling.columns <= width
    assert (tiling.vectors - 1) * lanes < filters
    if filters % (tiling.vectors * lanes):
        assert tiling.rows == 1 or width == 1, "pixels must be written in order"
    alone = best_tile(height, width, filters, tiling.vectors, window, lanes)
    assert (alone.rows, alone.columns) == (tiling.rows, tiling.columns), "codegen finds the tile of the pass again"
    for vectors in range(1, min(4, -(-filters // lanes)) + 1):
        other = best_tile(height, width, filters, vectors, window, lanes)
        uneven = 1 + UNEVEN if filters % (lanes * vectors) else 1
        assert other.cost * -(-filters // (lanes * vectors)) * uneven >= tiling.cost * (1 - 1e-9)


@pytest.mark.parametrize(
    ("result", "filters", "window", "expected"),
    [
        ((20, 20), 32, (4, 8, 8), (2, 1, 10)),
        ((9, 9), 64, (32, 4, 4), (2, 1, 9)),
        ((7, 7), 64, (64, 3, 3), (2, 2, 7)),
        ((56, 56), 64, (64, 3, 3), (2, 1, 14)),
        ((7, 7), 512, (512, 3, 3), (2, 2, 7)),
        ((56 * 56, 1), 256, (1, 1, 64), (4, 6, 1)),
        ((49, 1), 2048, (1, 1, 512), (2, 10, 1)),
    ],
)
def test_what_was_measured(result, filters, window, expected):
    # Of NatureCNN and ResNets, among the best: 88 to 99 % of the peak.
    tiling = best_tiling(*result, filters, window, 16)
    assert (tiling.vectors, tiling.rows, tiling.columns) == expected
