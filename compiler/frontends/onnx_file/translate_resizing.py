"""
Resize: a row where it computes the same, else taps, axis by axis: so much of this element, so much of that.
"""

import math
from typing import TypeAlias

import numpy as np

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_images import as_image
from compiler.ops import Array
from compiler.ops.upsampling import linear_places, nearest_places

Taps: TypeAlias = list[tuple[Array, Array]]
"""Of each tap, the index of the element and its weight, for each element of the result."""

LARGEST_SIDE = 1 << 17
COORDINATES = ("asymmetric", "align_corners", "half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")


def _sizes(g: Graph, given: Given, has: Has) -> tuple[list[int], list[float]]:
    """
    The dims of the result and the scales, which the file says in one of two ways.
    """
    dims = list(dims_of(given[0]))
    axes = tuple(g.axis(axis, len(dims)) for axis in has.get("axes", range(len(dims))))
    scales, sizes = ([1.0] * len(dims)), list(dims)
    if at(given, 3) is not None and g.known(given[3], "the sizes").size:
        wanted = g.integers(given[3], "the sizes")
        policy = has.get("keep_aspect_ratio_policy", "stretch")
        ratios = [size / dims[axis] for size, axis in zip(wanted, axes, strict=True)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            for axis in axes:
                scales[axis], sizes[axis] = ratio, math.floor(ratio * dims[axis] + 0.5)
            return sizes, scales
        for ratio, size, axis in zip(ratios, wanted, axes, strict=True):
            scales[axis], sizes[axis] = ratio, size
        return sizes, scales
    for scale, axis in zip(g.known(at(given, 2), "the scales").reshape(-1), axes, strict=True):
        if not math.isfinite(scale) or scale <= 0:
            g.refuse(f"has the scale {scale}")
        scales[axis] = float(scale)
        # In float32, as onnxruntime has it: 10 times the float32 nearest to 0.7 is 7 there, and less in float64.
        sizes[axis] = math.floor(np.float32(dims[axis]) * np.float32(scale))
    return sizes, scales


def _places(g: Graph, mode: str, size: int, result: int, ratio: float) -> Array:
    """
    Along one axis, where in the input each element of the result lies.

    Computed in float32, as onnxruntime computes it: a nearest element that rounding moves must move here too.
    """
    x, scale = np.arange(result, dtype=np.float32), np.float32(ratio)
    if mode not in COORDINATES:
        g.refuse(f"is not compiled with the coordinates {mode!a}")
    if mode == "asymmetric":
        return x / scale
    if mode == "align_corners":
        return x * np.float32(size - 1) / np.float32(max(result - 1, 1))
    if mode == "pytorch_half_pixel" and result <= 1:
        return np.zeros(result, np.float32)
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (x + 0.5) / scale - 0.5
    adjustment = result / (scale * size)
    return size / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5


def _nearest(g: Graph, mode: str, places: Array) -> Array:
    if mode == "round_prefer_floor":
        return np.ceil(places - 0.5)
    if mode == "round_prefer_ceil":
        return np.floor(places + 0.5)
    return np.floor(places) if mode == "floor" else np.ceil(places)


def _taps(places: Array, size: int, has: Has) -> Taps:
    """
    The elements around each place and their weights: two of a line, four of a cubic curve.
    """
    first = np.floor(places)
    far = places - first
    if has.get("mode") == "linear":
        offsets, weights = [0, 1], [1 - far, far]
    else:
        a = has.get("cubic_coeff_a", -0.75)
        offsets, weights = [-1, 0, 1, 2], []
        for offset in offsets:
            d = np.abs(far - offset)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            weights.append(np.where(d <= 1, near, a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a))
    indices = [first + offset for offset in offsets]
    if has.get("exclude_outside", 0):
        weights = [np.where((i < 0) | (i >= size), 0, w) for i, w in zip(indices, weights, strict=True)]
        total = np.sum(weights, axis=0)
        weights = [weight / total for weight in weights]
    return [(np.clip(i, 0, size - 1).astype(np.int64), w) for i, w in zip(indices, weights, strict=True)]


def _row(g: Graph, given: Given, has: Has, sizes: list[int], scales: list[float]) -> Value:
    """
    The row that computes this; None if there is none.
    """
    x, dims = given[0], dims_of(given[0])
    if len(dims) not in (3, 4) or sizes[:2] != list(dims[:2]) or has.get("exclude_outside", 0):
        return None
    coordinates = has.get("coordinate_transformation_mode", "half_pixel")
    nearest, corners = has.get("mode", "nearest") == "nearest", coordinates == "align_corners"
    for axis in range(2, len(dims)):
        size, result = dims[axis], sizes[axis]
        places = _places(g, coordinates, size, result, scales[axis])
        if nearest:
            wanted = np.clip(_nearest(g, has.get("nearest_mode", "round_prefer_floor"), places), 0, size - 1)
            if not np.array_equal(wanted, nearest_places(size, result, 0.0)):
                return None
            continue
        before, after, far = linear_places(size, result, 0.0, corners)
        mixed = np.clip(places, 0, size - 1)
        if not np.allclose(before + far * (after - before), mixed, rtol=0, atol=1e-6 * max(size, 1)):
            return None
    height = sizes[2] if len(dims) == 4 else 1
    image = as_image(g, x)
    if nearest:
        found = g.add("upsample_nearest", [image], size=(height, sizes[-1]))
    else:
        found = g.add("upsample_bilinear", [image], size=(height, sizes[-1]), align_corners=corners)
    return g.reshape(found, sizes)


def _resize(g: Graph, given: Given, has: Has) -> Value:
    if has.get("antialias", 0):
        g.refuse("is compiled without antialias")
    sizes, scales = _sizes(g, given, has)
    if min(sizes) < 1 or max(sizes) > LARGEST_SIDE:
        g.refuse(f"gives the sizes {tuple(sizes)}; compiled are 1 to {LARGEST_SIDE:,}")
    mode = has.get("mode", "nearest")
    found = _row(g, given, has, sizes, scales) if mode in ("nearest", "linear") else None
    if found is not None:
        return found
    x = given[0]
    for axis, (result, scale) in enumerate(zip(sizes, scales, strict=True)):
        size = dims_of(x)[axis]
        if size == result and scale == 1:
            continue
        coordinates = has.get("coordinate_transformation_mode", "half_pixel")
        places = _places(g, coordinates, size, result, scale)
        if mode == "nearest":
            nearest = _nearest(g, has.get("nearest_mode", "round_prefer_floor"), places)
            x = g.add("take", [x, np.clip(nearest, 0, size - 1).astype(np.int64)], axis=axis)
            continue
        total: Value = None
        for indices, weights in _taps(places, size, has):
            line = weights.astype(np.float32).reshape(-1, *(1,) * (len(sizes) - axis - 1))
            part = g.broadcast("times", g.add("take", [x, indices], axis=axis), line)
            total = part if total is None else g.broadcast("plus", total, part)
        x = total
    return x


TRANSLATIONS: dict[str, Translation] = {"Resize": _resize}
