"""
The view of the kernel of a convolution.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from compiler.codegen.body import ENOUGH
from compiler.codegen.expressions import activated, plus, share, signature, times
from compiler.codegen.layer import Common, LayerView
from compiler.codegen.streaming import STREAMED, asking, step_ahead
from compiler.ir import Attribute, Model, Node
from compiler.ops.convolution import CHANNELS_FIRST, image_sizes
from compiler.ops.tiles import best_tile, parts, tiled_sides

UNROLLED = (4, 2, 1)
"""Steps of the innermost loop that one pass takes; the first that fits."""


@dataclass(frozen=True)
class Loop:
    """
    A loop over a part of the window.
    """

    variable: str
    count: int
    pitch: int
    """Values of the image from one pass to the next."""


@dataclass(frozen=True)
class Window:
    """
    The order in which a kernel goes through the window, that of the weights: `loops`, and inside them `run` steps.
    """

    loops: tuple[Loop, ...]
    run: int
    pitch: int
    """Values of the image from one step to the next."""


@dataclass(frozen=True)
class Sum:
    """
    One register of sums: its variable, its register of filters, its pixel's place in the image and in the result.
    """

    name: str
    vector: int
    source: int
    target: int


@dataclass(frozen=True)
class Part:
    """
    A part of the result that tiles of one size cover: where the tiles begin and how large they are.
    """

    down: range
    across: range
    rows: int
    columns: int
    divided: bool = False
    """Whether threads have first rows of their own."""

    @property
    def loop_down(self) -> str:
        """
        The beginning of the loop over the first rows of tiles, if there is more than one.
        """
        if self.divided:
            whole = share(str(len(self.down)), str(self.rows), self.down.start)
            return f"for y in range({whole}):" if len(self.down) > 1 else "if part == 0:"
        return f"for y in {range_of(self.down)}:" if len(self.down) > 1 else ""

    @property
    def loop_across(self) -> str:
        """
        The same for their first columns.
        """
        return f"for x in {range_of(self.across)}:" if len(self.across) > 1 else ""

    @property
    def y(self) -> str:
        """
        The first row of a tile.
        """
        return str(self.down.start) if len(self.down) == 1 else "y"

    @property
    def x(self) -> str:
        """
        The first column of a tile.
        """
        return str(self.across.start) if len(self.across) == 1 else "x"


@dataclass(frozen=True)
class ConvolutionView(LayerView):
    """
    A convolution whose sums for a tile of pixels and a block of filters stay in registers while the window goes by.
    """

    sizes: tuple[int, ...] = ()
    """Of the packed weight."""
    filters: int = 0
    height: int = 0
    width: int = 0
    """Of the result, as tiles see it."""
    tile: tuple[int, int] = (1, 1)
    row_pitch: int = 0
    column_pitch: int = 0
    """Values of the image from one pixel of the result to the next, downwards and to the right."""
    window: Window = Window((), 1, 1)
    added: bool = False
    """Whether another image is added to the result."""
    image: int = 0
    """Values of the source."""
    large: bool = False
    """Whether the weights are larger than a core's cache."""

    @property
    def signature(self) -> str:
        """
        The first line of the kernel.
        """
        pointers = ["source", "weight", "bias", *(["added"] if self.added else []), "target"]
        return signature(self.function, pointers, divided=self.divided)

    @property
    def divided(self) -> bool:
        """
        Whether threads have blocks of filters of their own, or rows of the result.

        Not where the last block of filters is not full: what it writes beyond them would meet another thread's.
        """
        return self.dividing and self.filters % self.block == 0 and max(self.blocks, self.height // self.tile[0]) > 1

    @property
    def by_rows(self) -> bool:
        """
        Whether they have rows: where these are cut more evenly than blocks are, or come first and are many.
        """
        rows = min(ENOUGH, self.height // self.tile[0])
        return self.divided and (self.blocks < rows or (self.pixels_first and rows == ENOUGH))

    @property
    def blocks(self) -> int:
        """
        Blocks of filters.
        """
        return self.sizes[0]

    @property
    def block(self) -> int:
        """
        Filters in one block.
        """
        return self.sizes[-1]

    @property
    def block_range(self) -> str:
        """
        The blocks in the order of computation.

        Where the last is not full, it comes first: of each pixel it writes beyond the last filter, into the pixel that
        it writes next and other blocks write after it.
        """
        if self.filters % self.block:
            return f"range({self.blocks - 1}, -1, -1)"
        return f"range({share(str(self.blocks)) if self.divided and not self.by_rows else self.blocks})"

    @property
    def pixels_first(self) -> bool:
        """
        Whether each tile of pixels meets all blocks of filters before the next tile is taken.

        What is larger, the images or the weights, is gone through once: the other stays in the core's cache. Not where
        the last block is not full, since it must come first.
        """
        images = self.image + self.height * self.width * self.filters * (2 if self.added else 1)
        several = self.blocks > 1 and self.filters % self.block == 0
        return several and math.prod(self.sizes) < STREAMED < images

    @property
    def next_block(self) -> str:
        """
        The block that is computed next; after the last one comes what the next layer reads, or something else.
        """
        return "block - 1" if self.filters % self.block else "block + 1"

    @property
    def block_weights(self) -> int:
        """
        Weights of a block.
        """
        return math.prod(self.sizes[1:])

    @property
    def first(self) -> str:
        """
        The first filter of a block.
        """
        return "0" if self.blocks == 1 else "first"

    @property
    def tap(self) -> str:
        """
        Where the weights of a block begin.
        """
        steps = self.sizes[1] * self.sizes[2] * self.sizes[3]
        return times("0" if self.blocks == 1 else "first", str(steps))

    @property
    def vectors(self) -> range:
        """
        Registers of filters in one block.
        """
        return range(self.block // self.lanes)

    @property
    def parts(self) -> list[list[Part]]:
        """
        The parts of the result, from top to bottom, from left to right.
        """
        rows, columns = self.tile
        return [
            [Part(down, across, tall, wide, self.by_rows) for across, wide in _ranges(self.width, columns)]
            for down, tall in _ranges(self.height, rows)
        ]

    def sums(self, part: Part) -> list[Sum]:
        """
        The sums of a tile, in the order in which they leave.
        """
        return [
            Sum(
                f"a{row * part.columns + column}_{vector}",
                vector,
                row * self.row_pitch + column * self.column_pitch,
                (row * self.width + column) * self.filters + vector * self.lanes,
            )
            for row in range(part.rows)
            for column in range(part.columns)
            for vector in self.vectors
        ]

    def corner(self, part: Part) -> str:
        """
        Where the window of a tile's first pixel begins in the image.
        """
        return sum_of((part.y, self.row_pitch), (part.x, self.column_pitch))

    def place(self, part: Part) -> str:
        """
        Where a tile's first pixel begins in the result, for the filters of a block.
        """
        return sum_of((part.y, self.width * self.filters), (part.x, self.filters), (self.first, 1))

    @property
    def unrolled(self) -> int:
        """
        Steps in one pass of the innermost loop.

        So few that no pixel of the image is met twice: LLVM would keep it in a register until then, and has none left.
        """
        return next(
            count
            for count in UNROLLED
            if count == 1 or (self.window.run % count == 0 and (count - 1) * self.window.pitch < self.column_pitch)
        )

    @property
    def passes(self) -> int:
        """
        How often the innermost loop goes round.
        """
        return self.window.run // self.unrolled

    @property
    def loops(self) -> list[str]:
        """
        The beginnings of the loops over the window, the innermost last.
        """
        found = [f"for {loop.variable} in range({loop.count}):" for loop in self.window.loops]
        if self.passes > 1:
            found.append(f"for i in range({self.passes}):")
        return found

    @property
    def at(self) -> str:
        """
        Where a tile's first pixel meets the first weight of a pass.
        """
        pitches = [(loop.variable, loop.pitch) for loop in self.window.loops]
        if self.passes > 1:
            pitches.append(("i", self.unrolled * self.window.pitch))
        return sum_of(("corner", 1), *pitches)

    def steps(self, part: Part) -> Iterator[str]:
        """
        The statements of one pass.
        """
        for step in range(self.unrolled):
            for vector in self.vectors:
                yield f"w{vector} = load(weight, {plus('tap', step * self.block + vector * self.lanes)})"
            for sum_ in self.sums(part):
                if sum_.vector == 0:
                    yield f"pixel = splat(load_scalar(source, {plus('at', sum_.source + step * self.window.pitch)}))"
                yield f"{sum_.name} = fma(pixel, w{sum_.vector}, {sum_.name})"
        yield f"tap += {self.unrolled * self.block}"
        if self.ahead:
            yield from asking(self.ahead)

    @property
    def ahead(self) -> int:
        """
        How much further on each pass asks for weights of the next block; 0 if none does.
        """
        tiles = sum(len(part.down) * len(part.across) for parts in self.parts for part in parts)
        return step_ahead(self.unrolled * self.block, tiles) if self.large else 0

    def result(self, sum_: Sum) -> str:
        """
        The expression for what leaves a register of sums.
        """
        added = f" + load(added, {plus('place', sum_.target)})" if self.added else ""
        return activated(sum_.name + added, self)


def convolution_view(model: Model, node: Node, common: Common) -> ConvolutionView:
    """
    The view of a `convolution` after all passes.
    """
    source, weight = (model.tensors[name] for name in node.inputs[:2])
    height, width, filters = model.tensors[node.outputs[0]].fixed_shape
    layout, stride = str(node.attributes["layout"]), pair_of(node.attributes["stride"])
    channels, tall, wide = image_sizes(node.op, source, layout)
    pixel = 1 if layout == CHANNELS_FIRST else channels
    blocks, *sizes, block = weight.fixed_shape
    rows, columns = tiled_sides(height, width, sizes[1:] if layout == CHANNELS_FIRST else sizes[:2], stride)
    lanes = LayerView(*common).lanes
    tile = best_tile(rows, columns, filters, block // lanes, tuple(sizes), lanes)
    return ConvolutionView(
        *common,
        sizes=(blocks, *sizes, block),
        filters=filters,
        height=rows,
        width=columns,
        tile=(tile.rows, tile.columns),
        row_pitch=stride[0] * wide * pixel if columns == width else pixel,
        column_pitch=stride[1] * pixel,
        window=_window(layout, tuple(sizes), pair_of(node.attributes["dilation"]), tall, wide),
        added=len(node.inputs) > 3,
        image=source.elements,
        large=model.policy is None and weight.elements >= STREAMED,
    )


def _window(layout: str, sizes: tuple[int, ...], dilation: tuple[int, int], height: int, width: int) -> Window:
    """
    The way through a window of these sizes, in the order of the layout, on an image of this height and width.
    """
    if layout == CHANNELS_FIRST:
        channels, rows, columns = sizes
        loops = [Loop("channel", channels, height * width), Loop("row", rows, dilation[0] * width)]
        run, pitch = columns, dilation[1]
    else:
        rows, columns, channels = sizes
        loops = [Loop("row", rows, dilation[0] * width * channels), Loop("column", columns, dilation[1] * channels)]
        run, pitch = channels, 1
        if dilation[1] == 1:
            run *= loops.pop().count
    return Window(tuple(loop for loop in loops if loop.count > 1), run, pitch)


def _ranges(size: int, tile: int) -> list[tuple[range, int]]:
    """
    Where the tiles on a side begin, and how large they are: whole ones, then what these leave over.
    """
    found, start = [], 0
    for count, part in parts(size, tile):
        found.append((range(start, start + count * part, part), part))
        start += count * part
    return found


def range_of(places: range) -> str:
    """
    The source of a range, the shorter way.
    """
    return f"range({places.stop})" if (places.start, places.step) == (0, 1) else str(places)


def sum_of(*terms: tuple[str, int]) -> str:
    """
    The sum of variables and numbers times their factors.
    """
    known = sum(int(term) * factor for term, factor in terms if term.isdecimal())
    products = [times(term, str(factor)) if factor != 1 else term for term, factor in terms if not term.isdecimal()]
    return plus(" + ".join(products) or "0", known)


def pair_of(value: Attribute) -> tuple[int, int]:
    """
    An attribute of two integers.
    """
    assert isinstance(value, tuple)
    first, second = value
    return int(first), int(second)
