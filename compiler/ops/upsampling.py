"""
Images made larger or smaller: the nearest element, or a mean of the four around, of images (N, C, H, W).

The scale is what the caller gave PyTorch, or 0.0 where PyTorch takes it from the sizes: where a given scale times the
size is no whole number, the two differ.
"""

from collections.abc import Sequence

import numpy as np

from compiler.errors import quote
from compiler.ir import Tensor
from compiler.ops.dims import FLOAT, sample, whole
from compiler.ops.image import Pair, images
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse

SMALLEST, LARGEST = 2.0**-24, 2.0**24
"""The scales that are taken, whose products with any size are far from overflow."""


def nearest_places(size: int, result: int, scale: float) -> Array:
    """
    Along one axis, the index of the element that each element of the result is.

    Computed in float32, as PyTorch computes it for float32: an index that rounding moves must move here too. A scale
    does not count where the result is as large as the image, or twice as large.
    Source: aten/src/ATen/native/UpSample.h, nearest_neighbor_compute_source_index and nearest_idx.
    """
    if result in (size, 2 * size):
        return np.arange(result) // (result // size)
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(result)
    places = np.floor(np.arange(result, dtype=np.float32) * step)
    return np.asarray(np.minimum(places.astype(np.int64), size - 1))


def linear_places(size: int, result: int, scale: float, align_corners: bool) -> tuple[Array, Array, Array]:
    """
    Along one axis, the indices of the elements before and after each element of the result, and how far it is between.

    Of a result as large as the image, each element is that of the image, whatever the scale.
    Source: aten/src/ATen/native/UpSample.h, area_pixel_compute_source_index and compute_source_index_and_lambda.
    """
    if result == size:
        return np.arange(size), np.arange(size), np.zeros(size)
    count = np.arange(result, dtype=np.float64)
    if align_corners:
        places = count * ((size - 1) / (result - 1) if result > 1 else 0.0)
    else:
        places = np.maximum((count + 0.5) * (1 / scale if scale else size / result) - 0.5, 0.0)
    before = np.minimum(np.floor(places).astype(np.int64), size - 1)
    return before, np.minimum(before + 1, size - 1), np.clip(places - before, 0.0, 1.0)


def _result(op: str, inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    count, channels, *_ = images(op, inputs[0])
    size, scales = whole(op, attributes, "size", 1, 2), attributes["scales"]
    assert isinstance(scales, tuple)
    known = [scale for scale in scales if isinstance(scale, float) and (not scale or SMALLEST <= scale <= LARGEST)]
    if len(scales) != 2 or len(known) != 2:
        refuse(op, f"attribute scales must be two floats, 0 or from {SMALLEST} to {LARGEST}, found {quote(scales)}")
    return sample(FLOAT, (count, channels, *size))


def _nearest_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _result("upsample_nearest", inputs, attributes)


def _bilinear_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _result("upsample_bilinear", inputs, attributes)


def _nearest(x: Array, size: Pair, scales: tuple[float, float]) -> Array:
    sides = zip(x.shape[-2:], size, scales, strict=True)
    rows, columns = (nearest_places(*side) for side in sides)
    return x[..., rows[:, None], columns]


def _bilinear(x: Array, size: Pair, align_corners: bool, scales: tuple[float, float]) -> Array:
    sides = zip(x.shape[-2:], size, scales, strict=True)
    rows, columns = (linear_places(*side, align_corners) for side in sides)
    before, after, far = rows
    tall = x[..., before, :] * (1 - far)[:, None] + x[..., after, :] * far[:, None]
    before, after, far = columns
    return np.asarray(tall[..., before] * (1 - far) + tall[..., after] * far)


ROWS = (
    Op(
        name="upsample_nearest",
        summary="nn.Upsample, nn.functional.interpolate with mode='nearest'",
        result=_nearest_result,
        reference=_nearest,
        attributes={"size": tuple, "scales": (0.0, 0.0)},
        template="nest",
        single=True,
    ),
    Op(
        name="upsample_bilinear",
        summary="nn.Upsample, nn.functional.interpolate with mode='bilinear'",
        result=_bilinear_result,
        reference=_bilinear,
        attributes={"size": tuple, "align_corners": False, "scales": (0.0, 0.0)},
        template="nest",
        single=True,
    ),
)
