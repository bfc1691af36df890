"""
Convolutions and poolings. One-dimensional ones are those of images of height 1.
"""

import math
from dataclasses import dataclass
from typing import Any

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_layers import filled
from compiler.frontends.onnx_file.translate_shapes import surround

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """
    The kernel of an op and how it moves, for height and width.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    before: Sizes
    after: Sizes

    @property
    def reach(self) -> Sizes:
        """
        How many elements a window spans along each axis.
        """
        return tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))


def as_image(g: Graph, x: Value) -> Value:
    """
    The input as (N, C, H, W).
    """
    dims = dims_of(x)
    if len(dims) not in (3, 4):
        g.refuse(f"takes one or two spatial dims, found an input of dims {dims}")
    return g.reshape(x, dims if len(dims) == 4 else (*dims[:2], 1, dims[2]))


def _as_before(g: Graph, image: Value, x: Value) -> Value:
    dims = dims_of(image)
    return g.reshape(image, dims if len(dims_of(x)) == 4 else (*dims[:2], dims[3]))


def _window(g: Graph, x: Value, kernel: Sizes, has: Has) -> Window:
    """
    What the attributes of a node say, of one or two spatial dims.
    """
    rank = len(dims_of(x)) - 2
    if rank not in (1, 2) or len(kernel) != rank:
        g.refuse(f"is compiled with one or two spatial dims, found an input of dims {dims_of(x)}")
    strides, dilations = has.get("strides", (1,) * rank), has.get("dilations", (1,) * rank)
    if min(*kernel, *strides, *dilations, 1) < 1:
        g.refuse("has a size that is less than 1")
    pads = has.get("pads", (0,) * (2 * rank))
    before, after = pads[:rank], pads[rank:]
    auto = has.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max((-(-size // stride) - 1) * stride + (reach - 1) * step + 1 - size, 0)
            for size, stride, reach, step in zip(dims_of(x)[2:], strides, kernel, dilations, strict=True)
        ]
        less, more = tuple(size // 2 for size in total), tuple(size - size // 2 for size in total)
        before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        before = after = (0,) * rank
    if rank == 1:
        return Window((1, *kernel), (1, *strides), (1, *dilations), (0, *before), (0, *after))
    return Window(kernel, tuple(strides), tuple(dilations), tuple(before), tuple(after))


def _weight(g: Graph, given: Given) -> Value:
    weight = g.known(given[1], "the weight")
    if weight.ndim not in (3, 4):
        g.refuse("is compiled with one or two spatial dims")
    return weight if weight.ndim == 4 else g.reshape(weight, (*weight.shape[:2], 1, weight.shape[2]))


def _conv(g: Graph, given: Given, has: Has) -> Value:
    x, weight = given[0], _weight(g, given)
    window = _window(g, x, dims_of(given[1])[2:], has)
    bias = filled(g, weight.shape[:1], 0.0) if at(given, 2) is None else g.known(given[2], "the bias")
    image, padding = as_image(g, x), window.before
    if window.before != window.after or min(padding) < 0:
        image = surround(g, image, (0, 0, *window.before), (0, 0, *window.after))
        padding = (0, 0)
    attributes = {"stride": window.strides, "padding": padding, "dilation": window.dilations}
    return _as_before(g, g.add("conv", [image, weight, bias], groups=has.get("group", 1), **attributes), x)


def _conv_transposed(g: Graph, given: Given, has: Has) -> Value:
    """
    Without padding, and then what the padding cuts off; what an output shape asks beyond is 0 plus the bias.
    """
    x, weight = given[0], _weight(g, given)
    rank = len(dims_of(x)) - 2
    groups, image = has.get("group", 1), as_image(g, x)
    plain = {key: value for key, value in has.items() if key != "auto_pad"}
    window = _window(g, x, dims_of(given[1])[2:], plain)
    more = has.get("output_padding", (0,) * rank)
    more = (0, *more) if rank == 1 else tuple(more)
    bias = filled(g, (weight.shape[1] * groups,), 0.0) if at(given, 2) is None else g.known(given[2], "the bias")
    before, after = _cut_off(image, window, more, has, flat=rank == 1)
    attributes = {"stride": window.strides, "dilation": window.dilations}
    fits = all(a < max(b, c) for a, b, c in zip(more, window.strides, window.dilations, strict=True))
    if before == after and min(before) >= 0 and fits:
        inputs = [image, weight, bias]
        found = g.add("conv_transposed", inputs, padding=before, output_padding=more, groups=groups, **attributes)
        return _as_before(g, found, x)
    inputs = [image, weight, filled(g, bias.shape, 0.0)]
    found = g.add("conv_transposed", inputs, padding=(0, 0), output_padding=(0, 0), groups=groups, **attributes)
    after = tuple(size - extra for size, extra in zip(after, more, strict=True))
    found = surround(g, found, (0, 0, *(-size for size in before)), (0, 0, *(-size for size in after)))
    return _as_before(g, g.broadcast("plus", found, bias.reshape(-1, 1, 1)), x)


def _cut_off(image: Value, window: Window, more: Sizes, has: Has, *, flat: bool) -> tuple[Sizes, Sizes]:
    """
    How much of the result of a transposed convolution is cut off before and after: its padding, or what is asked.
    """
    asked = has.get("output_shape")
    auto = has.get("auto_pad", "NOTSET")
    if asked is None and auto in ("NOTSET", "VALID"):
        return ((0, 0), (0, 0)) if auto == "VALID" else (window.before, window.after)
    sizes = dims_of(image)[2:]
    if asked is None:
        wanted = tuple(size * step for size, step in zip(sizes, window.strides, strict=True))
    else:
        wanted = (1, asked[-1]) if flat else tuple(asked[-2:])
    whole = [
        (size - 1) * stride + reach + extra
        for size, stride, reach, extra in zip(sizes, window.strides, window.reach, more, strict=True)
    ]
    total = [size - wish for size, wish in zip(whole, wanted, strict=True)]
    less, rest = tuple(size // 2 for size in total), tuple(size - size // 2 for size in total)
    return (rest, less) if auto == "SAME_LOWER" or (asked is not None and auto != "SAME_UPPER") else (less, rest)


def _max_pool(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    window = _window(g, x, tuple(has["kernel_shape"]), has)
    image, padding, ceil = as_image(g, x), window.before, bool(has.get("ceil_mode", 0))
    if window.before != window.after or any(2 * a > b for a, b in zip(padding, window.kernel, strict=True)):
        if ceil:
            g.refuse("is compiled without ceil_mode where the padding differs or is more than half a kernel")
        image = surround(g, image, (0, 0, *window.before), (0, 0, *window.after), -math.inf)
        padding = (0, 0)
    found = g.add(
        "max_pool",
        [image],
        kernel=window.kernel,
        stride=window.strides,
        padding=padding,
        dilation=window.dilations,
        ceil=ceil,
    )
    return [_as_before(g, found, x)]


def _avg_pool(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    window = _window(g, x, tuple(has["kernel_shape"]), has)
    if set(window.dilations) != {1}:
        g.refuse("is compiled without dilations")
    ceil, counted = bool(has.get("ceil_mode", 0)), bool(has.get("count_include_pad", 0))
    image = as_image(g, x)
    attributes: dict[str, Any] = {"kernel": window.kernel, "stride": window.strides, "ceil": ceil}
    uneven = window.before != window.after
    if not uneven and all(2 * a <= b for a, b in zip(window.before, window.kernel, strict=True)):
        found = g.add("avg_pool", [image], padding=window.before, count_padding=counted, **attributes)
        return _as_before(g, found, x)
    if ceil:
        g.refuse("is compiled without ceil_mode where the padding differs or is more than half a kernel")
    before, after = (0, 0, *window.before), (0, 0, *window.after)
    found = g.add("avg_pool", [surround(g, image, before, after)], padding=(0, 0), **attributes)
    if not counted:
        ones = surround(g, filled(g, (1, 1, *dims_of(image)[2:]), 1.0), before, after)
        found = g.broadcast("over", found, g.add("avg_pool", [ones], padding=(0, 0), **attributes))
    return _as_before(g, found, x)


TRANSLATIONS: dict[str, Translation] = {
    "AveragePool": _avg_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transposed,
    "MaxPool": _max_pool,
}
