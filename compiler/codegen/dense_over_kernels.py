"""
The kernel of a linear layer over many rows: tiles of rows times registers of outputs, whose sums stay in registers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from compiler.codegen.body import Body, Operand, Running, even_tile, product, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.codegen.streaming import STREAMED, asking, step_ahead
from compiler.ops.blocks import BLOCK
from compiler.ops.tiles import MOST_SUMS, product_vectors

UNROLLED = 2
"""Inputs in one pass of the innermost loop: a tenth faster than one, no slower than four."""
SHORT = ("relu(", "leaky_relu(", "hardtanh(", "threshold(", "divide(")
"""Activations that are applied to each register of sums: copies of any other would take too long to compile."""


@dataclass(frozen=True)
class Layer:
    """
    What all tiles of a layer share.
    """

    inputs: int
    outputs: int
    rows: int
    width: int
    """Outputs in a block of the packed weight."""
    added: bool
    activation: str
    """Of `x`; empty if there is none."""
    reach: int
    """Values from a row of the source to the next."""
    step: int
    """The same of the result."""
    vectors: int
    """Registers of a block that a tile takes; all of them where they were packed for tiles."""
    ahead: int = 0
    """How much further on each pass asks for weights of the next block; 0 if none does."""

    @property
    def short(self) -> bool:
        """
        Whether the activation is applied to registers before they leave.
        """
        return self.activation.startswith(SHORT)


@dataclass(frozen=True)
class Panel:
    """
    Outputs of one block that a tile takes: the variable or number of the block, and how many there are.
    """

    block: str
    first: str
    """The first of them in the block."""
    size: int

    def column(self, width: int) -> tuple[tuple[str, int], tuple[str, int]]:
        """
        The first of them in the layer, whose blocks have this width, as terms of a sum.
        """
        return (self.block, width), (self.first, 1)


def write_dense_over(body: Body, inputs: Sequence[Operand], result: Operand, activation: str) -> None:
    """
    Writes the kernel.

    Args:
        body: where to.
        inputs: the source, the packed weight, its bias, and what is added to the result, if anything.
        result: the layer's.
        activation: the call of a function on `x`, or nothing.
    """
    source, weight = inputs[:2]
    layer = Layer(
        inputs=source.dims[-1],
        outputs=result.dims[-1],
        rows=product(source.dims[:-1]),
        width=weight.dims[2],
        added=len(inputs) > 3,
        activation=activation,
        reach=source.dims[-1],
        step=result.dims[-1],
        vectors=-(-weight.dims[2] // body.lanes),
    )
    _write_layer(body, layer, product(weight.dims))


def write_dense_together(body: Body, inputs: Sequence[Operand], result: Operand, activation: str) -> None:
    """
    Writes the same kernel for a layer of one row, or of few, that is computed for a block of observations at once.

    Weights packed for one row stand in wider blocks than tiles of several rows have registers for.
    """
    source, weight = inputs[:2]
    rows = prod(source.dims[:-1])
    vectors = product_vectors(BLOCK * rows, weight.dims[2], body.lanes)
    layer = Layer(
        inputs=source.dims[-1],
        outputs=result.dims[-1],
        rows=BLOCK * rows,
        width=weight.dims[2],
        added=len(inputs) > 3,
        activation=activation,
        reach=source.apart if rows == 1 else source.dims[-1],
        step=result.apart if rows == 1 else result.dims[-1],
        vectors=vectors,
    )
    _write_layer(body, layer, prod(weight.dims))


def _write_layer(body: Body, layer: Layer, weights: int) -> None:
    """
    Writes all tiles. What is larger, the rows or the weights, is gone through once: the other stays in the cache.
    """
    if layer.rows > layer.outputs:
        # Rows whose number is known at run time only can't be divided; their outputs can.
        for row, height in _rows(body, layer, layer.width, shared=not isinstance(layer.rows, Running)):
            for panel in _panels(body, layer):
                _write_tile(body, layer, panel, row, height)
        return
    if weights >= STREAMED:
        count = -(-layer.rows // _tallest(body, layer, layer.width)) * -(-layer.width // (layer.vectors * body.lanes))
        layer = replace(layer, ahead=step_ahead(UNROLLED * layer.width, count))
    for panel in _panels(body, layer):
        for row, height in _rows(body, layer, panel.size):
            _write_tile(body, layer, panel, row, height)


def _panels(body: Body, layer: Layer) -> Iterator[Panel]:
    """
    Goes through the blocks of outputs, of which the last may not be full, and in these through what tiles take.
    """
    whole, rest = divmod(layer.outputs, layer.width)
    block_size = layer.inputs * layer.width
    for start, count, size in ((0, whole, layer.width), (whole, 1, rest)):
        if not count or not size:
            continue
        with body.span("block", start, start + count, 1, shared=True) as block:
            if layer.ahead:
                body.add(f"ahead = {sum_of((block, block_size), ('1', block_size))}")
            for begin, stop, wide in tiles(size, layer.vectors * body.lanes):
                with body.span("first", begin, stop, wide) as first:
                    body.add(f"panel = {advanced('weight', sum_of((block, block_size), (first, 1)))}")
                    yield Panel(block, first, wide)


def _tallest(body: Body, layer: Layer, size: int) -> int:
    """
    Rows of a tile of so many outputs: as many as there are registers for their sums.
    """
    vectors = min(-(-size // body.lanes), layer.vectors)
    return even_tile(layer.rows, max(1, min(layer.rows, MOST_SUMS[body.lanes] // vectors)))


def _rows(body: Body, layer: Layer, size: int, *, shared: bool = False) -> Iterator[tuple[str, int]]:
    """
    Goes through the rows, as many at once as a tile has.
    """
    for top, bottom, height in tiles(layer.rows, _tallest(body, layer, size)):
        with body.span("row", top, bottom, height, shared=shared) as row:
            body.add(f"near = {advanced('source', sum_of((row, layer.reach)))}")
            yield row, height


def _write_tile(body: Body, layer: Layer, panel: Panel, row: str, height: int) -> None:
    registers = [(at, min(body.lanes, panel.size - at)) for at in range(0, panel.size, body.lanes)]
    sums = [[f"s{r}_{v}" for v in range(len(registers))] for r in range(height)]
    for v, (at, _) in enumerate(registers):
        body.add(f"s0_{v} = load(bias, {sum_of(*panel.column(layer.width), ('1', at))})")
    body.add(*(f"{name} = {first}" for names in sums[1:] for name, first in zip(names, sums[0], strict=True)))
    write_products(body, layer, sums)
    _write_results(body, layer, sums, registers, sum_of((row, layer.step), *panel.column(layer.width)))


def write_products(body: Body, layer: Layer, sums: list[list[str]]) -> None:
    """
    Writes the loop that adds the products of rows, which begin at `near`, and the weights at `panel` to sums.

    Args:
        body: where to.
        layer: the sizes.
        sums: the variables, for each row those of its registers.
    """
    whole = layer.inputs - layer.inputs % UNROLLED
    if whole:
        with body.span("i", 0, whole, UNROLLED) as i:
            for step in range(UNROLLED):
                _write_step(body, layer, sums, sum_of((i, 1), ("1", step)))
            if layer.ahead:
                body.add(*asking(layer.ahead))
    for step in range(whole, layer.inputs):
        _write_step(body, layer, sums, str(step))


def _write_step(body: Body, layer: Layer, sums: list[list[str]], i: str) -> None:
    """
    Writes the products of one value of each row with its weights.
    """
    for v in range(len(sums[0])):
        body.add(f"w{v} = load(panel, {sum_of((i, layer.width), ('1', v * body.lanes))})")
    for r, names in enumerate(sums):
        body.add(f"x = splat(load_scalar(near, {sum_of((i, 1), ('1', r * layer.reach))}))")
        body.add(*(f"{name} = fma(x, w{v}, {name})" for v, name in enumerate(names)))


def _write_results(
    body: Body, layer: Layer, sums: list[list[str]], registers: list[tuple[int, int]], place: str
) -> None:
    """
    Writes what becomes of the sums; an activation that is long once they have left their registers, in a loop.
    """
    if place != "0":
        body.add(f"place = {place}")
        place = "place"
    for r, names in enumerate(sums):
        for (at, width), name in zip(registers, names, strict=True):
            here = sum_of((place, 1), ("1", r * layer.step + at))
            if layer.added:
                body.add(f"{name} = {name} + {body.load('added', here, width)}")
            if layer.short:
                body.add(f"x = {name}")
            body.store("target", here, width, layer.activation if layer.short else name)
    if not layer.activation or layer.short:
        return
    size = registers[-1][0] + registers[-1][1]
    with body.loop("r", len(sums)) as line:
        for i, width in body.pieces(size, "j"):
            here = sum_of((place, 1), (line, layer.step), (i, 1))
            body.add(f"x = {body.load('target', here, width)}")
            body.store("target", here, width, layer.activation)
