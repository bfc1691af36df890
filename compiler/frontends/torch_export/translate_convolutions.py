"""
Convolutions of one spatial dim, which are those of images of height 1, of two and of three.
"""

import math
from typing import Any

import torch

from compiler.frontends.computed import Computed
from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_images import Sizes, as_image, pair, three
from compiler.frontends.torch_export.translate_layers import filled, matmul
from compiler.frontends.torch_export.translate_shapes import cut, join, pad, permute

aten = torch.ops.aten


def _convolve(
    g: Graph, x: Value, weight: Value, bias: Value, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Value:
    kernel = dims_of(weight)[2:]
    if len(kernel) > 2:
        return _convolve_volume(g, x, weight, bias, three(stride), three(padding), three(dilation), groups)
    flat = len(kernel) == 1
    attributes = _attributes(flat, stride, padding, dilation, groups)
    found = _convolve_images(g, as_image(g, x, flat), _as_images(g, weight, flat), bias, **attributes)
    return g.reshape(found, g.result_dims())


def _convolve_transposed(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Value:
    _, channels, *kernel = dims_of(weight)
    if len(kernel) > 2:
        g.refuse("is compiled with one or two spatial dims, where it is transposed")
    flat = len(kernel) == 1
    attributes = _attributes(flat, stride, padding, dilation, groups)
    attributes["output_padding"] = pair(output_padding, 0 if flat else -1)
    known = g.floating(_as_images(g, g.known(weight, "the weight"), flat))
    inputs = [as_image(g, x, flat), known, _shift(g, bias, channels * groups)]
    return g.reshape(g.add("conv_transposed", inputs, **attributes), g.result_dims())


def _attributes(flat: bool, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> dict[str, Any]:
    zero, one = (0, 1) if flat else (-1, -1)
    return {
        "stride": pair(stride, one),
        "padding": pair(padding, zero),
        "dilation": pair(dilation, one),
        "groups": int(groups),
    }


def _as_images(g: Graph, weight: Value, flat: bool) -> Value:
    """
    A weight of two spatial dims.
    """
    *first, last = dims_of(weight)
    return _reshaped(g, weight, (*first, 1, last)) if flat else weight


def _reshaped(g: Graph, weight: Value, dims: tuple[int, ...]) -> Value:
    """
    A weight with other dims, under the name that it has.
    """
    found = g.reshape(weight, dims)
    if isinstance(weight, torch.Tensor):
        g.named.setdefault(id(found), g.named.get(id(weight), g.label))
    return found


def _shift(g: Graph, bias: Value, filters: int) -> torch.Tensor:
    found: torch.Tensor = filled(filters, 0.0) if bias is None else g.floating(g.known(bias, "the bias"))
    return found


def _convolve_images(g: Graph, images: Value, weight: Value, bias: Value, **attributes: Any) -> Computed:
    """
    A convolution of (N, C, H, W).
    """
    if isinstance(weight, torch.Tensor):
        return g.add("conv", [images, g.floating(weight), _shift(g, bias, len(weight))], **attributes)
    found = _convolve_computed(g, images, g.floating(weight), **attributes)
    return found if bias is None else g.broadcast("plus", found, g.reshape(g.floating(bias), (dims_of(bias)[0], 1, 1)))


def _convolve_computed(
    g: Graph,
    images: Value,
    weight: Computed,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Computed:
    """
    A convolution whose filters the model computes: they are multiplied, as a matrix, by what each window sees.
    """
    filters, channels, *kernel = weight.dims
    padded = pad(g, images, (padding[1], padding[1], padding[0], padding[0]))
    rows, columns = (_places(*sides) for sides in zip(dims_of(padded)[2:], kernel, stride, dilation, strict=True))
    size = (len(rows[0]), len(columns[0]))
    seen = [
        cut(g, cut(g, padded, 2, row.start, row.stop, row.step), 3, column.start, column.stop, column.step)
        for row in rows
        for column in columns
    ]
    count, window = dims_of(images)[0], len(seen) * channels
    apart = [g.reshape(each, (count, groups, channels, 1, math.prod(size))) for each in seen]
    windows = g.reshape(join(g, apart, 3), (count, groups, window, math.prod(size)))
    product = matmul(g, g.reshape(weight, (1, groups, filters // groups, window)), windows)
    found: Computed = g.reshape(product, (count, filters, *size))
    return found


def _places(length: int, kernel: int, stride: int, dilation: int) -> list[range]:
    """
    Of each element of a window, where along an axis it is in all windows.
    """
    count = (length - dilation * (kernel - 1) - 1) // stride + 1
    starts = range(0, dilation * kernel, dilation)
    return [range(start, start + (count - 1) * stride + 1, stride) for start in starts]


def _convolve_volume(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    stride: tuple[int, int, int],
    padding: tuple[int, int, int],
    dilation: tuple[int, int, int],
    groups: int,
) -> Value:
    """
    One image for each slice of the result: its channels are those of all slices that the window sees.
    """
    filters, channels, kernel, *flat = dims_of(weight)
    volumes = g.reshape(g.floating(x), (1, *dims_of(x))[-5:])
    padded = permute(g, pad(g, volumes, (0, 0, 0, 0, padding[0], padding[0])), (0, 2, 1, 3, 4))
    count, length, _, height, width = dims_of(padded)
    places = _places(length, kernel, stride[0], dilation[0])
    depth = len(places[0])
    seen = [cut(g, padded, 1, place.start, place.stop, place.step) for place in places]
    apart = [g.reshape(each, (count * depth, groups * channels, 1, height, width)) for each in seen]
    images = g.reshape(join(g, apart, 2), (count * depth, groups * channels * kernel, height, width))
    found = _convolve_images(
        g,
        images,
        _reshaped(g, weight, (filters, channels * kernel, *flat)),
        bias,
        stride=stride[1:],
        padding=padding[1:],
        dilation=dilation[1:],
        groups=int(groups),
    )
    slices = g.reshape(found, (count, depth, filters, *found.dims[2:]))
    return g.reshape(permute(g, slices, (0, 2, 1, 3, 4)), g.result_dims())


def _conv(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Value:
    return _convolve(g, x, weight, bias, stride, padding, dilation, groups)


def _conv_padding(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Sizes = 1,
    padding: str = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
) -> Value:
    """
    A convolution that is padded to keep its size; where that is odd, torch pads one more at the end.
    """
    if padding == "valid":
        return _convolve(g, x, weight, bias, stride, 0, dilation, groups)
    kernel = dims_of(weight)[2:]
    steps = (dilation,) * len(kernel) if isinstance(dilation, int) else tuple(dilation) * (len(kernel) // len(dilation))
    total = [step * (size - 1) for step, size in zip(steps, kernel, strict=True)]
    if any(size % 2 for size in total):
        spare = (0,) * (len(dims_of(x)) - len(total))
        after = (*spare, *(size % 2 for size in total))
        x = g.add("surround", [g.floating(x)], before=(0,) * len(after), after=after, value=0.0)
    return _convolve(g, x, weight, bias, stride, [size // 2 for size in total], dilation, groups)


def _conv_transposed(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Value:
    return _convolve_transposed(g, x, weight, bias, stride, padding, output_padding, dilation, groups)


def _convolution(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    *_: Any,
) -> Value:
    """
    What every other convolution is for torch, and what a traced module has; that says by which library, besides.
    """
    if transposed:
        return _convolve_transposed(g, x, weight, bias, stride, padding, output_padding, dilation, groups)
    return _convolve(g, x, weight, bias, stride, padding, dilation, groups)


TRANSLATIONS: dict[Any, Translation] = {
    aten.conv1d.default: _conv,
    aten.conv2d.default: _conv,
    aten.conv3d.default: _conv,
    aten.conv1d.padding: _conv_padding,
    aten.conv2d.padding: _conv_padding,
    aten.conv3d.padding: _conv_padding,
    aten.conv_transpose1d.default: _conv_transposed,
    aten.conv_transpose2d.input: _conv_transposed,
    aten.convolution.default: _convolution,
    aten._convolution.default: _convolution,
    aten._convolution.deprecated: _convolution,
}
