"""
Poolings of one spatial dim, which are those of images of height 1, of two and of three.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
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


def _counted(g: Graph, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None) -> bool:
    """
    Whether a mean counts the padding: where another divisor is wanted, all windows must count the same.
    """
    if divisor_override is not None and ceil_mode:
        g.refuse("is compiled with ceil_mode or with divisor_override, not with both")
    return bool(count_include_pad) or divisor_override is not None


def _divided(g: Graph, means: Value, window: int, divisor_override: int | None) -> Value:
    """
    Means of windows of this many elements, divided by another number instead.
    """
    return means if divisor_override is None else g.broadcast("times", means, window / divisor_override)


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
        counted = _counted(g, ceil_mode, count_include_pad, divisor_override)
        found = g.add(
            "avg_pool",
            [as_image(g, x, flat)],
            kernel=pair(kernel, one),
            stride=pair(stride or kernel, one),
            padding=pair(padding, zero),
            ceil=bool(ceil_mode),
            count_padding=counted,
        )
        return g.reshape(_divided(g, found, math.prod(pair(kernel, one)), divisor_override), g.result_dims())

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


def three(sizes: Sizes) -> tuple[int, int, int]:
    """
    Sizes for depth, height and width: torch gives one for all, or one for each.
    """
    given = (sizes,) * 3 if isinstance(sizes, int) else tuple(map(int, sizes))
    depth, height, width = given * 3 if len(given) == 1 else given
    return depth, height, width


def _pool_volume(g: Graph, op: str, x: Value, sizes: dict[str, Sizes], **others: Any) -> Value:
    """
    A pooling of (..., depth, height, width), whose windows are boxes: of each slice, then along the depth.
    """
    whole = {name: three(given) for name, given in sizes.items()}
    *lead, depth, height, width = dims_of(x)
    channels = math.prod(lead)
    slices = g.reshape(g.floating(x), (channels, depth, height, width))
    slices = g.add(op, [slices], **{name: each[1:] for name, each in whole.items()}, **others)
    height, width = slices.dims[2:]
    columns = g.reshape(slices, (1, channels, depth, height * width))
    along = {name: (each[0], 0 if name == "padding" else 1) for name, each in whole.items()}
    found = g.add(op, [columns], **along, **others)
    return g.reshape(found, (*lead, found.dims[2], height, width))


def _max_pool_volume(
    g: Graph,
    x: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Value:
    sizes = {"kernel": kernel, "stride": stride or kernel, "padding": padding, "dilation": dilation}
    return _pool_volume(g, "max_pool", x, sizes, ceil=bool(ceil_mode))


def _max_pool_volume_with_places(g: Graph, x: Value, *arguments: Any, **others: Any) -> Value:
    check_places(g)
    return [_max_pool_volume(g, x, *arguments, **others), None]


def _avg_pool_volume(
    g: Graph,
    x: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    counted = _counted(g, ceil_mode, count_include_pad, divisor_override)
    sizes = {"kernel": kernel, "stride": stride or kernel, "padding": padding}
    found = _pool_volume(g, "avg_pool", x, sizes, ceil=bool(ceil_mode), count_padding=counted)
    return _divided(g, found, math.prod(three(kernel)), divisor_override)


def _adaptive_avg_pool_volume(g: Graph, x: Value, size: Sizes) -> Value:
    *lead, depth, height, width = g.result_dims()
    channels = math.prod(lead)
    slices = g.reshape(g.floating(x), (channels, *dims_of(x)[-3:]))
    slices = g.add("adaptive_avg_pool", [slices], size=(height, width))
    columns = g.reshape(slices, (1, channels, slices.dims[1], height * width))
    found = g.add("adaptive_avg_pool", [columns], size=(depth, height * width))
    return g.reshape(found, (*lead, depth, height, width))


def _adaptive_max_pool_volume(g: Graph, x: Value, size: Sizes) -> Value:
    check_places(g)
    dims = g.result_dims(0)
    found = g.floating(x)
    for axis in range(len(dims) - 3, len(dims)):
        found = _largest_of_parts(g, found, axis, dims[axis])
    return [found, None]


TRANSLATIONS: dict[Any, Translation] = {
    aten.max_pool1d.default: _max_pool(True),
    aten.max_pool2d.default: _max_pool(False),
    aten.max_pool2d_with_indices.default: _max_pool_with_places,
    aten.max_pool3d.default: _max_pool_volume,
    aten.max_pool3d_with_indices.default: _max_pool_volume_with_places,
    aten.avg_pool1d.default: _avg_pool(True),
    aten.avg_pool2d.default: _avg_pool(False),
    aten.avg_pool3d.default: _avg_pool_volume,
    aten.adaptive_avg_pool1d.default: _adaptive_avg_pool(True),
    aten.adaptive_avg_pool2d.default: _adaptive_avg_pool(False),
    aten._adaptive_avg_pool2d.default: _adaptive_avg_pool(False),
    aten.adaptive_avg_pool3d.default: _adaptive_avg_pool_volume,
    aten._adaptive_avg_pool3d.default: _adaptive_avg_pool_volume,
    aten.adaptive_max_pool1d.default: _adaptive_max_pool(True),
    aten.adaptive_max_pool2d.default: _adaptive_max_pool(False),
    aten.adaptive_max_pool3d.default: _adaptive_max_pool_volume,
}
