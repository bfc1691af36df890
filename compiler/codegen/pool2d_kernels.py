"""
The kernel that pools one image in the layout of the layers around it; with channels last, lanes are channels.
"""

from dataclasses import dataclass, replace

from compiler.codegen.arranging_kernels import integers
from compiler.codegen.body import Body, Operand, sum_of, tiles
from compiler.codegen.pool_kernels import write_avg_pool, write_max_pool
from compiler.ir import Node
from compiler.ops.convolution import CHANNELS_FIRST
from compiler.ops.image import averaged

VECTORS = 4
"""Registers of channels at once: the processor begins the next before the last is done."""


@dataclass(frozen=True)
class Range:
    """
    The windows on one side of an image, and what they meet.
    """

    count: int
    size: int
    kernel: int
    stride: int
    padding: int
    counts_padding: bool

    @property
    def counted(self) -> set[int]:
        """
        How many elements windows count.
        """
        sizes = self.count, self.size, self.kernel, self.stride, self.padding
        return set(averaged(*sizes, self.counts_padding))

    @property
    def inside(self) -> bool:
        """
        Whether all windows meet nothing but the image.
        """
        return self.padding == 0 and (self.count - 1) * self.stride + self.kernel <= self.size


def write_pool2d(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes the kernel.
    """
    if node.attributes["layout"] == CHANNELS_FIRST:
        write = write_max_pool if node.attributes["kind"] == "max" else write_avg_pool
        write(body, node, replace(source, dims=(1, *source.dims)), replace(result, dims=(1, *result.dims)))
        return
    counts = bool(node.attributes["count_padding"])
    kernel, stride, padding = (integers(node, name) for name in ("kernel", "stride", "padding"))
    rows, columns = (
        Range(result.dims[axis], source.dims[axis], kernel[axis], stride[axis], padding[axis], counts)
        for axis in range(2)
    )
    channels = source.dims[2]
    with body.loop("y", rows.count, shared=True) as y:
        tall = _begin(body, rows, y, "row")
        with body.loop("x", columns.count, shared=True) as x:
            wide = _begin(body, columns, x, "column")
            body.add(
                f"corner = {sum_of((tall[0], columns.size * channels), (wide[0], channels))}",
                f"place = {sum_of((y, columns.count * channels), (x, channels))}",
            )
            for first, stop, size in tiles(channels, VECTORS * body.lanes):
                with body.span("channel", first, stop, size, shared=True) as channel:
                    registers = [(at, min(body.lanes, size - at)) for at in range(0, size, body.lanes)]
                    mean = node.attributes["kind"] == "mean"
                    _fold(body, registers, channel, (tall[1], wide[1]), (columns.size * channels, channels), mean)
                    divisor = _divisor(body, rows, columns, y, x) if mean else ""
                    for v, (at, width) in enumerate(registers):
                        place = sum_of(("place", 1), (channel, 1), ("1", at))
                        body.store("target", place, width, f"s{v}{divisor}")


def _begin(body: Body, side: Range, window: str, name: str) -> tuple[str, str]:
    """
    The first element of the image that a window meets, and how many it meets, as expressions.
    """
    first = sum_of((window, side.stride), ("1", -side.padding))
    if side.inside:
        return first, str(side.kernel)
    body.add(
        f"first_{name} = max({first}, 0)",
        f"{name}s = min({sum_of((first, 1), ('1', side.kernel))}, {side.size}) - first_{name}",
    )
    return f"first_{name}", f"{name}s"


def _fold(
    body: Body,
    registers: list[tuple[int, int]],
    channel: str,
    counts: tuple[str, str],
    pitches: tuple[int, int],
    mean: bool,
) -> None:
    """
    Writes what becomes of all elements of a window, for some channels.
    """
    body.add(*(f"s{v} = splat({'0.0' if mean else '-np.inf'})" for v in range(len(registers))))
    with body.block(f"for row in range({counts[0]}):"), body.block(f"for column in range({counts[1]}):"):
        for v, (at, width) in enumerate(registers):
            place = sum_of(("corner", 1), ("row", pitches[0]), ("column", pitches[1]), (channel, 1), ("1", at))
            read = body.load("source", place, width)
            body.add(f"s{v} = s{v} + {read}" if mean else f"s{v} = maximum(s{v}, {read})")


def _divisor(body: Body, rows: Range, columns: Range, y: str, x: str) -> str:
    """
    The division by the elements that a window counts; writes how many these are where not all count as many.
    """
    if len(rows.counted) == len(columns.counted) == 1:
        return f" / {float(max(rows.counted) * max(columns.counted))}"
    for side, window, name in ((rows, y, "tall"), (columns, x, "wide")):
        first = sum_of((window, side.stride), ("1", -side.padding))
        last = side.size + (side.padding if side.counts_padding else 0)
        begin = first if side.counts_padding else f"max({first}, 0)"
        body.add(f"{name} = min({sum_of((first, 1), ('1', side.kernel))}, {last}) - ({begin})")
    return " / splat(np.float32(tall * wide))"
