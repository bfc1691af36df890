"""
How a convolution by Winograd's algorithm is divided: so many rows of tiles are transformed before any is multiplied.
"""

from dataclasses import dataclass
from functools import cached_property

from compiler.ops.tiles import MOST_PIXELS
from compiler.ops.winograd import WINDOW, tiles_along

LINE = 16
"""float32 in a line of the caches."""
LARGE = 1 << 18
"""Transforms of filters beyond which they come from memory, or from a cache that all cores share."""
ROOM = 1 << 18
"""float32 that the same cache has room for beside what passes through it."""
LITTLE_ROOM = 1 << 16
"""Transforms of tiles that it has room for in any case."""
ARRIVAL = 20
"""What waiting for a value from outside that cache costs, in multiply-adds."""
START = 640
"""What it costs to begin and end sums that stay in registers, likewise."""
MOST_ROWS = 1 << 10
"""Rows of tiles that are looked at for a strip."""
TRANSFORM = {4: 100, 6: 400}
"""What the transforms of a tile cost for each channel and each filter, by its size, likewise."""


@dataclass(frozen=True)
class Plan:
    """
    The sizes of a layer, and of what is between its steps.

    Each plane of that ends with a line more than it needs: at distances of powers of two, planes would have few places
    in the caches.
    """

    height: int
    width: int
    """Of the result."""
    channels: int
    blocks: int
    block: int
    """Filters in one."""
    size: int
    """Rows and columns of a tile."""

    @property
    def filters(self) -> int:
        """
        Filters of all blocks.
        """
        return self.blocks * self.block

    @property
    def step(self) -> int:
        """
        Rows and columns of the result that a tile gives.
        """
        return self.size - WINDOW + 1

    @property
    def planes(self) -> int:
        """
        Elements of a tile, each of which is multiplied by itself.
        """
        return self.size * self.size

    @property
    def weights(self) -> int:
        """
        Transforms of filters.
        """
        return self.planes * self.channels * self.filters

    @property
    def large(self) -> bool:
        """
        Whether a core's cache has no room for them.
        """
        return self.weights > LARGE

    @property
    def down(self) -> int:
        """
        Rows of tiles.
        """
        return tiles_along(self.height, self.size)

    @property
    def across(self) -> int:
        """
        Tiles in a row.
        """
        return tiles_along(self.width, self.size)

    @cached_property
    def rows(self) -> int:
        """
        Rows of tiles in a strip, which leave none over: as many as cost least.
        """
        most = min(self.down, MOST_ROWS)
        return min((rows for rows in range(1, most + 1) if self.down % rows == 0), key=self._products)

    @property
    def cost(self) -> float:
        """
        What the layer costs, in multiply-adds.
        """
        tiles = self.down * self.across
        return self._products(self.rows) + TRANSFORM[self.size] * tiles * (self.channels + self.filters)

    def _products(self, rows: int) -> float:
        """
        What products cost in strips of so many rows: each strip needs all filters, each block of filters all tiles.
        """
        together, strips = rows * self.across, self.down // rows
        values = self.planes * together * self.channels
        room = ROOM if self.large else max(LITTLE_ROOM, ROOM - self.weights)
        filters = self.weights * (together + ARRIVAL * self.large)
        tiles = values * self.blocks * ARRIVAL * (values > room)
        return float(strips * (filters + tiles + self.planes * self.blocks * -(-together // MOST_PIXELS) * START))

    @property
    def together(self) -> int:
        """
        Tiles in a strip.
        """
        return self.rows * self.across

    @property
    def tile_plane(self) -> int:
        """
        From one element of all tiles to the next.
        """
        return self.together * self.channels + LINE

    @property
    def sum_plane(self) -> int:
        """
        From the sums of one element of all tiles to those of the next.
        """
        return self.together * self.block + LINE

    @property
    def sums_at(self) -> int:
        """
        Where the sums begin, behind the tiles.
        """
        return self.planes * self.tile_plane

    @property
    def words(self) -> int:
        """
        float32 of all that is between the steps.
        """
        return self.sums_at + self.planes * self.sum_plane
