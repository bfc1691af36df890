"""
Tiles cover the result, fit the registers, and are not worse than others.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.ops.tiles import MOST_SUMS, best_tile, best_tiling, parts
from compiler.options import LANES

SIZES = st.integers(1, 100)


@given(SIZES, SIZES)
def test_parts_cover_a_side(size, tile):
    found = parts(size, tile)
    assert sum(count * part for count, part in found) == size
    assert 1 <= len(found) <= 2
    assert all(1 <= part <= tile for _, part in found)


@given(SIZES, SIZES, st.integers(1, 200), st.integers(1, 600), st.sampled_from(LANES))
def test_a_tile_fits_the_registers_and_the_result(height, width, filters, steps, lanes):
    tiling = best_tiling(height, width, filters, steps, lanes)
    assert tiling.vectors * tiling.rows * tiling.columns <= MOST_SUMS[lanes]
    assert tiling.rows <= height
    assert tiling.columns <= width
    assert (tiling.vectors - 1) * lanes < filters
    if filters % (tiling.vectors * lanes):
        assert tiling.rows == 1, "pixels must be written in order"
    alone = best_tile(height, width, filters, tiling.vectors, steps, lanes)
    assert (alone.rows, alone.columns) == (tiling.rows, tiling.columns), "codegen finds the tile of the pass again"
    for vectors in range(1, min(4, -(-filters // lanes)) + 1):
        other = best_tile(height, width, filters, vectors, steps, lanes)
        assert other.cost * -(-filters // (lanes * vectors)) >= tiling.cost


@pytest.mark.parametrize(
    ("result", "filters", "steps", "expected"),
    [((20, 20), 32, 256, (2, 1, 10)), ((9, 9), 64, 512, (2, 1, 9)), ((7, 7), 64, 576, (2, 1, 7))],
)
def test_nature_cnn(result, filters, steps, expected):
    # What was measured to be among the best: 93 to 99 % of the peak.
    tiling = best_tiling(*result, filters, steps, 16)
    assert (tiling.vectors, tiling.rows, tiling.columns) == expected
