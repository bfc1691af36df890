"""
Ops that make one element of many: sums, means, extremes, norms, softmax.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, axis_of, dims_of, kind_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_shapes import cut, join
from compiler.ir import DType

aten = torch.ops.aten
MOST_STEPS = 64
"""Elements of a running product, each from the one before."""
EXTREMES = {True: ("reduce_max", "index_of_max"), False: ("reduce_min", "index_of_min")}
"""Whether the largest is wanted, and the rows of the value and its place."""
Axes = int | Sequence[int] | None


def axes_of(x: Value, dim: Axes) -> tuple[int, ...]:
    """
    The axes of a reduction, counted from the front; none given: all.
    """
    if dim is None or (not isinstance(dim, int) and not dim):
        return tuple(range(len(dims_of(x))))
    given = (dim,) if isinstance(dim, int) else dim
    return tuple(sorted({axis_of(x, one) for one in given}))


def reduced(g: Graph, row: str, x: Value, dim: Axes, keep: bool) -> Value:
    """
    A reduction; of a tensor without dims, the tensor.
    """
    axes = axes_of(x, dim)
    return g.add(row, [x], axes=axes, keep=bool(keep)) if dims_of(x) else x


def _reduction(row: str, *, keeps_kind: bool = False) -> Translation:
    """
    A reduction in the kind of its result, or, of extremes, of its input.
    """

    def translate(g: Graph, x: Value, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
        return reduced(g, row, x if keeps_kind else g.cast(x, g.result_kind()), dim, keepdim)

    return translate


def _prod(g: Graph, x: Value, *, dtype: Any = None) -> Value:
    return reduced(g, "reduce_product", g.cast(x, g.result_kind()), None, False)


def _truth(row: str) -> Translation:
    def translate(g: Graph, x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
        return reduced(g, row, g.cast(x, DType.BOOL), dim, keepdim)

    return translate


def _place(row: str) -> Translation:
    def translate(g: Graph, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
        if dim is None:
            found = g.add(row, [g.reshape(x, (math.prod(dims_of(x)),))], axis=0, keep=False)
            return g.reshape(found, g.result_dims())
        return g.add(row, [x], axis=axis_of(x, dim), keep=bool(keepdim))

    return translate


def _extreme_with_place(values: str, places: str) -> Translation:
    def translate(g: Graph, x: Value, dim: int, keepdim: bool = False) -> Value:
        axis = axis_of(x, dim)
        extreme = g.add(values, [x], axes=(axis,), keep=bool(keepdim))
        return [extreme, g.add(places, [x], axis=axis, keep=bool(keepdim))]

    return translate


def variance(g: Graph, x: Value, dim: Axes, correction: float, keep: bool) -> tuple[Value, Value]:
    """
    The variance and the mean.
    """
    axes = axes_of(x, dim)
    count = math.prod(dims_of(x)[axis] for axis in axes)
    x = g.floating(x)
    mean = g.add("reduce_mean", [x], axes=axes, keep=True)
    squares = g.add("square", [g.broadcast("minus", x, mean)])
    total = g.add("reduce_sum", [squares], axes=axes, keep=bool(keep))
    divisor = max(count - correction, 0.0)
    found = g.broadcast("times", total, 1 / divisor if divisor else math.nan)
    return found, mean if keep else g.reshape(mean, dims_of(found))


def _var(g: Graph, x: Value, dim: Axes = None, *, correction: float | None = 1, keepdim: bool = False) -> Value:
    return variance(g, x, dim, 1 if correction is None else correction, keepdim)[0]


def _std(g: Graph, x: Value, dim: Axes = None, *, correction: float | None = 1, keepdim: bool = False) -> Value:
    return g.add("sqrt", [_var(g, x, dim, correction=correction, keepdim=keepdim)])


def _var_mean(g: Graph, x: Value, dim: Axes = None, *, correction: float | None = 1, keepdim: bool = False) -> Value:
    return list(variance(g, x, dim, 1 if correction is None else correction, keepdim))


def norm(g: Graph, x: Value, ord: float = 2, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    """
    torch.linalg.vector_norm.
    """
    x = g.floating(x)
    if ord == 2:
        return g.add("sqrt", [reduced(g, "reduce_sum", g.add("square", [x]), dim, keepdim)])
    size = g.add("absolute", [x])
    if ord == 1:
        return reduced(g, "reduce_sum", size, dim, keepdim)
    if math.isinf(ord):
        return reduced(g, "reduce_max" if ord > 0 else "reduce_min", size, dim, keepdim)
    if ord == 0:
        there = g.floating(g.broadcast("unequal", x, 0.0))
        return reduced(g, "reduce_sum", there, dim, keepdim)
    total = reduced(g, "reduce_sum", g.broadcast("power", size, float(ord)), dim, keepdim)
    return g.broadcast("power", total, 1 / float(ord))


def _old_norm(g: Graph, x: Value, p: float | None = 2, dim: Axes = None, keepdim: bool = False) -> Value:
    return norm(g, x, 2 if p is None else p, dim, keepdim)


def _softmax(row: str) -> Translation:
    def translate(g: Graph, x: Value, dim: int, *_: Any, **__: Any) -> Value:
        return g.add(row, [g.floating(x)], axis=axis_of(x, dim))

    return translate


def _log_sum_exp(g: Graph, x: Value, dim: Axes, keepdim: bool = False) -> Value:
    axes = axes_of(x, dim)
    x = g.floating(x)
    largest = g.add("reduce_max", [x], axes=axes, keep=True)
    finite = g.broadcast("less", g.add("absolute", [largest]), math.inf)
    rank = len(dims_of(x))
    shift = g.broadcast("where", finite, largest, g.number(0.0, DType.FLOAT32, rank))
    total = g.add("reduce_sum", [g.add("exp", [g.broadcast("minus", x, shift)])], axes=axes, keep=True)
    return g.reshape(g.broadcast("plus", g.add("log", [total]), shift), g.result_dims())


def _cumsum(g: Graph, x: Value, dim: int, *, dtype: Any = None) -> Value:
    return g.add("running_sum", [g.cast(x, g.result_kind())], axis=axis_of(x, dim))


def _topk(g: Graph, x: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Value:
    if not dims_of(x):
        return [x, g.cast(g.broadcast("unequal", x, x), DType.INT64)]
    axis, kind = axis_of(x, dim), kind_of(x)
    if not k:
        g.refuse("gives no elements")
    if k == 1 and kind is not DType.BOOL:
        return _extreme_with_place(*EXTREMES[largest])(g, x, axis, True)
    given = g.cast(x, DType.INT64) if kind is DType.BOOL else x
    values, places = g.add_all("top", [given], axis=axis, count=int(k), largest=bool(largest))
    return [g.cast(values, kind), places]


def _sort(g: Graph, x: Value, dim: int = -1, descending: bool = False) -> Value:
    return _topk(g, x, dims_of(x)[axis_of(x, dim)] if dims_of(x) else 1, dim, descending)


def _stable_sort(g: Graph, x: Value, *, stable: bool | None, dim: int = -1, descending: bool = False) -> Value:
    return _sort(g, x, dim, descending)


def ordered(g: Graph, x: Value, place: int, axis: int, keep: bool) -> list[Value]:
    """
    The value, and where it stands, that has `place` others before it in ascending order; NaN comes last.
    """
    values, places = g.add_all("top", [x], axis=axis, count=place + 1, largest=False)
    dims = dims_of(values)
    left = (*dims[:axis], *([1] if keep else []), *dims[axis + 1 :])
    return [g.reshape(cut(g, found, axis, place, place + 1), left) for found in (values, places)]


def _kth(g: Graph, x: Value, k: int, dim: int = -1, keepdim: bool = False) -> Value:
    return ordered(g, x, k - 1, axis_of(x, dim), keepdim)


def _median(g: Graph, x: Value, dim: int = -1, keepdim: bool = False) -> Value:
    """
    The lower of two in the middle; NaN where there is one.
    """
    axis = axis_of(x, dim)
    found, place = ordered(g, x, (dims_of(x)[axis] - 1) // 2, axis, keepdim)
    if kind_of(x) is not DType.FLOAT32:
        return [found, place]
    largest, where = _extreme_with_place(*EXTREMES[True])(g, x, axis, keepdim)
    broken = g.add("is_nan", [largest])
    return [g.broadcast("where", broken, largest, found), g.broadcast("where", broken, where, place)]


def _whole_median(g: Graph, x: Value) -> Value:
    flat = g.reshape(x, (math.prod(dims_of(x)),))
    return g.reshape(_median(g, flat, 0)[0], ())


def _running(row: str) -> Translation:
    """
    A running product, one step along the axis after the other.
    """

    def translate(g: Graph, x: Value, dim: int, *, dtype: Any = None) -> Value:
        if not dims_of(x):
            return x
        axis, x = axis_of(x, dim), g.cast(x, g.result_kind())
        if dims_of(x)[axis] > MOST_STEPS:
            g.refuse(f"is compiled for {MOST_STEPS} elements at most, found {dims_of(x)[axis]}")
        found = [cut(g, x, axis, 0, 1)]
        for step in range(1, dims_of(x)[axis]):
            found.append(g.broadcast(row, found[-1], cut(g, x, axis, step, step + 1)))
        return join(g, found, axis)

    return translate


def _whole_extreme(row: str) -> Translation:
    return lambda g, x: reduced(g, row, x, None, False)


TRANSLATIONS: dict[Any, Translation] = {
    aten.sum.default: _reduction("reduce_sum"),
    aten.sum.dim_IntList: _reduction("reduce_sum"),
    aten.mean.default: _reduction("reduce_mean"),
    aten.mean.dim: _reduction("reduce_mean"),
    aten.amax.default: _reduction("reduce_max", keeps_kind=True),
    aten.amin.default: _reduction("reduce_min", keeps_kind=True),
    aten.max.default: _whole_extreme("reduce_max"),
    aten.min.default: _whole_extreme("reduce_min"),
    aten.max.dim: _extreme_with_place("reduce_max", "index_of_max"),
    aten.min.dim: _extreme_with_place("reduce_min", "index_of_min"),
    aten.prod.default: _prod,
    aten.prod.dim_int: _reduction("reduce_product"),
    aten.any.default: _truth("reduce_any"),
    aten.any.dim: _truth("reduce_any"),
    aten.any.dims: _truth("reduce_any"),
    aten.all.default: _truth("reduce_all"),
    aten.all.dim: _truth("reduce_all"),
    aten.all.dims: _truth("reduce_all"),
    aten.argmax.default: _place("index_of_max"),
    aten.argmin.default: _place("index_of_min"),
    aten.var.correction: _var,
    aten.std.correction: _std,
    aten.var_mean.correction: _var_mean,
    aten.linalg_vector_norm.default: norm,
    aten.norm.ScalarOpt_dim: _old_norm,
    aten.norm.Scalar: _old_norm,
    aten.softmax.int: _softmax("softmax_over"),
    aten._softmax.default: _softmax("softmax_over"),
    aten.log_softmax.int: _softmax("log_softmax_over"),
    aten._log_softmax.default: _softmax("log_softmax_over"),
    aten.logsumexp.default: _log_sum_exp,
    aten.cumsum.default: _cumsum,
    aten.topk.default: _topk,
    aten.sort.default: _sort,
    aten.sort.stable: _stable_sort,
    aten.kthvalue.default: _kth,
    aten.median.dim: _median,
    aten.median.default: _whole_median,
    aten.cumprod.default: _running("times"),
}
