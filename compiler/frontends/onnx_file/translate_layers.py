"""
Products of matrices, normalisation.
"""

import numpy as np

from compiler.frontends.computed import Computed
from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of, kind_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.frontends.onnx_file.translate_shapes import permute
from compiler.ir import DType
from compiler.ops import Array


def filled(g: Graph, dims: tuple[int, ...], value: float) -> Array:
    """
    A constant of one value.
    """
    g.need_small(dims)
    return np.full(dims, value, np.float32)


def _need_floats(g: Graph, *values: Value) -> None:
    if any(value is not None and kind_of(value) is not DType.FLOAT32 for value in values):
        g.refuse("is compiled for floats only")


def _turned(g: Graph, weight: Array) -> Array:
    """
    A matrix of weights the other way round, under its own name.
    """
    return g.renamed(np.ascontiguousarray(weight.T), weight)


def matmul(g: Graph, x: Value, y: Value) -> Value:
    """
    A product as NumPy's matmul has it; of a known matrix on the right, a linear layer.
    """
    _need_floats(g, x, y)
    left, right = dims_of(x), dims_of(y)
    if not left or not right:
        g.refuse("multiplies a number, which is no matrix")
    if isinstance(x, Computed) and isinstance(y, np.ndarray) and len(right) == 2:
        return g.add("linear_over", [x, _turned(g, y), filled(g, right[1:], 0.0)])
    tall = (1, *left) if len(left) == 1 else left
    wide = (*right, 1) if len(right) == 1 else right
    rank = max(len(tall), len(wide))
    inputs = [g.reshape(v, (1,) * (rank - len(dims)) + dims) for v, dims in ((x, tall), (y, wide))]
    found = g.add("matmul", inputs)
    dims = list(dims_of(found))
    if len(right) == 1:
        del dims[-1]
    if len(left) == 1:
        del dims[len(dims) - (1 if len(right) == 1 else 2)]
    return g.reshape(found, dims)


def _matmul(g: Graph, given: Given, has: Has) -> Value:
    """
    A product; with a third input, which only `biases.py` gives, that is added.
    """
    x, y, bias = given[0], given[1], at(given, 2)
    if bias is None or not isinstance(x, Computed) or not isinstance(y, np.ndarray):
        found = matmul(g, x, y)
        return found if bias is None else g.broadcast("plus", found, bias)
    _need_floats(g, x, y, bias)
    return g.add("linear_over", [x, _turned(g, y), bias])


def _gemm(g: Graph, given: Given, has: Has) -> Value:
    x, y, shift = given[0], given[1], at(given, 2)
    _need_floats(g, x, y, shift)
    alpha, beta = has.get("alpha", 1.0), has.get("beta", 1.0)
    x = permute(g, x, (1, 0)) if has.get("transA", 0) else x
    known = isinstance(x, Computed) and isinstance(y, np.ndarray) and (shift is None or isinstance(shift, np.ndarray))
    if known and (shift is None or dims_of(shift)[:-1] in ((), (1,))):
        weight = y if has.get("transB", 0) else _turned(g, y)
        units = len(weight)
        bias = filled(g, (units,), 0.0)
        if shift is not None:
            flat = np.broadcast_to(shift.reshape(-1), (units,))
            bias = g.renamed(np.ascontiguousarray(flat * np.float32(beta)), shift)
        if alpha != 1:
            weight = g.renamed(weight * np.float32(alpha), y)
        return g.add("linear_over", [x, weight, bias])
    y = permute(g, y, (1, 0)) if has.get("transB", 0) else y
    found = matmul(g, x, y)
    found = found if alpha == 1 else g.broadcast("times", found, alpha)
    if shift is None:
        return found
    return g.broadcast("plus", found, shift if beta == 1 else g.broadcast("times", shift, beta))


def _batch_norm(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    names = ("the scale", "the bias", "the mean", "the variance")
    scale, bias, mean, variance = (
        g.known(v, what).astype(np.float64) for v, what in zip(given[1:], names, strict=True)
    )
    if has.get("training_mode", 0):
        g.refuse("takes the statistics of its inputs, as in training: export the model in evaluation mode")
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + has.get("epsilon", 1e-5))
        shift = bias - mean * factor
    dims = (-1, *(1,) * (len(dims_of(x)) - 2))
    factors, shifts = (v.astype(np.float32).reshape(dims) for v in (factor, shift))
    moved = g.broadcast("times", x, g.renamed(factors, given[1]))
    return [g.broadcast("plus", moved, g.renamed(shifts, given[2]))]


def _scaled(g: Graph, row: str, given: Given, dims: tuple[int, ...], **attributes: float) -> Value:
    """
    A norm over the last dims, whose weight and bias may be computed, smaller or left out.
    """
    x, scale, bias = given[0], at(given, 1), at(given, 2)
    has_bias = row == "layer_norm"
    plain = [filled(g, dims, 1.0), filled(g, dims, 0.0)][: 2 if has_bias else 1]
    if all(value is None or isinstance(value, np.ndarray) for value in (scale, bias)):
        found = [scale, bias][: len(plain)]
        if all(value is None or not set(dims_of(value)[: -len(dims)]) - {1} for value in found):
            full = [even if value is None else _full(g, value, dims) for value, even in zip(found, plain, strict=True)]
            return g.add(row, [x, *full], count=len(dims), **attributes)
    result = g.add(row, [x, *plain], count=len(dims), **attributes)
    result = result if scale is None else g.broadcast("times", result, scale)
    return result if bias is None else g.broadcast("plus", result, bias)


def _full(g: Graph, value: Array, dims: tuple[int, ...]) -> Array:
    if value.shape == dims:
        return value
    return g.renamed(np.ascontiguousarray(np.broadcast_to(value.reshape(value.shape[-len(dims) :]), dims)), value)


def _layer_norm(g: Graph, given: Given, has: Has) -> Value:
    dims = dims_of(given[0])
    axis = g.axis(has.get("axis", -1), len(dims))
    return [_scaled(g, "layer_norm", given, dims[axis:], epsilon=float(has.get("epsilon", 1e-5)))]


def _rms_norm(g: Graph, given: Given, has: Has) -> Value:
    dims = dims_of(given[0])
    axis = g.axis(has.get("axis", -1), len(dims))
    return _scaled(g, "rms_norm", given, dims[axis:], epsilon=float(has.get("epsilon", 1e-5)))


def _groups(g: Graph, given: Given, groups: int, epsilon: float) -> Value:
    """
    A norm of groups of channels, with a weight and a bias for each channel or each group.
    """
    channels = dims_of(given[0])[1]
    weights = []
    for value, what in zip(given[1:3], ("the scale", "the bias"), strict=True):
        known = g.known(value, what)
        each = known if known.size == channels else g.renamed(np.repeat(known, channels // groups), known)
        weights.append(each)
    return g.add("group_norm", [given[0], *weights], groups=groups, epsilon=epsilon)


def _instance_norm(g: Graph, given: Given, has: Has) -> Value:
    return _groups(g, given, dims_of(given[0])[1], float(has.get("epsilon", 1e-5)))


def _group_norm(g: Graph, given: Given, has: Has) -> Value:
    return _groups(g, given, int(has["num_groups"]), float(has.get("epsilon", 1e-5)))


def _lp_norm(g: Graph, given: Given, has: Has) -> Value:
    x = given[0]
    axis = g.axis(has.get("axis", -1), len(dims_of(x)))
    if has.get("p", 2) == 2:
        size = g.add("sqrt", [g.add("reduce_sum", [g.add("square", [x])], axes=(axis,), keep=True)])
    else:
        size = g.add("reduce_sum", [g.add("absolute", [x])], axes=(axis,), keep=True)
    return g.broadcast("over", x, g.broadcast("where", g.broadcast("equal", size, 0.0), 1.0, size))


def _mean_variance(g: Graph, given: Given, has: Has) -> Value:
    x, rank = given[0], len(dims_of(given[0]))
    axes = g.axes(has.get("axes", (0, 2, 3)), rank)
    centred = g.broadcast("minus", x, g.add("reduce_mean", [x], axes=axes, keep=True))
    deviation = g.add("sqrt", [g.add("reduce_mean", [g.add("square", [centred])], axes=axes, keep=True)])
    return g.broadcast("over", centred, g.broadcast("plus", deviation, 1e-9))


TRANSLATIONS: dict[str, Translation] = {
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MatMul": _matmul,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms_norm,
}
