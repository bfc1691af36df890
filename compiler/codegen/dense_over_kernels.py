"""
The kernel of a linear layer over many rows: tiles of rows times registers of outputs, whose sums stay in registers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from compiler.codegen.body import Body, Operand, product, sum_of, tiles
from compiler.codegen.product_kernels import advanced
from compiler.codegen.streaming import STREAMED, asking, step_ahead
from compiler.ops.tiles import MOST_SUMS

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
    The outputs of one block: the variable or number of the block, and how many there are.
    """

    block: str
    size: int


def write_dense_over(body: Body, inputs: Sequence[Operand], result: Operand, activation: str) -> None:
    """
    Writes the kernel.

    What is larger, the rows or the weights, is gone through once: the other stays in the cache.

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
    )
    if layer.rows > layer.outputs:
        for row, height in _rows(body, layer, layer.width):
            for panel in _panels(body, layer):
                _write_tile(body, layer, panel, row, height)
        return
    if product(weight.dims) >= STREAMED:
        vectors = -(-layer.width // body.lanes)
        count = -(-layer.rows // max(1, MOST_SUMS[body.lanes] // vectors))
        layer = replace(layer, ahead=step_ahead(UNROLLED * layer.width, count))
    for panel in _panels(body, layer):
        if layer.ahead:
            body.add(f"ahead = {sum_of((panel.block, layer.inputs * layer.width), ('1', layer.inputs * layer.width))}")
        for row, height in _rows(body, layer, panel.size):
            _write_tile(body, layer, panel, row, height)


def _panels(body: Body, layer: Layer) -> Iterator[Panel]:
    """
    Goes through the blocks of outputs, of which the last may not be full.
    """
    whole, rest = divmod(layer.outputs, layer.width)
    for block, count, size in ((0, whole, layer.width), (whole, 1, rest)):
        if count and size:
            with body.span("block", block, block + count, 1) as number:
                body.add(f"panel = {advanced('weight', sum_of((number, layer.inputs * layer.width)))}")
                yield Panel(number, size)


def _rows(body: Body, layer: Layer, size: int) -> Iterator[tuple[str, int]]:
    """
    Goes through the rows, as many at once as there are registers for their sums.
    """
    vectors = -(-size // body.lanes)
    for top, bottom, height in tiles(layer.rows, max(1, min(layer.rows, MOST_SUMS[body.lanes] // vectors))):
        with body.span("row", top, bottom, height) as row:
            body.add(f"near = {advanced('source', sum_of((row, layer.inputs)))}")
            yield row, height


def _write_tile(body: Body, layer: Layer, panel: Panel, row: str, height: int) -> None:
    registers = [(at, min(body.lanes, panel.size - at)) for at in range(0, panel.size, body.lanes)]
    sums = [[f"s{r}_{v}" for v in range(len(registers))] for r in range(height)]
    for v, (at, _) in enumerate(registers):
        body.add(f"s0_{v} = load(bias, {sum_of((panel.block, layer.width), ('1', at))})")
    body.add(*(f"{name} = {first}" for names in sums[1:] for name, first in zip(names, sums[0], strict=True)))
    whole = layer.inputs - layer.inputs % UNROLLED
    if whole:
        with body.span("i", 0, whole, UNROLLED) as i:
            for step in range(UNROLLED):
                _write_step(body, layer, sums, sum_of((i, 1), ("1", step)))
            if layer.ahead:
                body.add(*asking(layer.ahead))
    for step in range(whole, layer.inputs):
        _write_step(body, layer, sums, str(step))
    _write_results(body, layer, sums, registers, sum_of((row, layer.outputs), (panel.block, layer.width)))


def _write_step(body: Body, layer: Layer, sums: list[list[str]], i: str) -> None:
    """
    Writes the products of one value of each row with its weights.
    """
    for v in range(len(sums[0])):
        body.add(f"w{v} = load(panel, {sum_of((i, layer.width), ('1', v * body.lanes))})")
    for r, names in enumerate(sums):
        body.add(f"x = splat(load_scalar(near, {sum_of((i, 1), ('1', r * layer.inputs))}))")
        body.add(*(f"{name} = fma(x, w{v}, {name})" for v, name in enumerate(names)))


def _write_results(
    body: Body, layer: Layer, sums: list[list[str]], registers: list[tuple[int, int]], place: str
) -> None:
    """
    Writes what becomes of the sums; an activation that is long once they have left their registers, in a loop.
    """
    if place != "0":
        body.add(f"first = {place}")
        place = "first"
    for r, names in enumerate(sums):
        for (at, width), name in zip(registers, names, strict=True):
            here = sum_of((place, 1), ("1", r * layer.outputs + at))
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
            here = sum_of((place, 1), (line, layer.outputs), (i, 1))
            body.add(f"x = {body.load('target', here, width)}")
            body.store("target", here, width, layer.activation)
