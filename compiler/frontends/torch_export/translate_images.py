"""
Convolutions, poolings and resizing. One-dimensional ones are those of images of height 1.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_layers import filled
from compiler.frontends.torch_export.translate_shapes import cut, join

aten = torch.ops.aten
Sizes = int | Sequence[int]
MOST_PARTS = 64
"""Rows or columns of an adaptive pooling that are computed one by one."""


def pair(sizes: Sizes, before: int) -> tuple[int, int]:
    """
    Sizes for height and width: torch gives one for both, or one for each; of one-dimensional ops, one for the width.

    Args:
        sizes: what torch gives.
        before: what the height has in an image of height 1; -1 where the op is two-dimensional.
    """
    given = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if before >= 0:
        return (before, int(given[0]))
    return (int(given[0]), int(given[-1]))


def as_image(g: Graph, x: Value, flat: bool) -> Value:
    """
    The input as (N, C, H, W), whatever of that it lacks.
    """
    dims = dims_of(x)
    if flat:
        dims = (*dims[:-1], 1, dims[-1])
    if len(dims) == 3:
        dims = (1, *dims)
    if len(dims) != 4:
        g.refuse(f"takes one or two spatial dims, found an input of dims {dims_of(x)}")
    return g.reshape(g.floating(x), dims)


def _convolve(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    output_padding: Sizes | None = None,
) -> Value:
    known = g.floating(g.known(weight, "the weight"))
    flat = known.ndim == 3
    if known.ndim not in (3, 4):
        g.refuse("is compiled with one or two spatial dims")
    if flat:
        known = known.unsqueeze(2)
        g.named.setdefault(id(known), g.named.get(id(weight), g.label))
    zero, one = (0, 1) if flat else (-1, -1)
    channels = known.shape[1] * groups if output_padding is not None else known.shape[0]
    shift = filled(channels, 0.0) if bias is None else g.floating(g.known(bias, "the bias"))
    attributes: dict[str, Any] = {
        "stride": pair(stride, one),
        "padding": pair(padding, zero),
        "dilation": pair(dilation, one),
        "groups": int(groups),
    }
    inputs = [as_image(g, x, flat), known, shift]
    if output_padding is None:
        return g.reshape(g.add("conv", inputs, **attributes), g.result_dims())
    attributes["output_padding"] = pair(output_padding, zero)
    return g.reshape(g.add("conv_transposed", inputs, **attributes), g.result_dims())


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
    return _convolve(g, x, weight, bias, stride, padding, dilation, groups, output_padding)


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
) -> Value:
    spare = output_padding if transposed else None
    return _convolve(g, x, weight, bias, stride, padding, dilation, groups, spare)


def check_places(g: Graph) -> None:
    """
    Refuses a pooling of which the places of the maxima are used.
    """
    assert g.node is not None
    if any(user.args[1] and (user.users or user.op == "output") for user in g.node.users):
        g.refuse("is compiled without the places of the maxima (return_indices=False)")


def _max_pool(flat: bool) -> Translation:
    def translate(
        g: Graph,
        x: Value,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> Value:
        zero, one = (0, 1) if flat else (-1, -1)
        found = g.add(
            "max_pool",
            [as_image(g, x, flat)],
            kernel=pair(kernel, one),
            stride=pair(stride or kernel, one),
            padding=pair(padding, zero),
            dilation=pair(dilation, one),
            ceil=bool(ceil_mode),
        )
        return g.reshape(found, (*dims_of(x)[: len(dims_of(x)) - (1 if flat else 2)], *found.dims[3 if flat else 2 :]))

    return translate


def _max_pool_with_places(g: Graph, x: Value, *arguments: Any, **others: Any) -> Value:
    check_places(g)
    return [_max_pool(False)(g, x, *arguments, **others), None]


def _avg_pool(flat: bool) -> Translation:
    def translate(
        g: Graph,
        x: Value,
        kernel: Sizes,
        stride: Sizes = (),
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Value:
        zero, one = (0, 1) if flat else (-1, -1)
        window = math.prod(pair(kernel, one))
        if divisor_override is not None and ceil_mode:
            g.refuse("is compiled with ceil_mode or with divisor_override, not with both")
        found = g.add(
            "avg_pool",
            [as_image(g, x, flat)],
            kernel=pair(kernel, one),
            stride=pair(stride or kernel, one),
            padding=pair(padding, zero),
            ceil=bool(ceil_mode),
            count_padding=bool(count_include_pad) or divisor_override is not None,
        )
        if divisor_override is not None:
            found = g.broadcast("times", found, window / divisor_override)
        return g.reshape(found, g.result_dims())

    return translate


def _adaptive_avg_pool(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Sizes) -> Value:
        image = as_image(g, x, flat)
        dims = g.result_dims()
        wanted = (1, dims[-1]) if flat else dims[-2:]
        return g.reshape(g.add("adaptive_avg_pool", [image], size=tuple(wanted)), dims)

    return translate


def _adaptive_max_pool(flat: bool) -> Translation:
    """
    Where the sizes divide, an ordinary pooling; else each row and column of the result by itself.
    """

    def translate(g: Graph, x: Value, size: Sizes) -> Value:
        check_places(g)
        image = as_image(g, x, flat)
        dims = g.result_dims(0)
        wanted = (1, dims[-1]) if flat else dims[-2:]
        if image.dims[2] % wanted[0] or image.dims[3] % wanted[1]:
            found = _largest_of_parts(g, _largest_of_parts(g, image, 2, wanted[0]), 3, wanted[1])
            return [g.reshape(found, dims), None]
        kernel = (image.dims[2] // wanted[0], image.dims[3] // wanted[1])
        attributes: dict[str, Any] = {
            "kernel": kernel,
            "stride": kernel,
            "padding": (0, 0),
            "dilation": (1, 1),
            "ceil": False,
        }
        return [g.reshape(g.add("max_pool", [image], **attributes), dims), None]

    return translate


def _largest_of_parts(g: Graph, x: Value, axis: int, count: int) -> Value:
    """
    The largest elements of as many parts of an axis, which overlap by one where they do not divide it.
    """
    length = dims_of(x)[axis]
    if count > MOST_PARTS:
        g.refuse(f"is compiled for {MOST_PARTS} rows or columns at most where they do not divide the input's")
    parts = [cut(g, x, axis, at * length // count, -(-(at + 1) * length // count)) for at in range(count)]
    return join(g, [g.add("reduce_max", [part], axes=(axis,), keep=True) for part in parts], axis)


def _scales(given: Sequence[float | None] | None, flat: bool) -> tuple[float, float]:
    """
    Factors of height and width as the row has them: 0 where the sizes say it.
    """
    factors = tuple(0.0 if not factor else float(factor) for factor in given or ())
    if not factors:
        return (0.0, 0.0)
    return (0.0, factors[0]) if flat else (factors[0], factors[-1])


def _resized(g: Graph, op: str, x: Value, flat: bool, **attributes: Any) -> Value:
    dims = g.result_dims()
    size = (1, dims[-1]) if flat else tuple(dims[-2:])
    return g.reshape(g.add(op, [as_image(g, x, flat)], size=size, **attributes), dims)


def _nearest(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, scale_factors: Sequence[float] | None = None) -> Value:
        return _resized(g, "upsample_nearest", x, flat, scales=_scales(scale_factors, flat))

    return translate


def _nearest_scales(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, *scales: float | None) -> Value:
        return _resized(g, "upsample_nearest", x, flat, scales=_scales(scales, flat))

    return translate


def _bilinear(flat: bool) -> Translation:
    def translate(
        g: Graph, x: Value, size: Any, align_corners: bool, scale_factors: Sequence[float] | None = None
    ) -> Value:
        scales = _scales(scale_factors, flat)
        return _resized(g, "upsample_bilinear", x, flat, align_corners=bool(align_corners), scales=scales)

    return translate


def _bilinear_scales(flat: bool) -> Translation:
    def translate(g: Graph, x: Value, size: Any, align_corners: bool, *scales: float | None) -> Value:
        found = _scales(scales, flat)
        return _resized(g, "upsample_bilinear", x, flat, align_corners=bool(align_corners), scales=found)

    return translate


TRANSLATIONS: dict[Any, Translation] = {
    aten.conv1d.default: _conv,
    aten.conv2d.default: _conv,
    aten.conv1d.padding: _conv_padding,
    aten.conv2d.padding: _conv_padding,
    aten.conv_transpose1d.default: _conv_transposed,
    aten.conv_transpose2d.input: _conv_transposed,
    aten.convolution.default: _convolution,
    aten.max_pool1d.default: _max_pool(True),
    aten.max_pool2d.default: _max_pool(False),
    aten.max_pool2d_with_indices.default: _max_pool_with_places,
    aten.avg_pool1d.default: _avg_pool(True),
    aten.avg_pool2d.default: _avg_pool(False),
    aten.adaptive_avg_pool1d.default: _adaptive_avg_pool(True),
    aten.adaptive_avg_pool2d.default: _adaptive_avg_pool(False),
    aten._adaptive_avg_pool2d.default: _adaptive_avg_pool(False),
    aten.adaptive_max_pool1d.default: _adaptive_max_pool(True),
    aten.adaptive_max_pool2d.default: _adaptive_max_pool(False),
    aten.upsample_nearest1d.vec: _nearest(True),
    aten.upsample_nearest2d.vec: _nearest(False),
    aten.upsample_nearest1d.default: _nearest_scales(True),
    aten.upsample_nearest2d.default: _nearest_scales(False),
    aten.upsample_linear1d.vec: _bilinear(True),
    aten.upsample_bilinear2d.vec: _bilinear(False),
    aten.upsample_linear1d.default: _bilinear_scales(True),
    aten.upsample_bilinear2d.default: _bilinear_scales(False),
}
