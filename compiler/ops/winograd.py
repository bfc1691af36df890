"""
Convolutions of 3 x 3 by Winograd's algorithm: the op `winograd`.

It multiplies transforms of tiles of the image with transforms of the filters, element by element, and transforms the
sums over the channels back.

A tile of 4 x 4 gives 2 x 2 pixels with 16 products instead of 36, one of 6 x 6 gives 4 x 4 with 36 instead of 144.
Winograd, Arithmetic complexity of computations (1980); Lavin and Gray, Fast algorithms for convolutional neural
networks (2016).
"""

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np
from numpy.polynomial import polynomial

from compiler.ir import Tensor
from compiler.ops.convolution import CHANNELS_LAST, image_sizes
from compiler.ops.fused import FusedOp, activate
from compiler.ops.table import Array, Attributes, TensorType, need_float, refuse

WINDOW = 3
"""Rows and columns of the filters."""
POINTS: dict[int, tuple[float, ...]] = {4: (1.0,), 6: (0.625, 1.5)}
"""
Where the polynomials that stand for a tile's rows are evaluated, by the size of tiles: at these numbers, at their
negatives, at 0 and at infinity. 5/8 and 3/2 are exact in float32, and lose half as many digits as the usual 1 and 2.
"""
GROUP = 16
"""What numbers of channels and filters must be multiples of: kernels fill registers of any width."""


@cache
def matrices(size: int) -> tuple[Array, Array, Array]:
    """
    The transforms for tiles of a size, by Toom and Cook.

    Returns:
        Of filters (size, 3), of tiles (size, size), and of sums into pixels (size - 2, size).
    """
    points = [0.0, *(sign * point for point in POINTS[size] for sign in (1, -1))]
    count = size - WINDOW + 1
    filters, tiles, back = np.zeros((size, WINDOW)), np.zeros((size, size)), np.zeros((count, size))
    for row, point in enumerate(points):
        others = [other for other in points if other != point]
        filters[row] = point ** np.arange(WINDOW) / prod(point - other for other in others)
        tiles[row, :-1] = polynomial.polyfromroots(others)
        back[:, row] = point ** np.arange(count)
    filters[-1, -1] = back[-1, -1] = 1
    tiles[-1] = polynomial.polyfromroots(points)
    return filters, tiles, back


def transformed(weight: Array, size: int, width: int) -> Array:
    """
    The transforms (blocks, size, size, channels, width) of a weight (filters, channels, 3, 3), blocks of filters last.
    """
    filters, _, _ = matrices(size)
    found = np.einsum("ia,jb,fcab->ijcf", filters, filters, weight.astype(np.float64)).astype(np.float32)
    return packed(found, width)


def packed(weight: Array, width: int) -> Array:
    """
    Transforms (size, size, channels, filters) in blocks of `width` filters.
    """
    *sizes, count = weight.shape
    return np.ascontiguousarray(weight.reshape(*sizes, count // width, width).transpose(3, 0, 1, 2, 4))


def unpacked(weight: Array) -> Array:
    """
    Transforms (size, size, channels, filters) of those in blocks.
    """
    return np.ascontiguousarray(weight.transpose(1, 2, 3, 0, 4)).reshape(*weight.shape[1:4], -1)


def tiles_along(pixels: int, size: int) -> int:
    """
    The tiles of a size that cover a side of the result.
    """
    return -(-pixels // (size - WINDOW + 1))


def _firsts(pixels: int, size: int) -> list[int]:
    """
    The first pixels of these tiles; the last tile ends where the side does.
    """
    step = size - WINDOW + 1
    return [min(tile * step, pixels - step) for tile in range(tiles_along(pixels, size))]


def _result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    if not 3 <= len(inputs) <= 4:
        refuse("winograd", f"takes a source, a weight, a bias and what is added or nothing, found {len(inputs)} inputs")
    need_float("winograd", *inputs)
    source, weight, bias = inputs[:3]
    channels, height, width = image_sizes("winograd", source, CHANNELS_LAST)
    sizes = weight.fixed_shape
    if len(weight.shape) != 5 or len(sizes) != 5 or sizes[1] != sizes[2] or sizes[1] not in POINTS:
        refuse("winograd", f"the weight must be (blocks, 4, 4, ...) or (blocks, 6, 6, ...), found {weight.shape}")
    if sizes[3] != channels or channels % GROUP or sizes[4] % GROUP or not sizes[0]:
        refuse("winograd", f"the weight {weight.shape} does not fit {channels} channels in groups of {GROUP}")
    filters, least = sizes[0] * sizes[4], sizes[1]
    if bias.shape != (filters,):
        refuse("winograd", f"the bias must have shape {(filters,)}, found {bias.shape}")
    if min(height, width) < least:
        refuse("winograd", f"needs images of {least} x {least} or more, found {height} x {width}")
    result = (source.shape[0], height - WINDOW + 1, width - WINDOW + 1, filters)
    for added in inputs[3:]:
        if added.shape != result:
            refuse("winograd", f"adds {result}, found {added.shape}")
    return TensorType(source.dtype, result)


def _winograd(x: Array, weight: Array, bias: Array, *added: Array, activation: str, **parameters: float) -> Array:
    size = weight.shape[1]
    _, tiles, back = matrices(size)
    step, (height, width) = len(back), (side - WINDOW + 1 for side in x.shape[1:3])
    filters = unpacked(weight)
    result = np.empty((len(x), height, width, filters.shape[-1]), np.result_type(x, weight))
    for y in _firsts(height, size):
        for left in _firsts(width, size):
            tile = np.einsum("ia,jb,nabc->nijc", tiles, tiles, x[:, y : y + size, left : left + size], optimize=True)
            sums = np.einsum("nijc,ijcf->nijf", tile, filters, optimize=True)
            pixels = np.einsum("ai,bj,nijf->nabf", back, back, sums, optimize=True)
            result[:, y : y + step, left : left + step] = pixels
    return activate(sum(added, start=result + bias), activation, parameters)


def _multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    weight = inputs[1]
    _, height, width = image_sizes("winograd", inputs[0], CHANNELS_LAST)
    size = weight.fixed_shape[1]
    tiles = prod(tiles_along(side - WINDOW + 1, size) for side in (height, width))
    return tiles * weight.elements


ROWS = (
    FusedOp(
        name="winograd",
        summary="nn.Conv2d of 3 x 3 without padding, by products of transforms, with what is added to it and the "
        "activation that follows; channels last",
        result=_result,
        reference=_winograd,
        arity=None,
        attributes={"activation": ""},
        template="nest",
        single=True,
        multiply_adds=_multiply_adds,
    ),
)
