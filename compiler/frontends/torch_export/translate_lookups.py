"""
Ops that take elements at places that tensors name: embeddings, gather, indexing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.computed import Computed
from compiler.frontends.torch_export.graph import Graph, Value, axis_of, common, dims_of, kind_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_shapes import expand, permute
from compiler.ir import DType

aten = torch.ops.aten
POOLED = ("reduce_sum", "reduce_mean", "reduce_max")
"""What becomes of the rows of a bag, by the number that torch has for it."""


def _embedding(g: Graph, weight: Value, indices: Value, *_: Any, **__: Any) -> Value:
    if isinstance(weight, torch.Tensor):
        return g.add("embedding", [g.cast(indices, DType.INT64), weight])
    return look_up(g, weight, 0, indices)


def _gather(g: Graph, x: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    return g.add("gather", [x, g.cast(index, DType.INT64)], axis=axis_of(x, dim))


def _index_select(g: Graph, x: Value, dim: int, index: Value) -> Value:
    return look_up(g, x, axis_of(x, dim), index)


def look_up(g: Graph, x: Value, axis: int, index: Value) -> Value:
    """
    What stands in x along an axis at the places that `index` names, whose dims stand in the place of the axis.
    """
    dims, places = dims_of(x), dims_of(index)
    before, length, after = dims[:axis], dims[axis], dims[axis + 1 :]
    result = (*before, *places, *after)
    count = math.prod(places)
    if isinstance(index, torch.Tensor):
        known = torch.where(index < 0, index + length, index).reshape(count)
        return g.reshape(_pick(g, x, axis, known), result)
    if isinstance(x, torch.Tensor) and axis == 0:
        return g.add("embedding", [index, x])
    flat = g.reshape(index, (1, count, 1))
    rows = expand(g, flat, (math.prod(before), count, math.prod(after)))
    body = g.reshape(x, (math.prod(before), length, math.prod(after)))
    return g.reshape(g.add("gather", [body, rows], axis=1), result)


def _pick(g: Graph, x: Value, axis: int, places: torch.Tensor) -> Value:
    """
    The elements of an axis at known places: a slice where these are as far from each other, which a length may follow.
    """
    first, *others = places.tolist() or [-1]
    step = others[0] - first if others else 1
    if first < 0 or step < 1 or others != list(range(first + step, places.shape[0] * step + first, step)):
        return g.add("take", [x, places], axis=axis)
    return g.add("slice", [x], axis=axis, start=first, stop=first + step * len(others) + 1, step=step)


def _index(g: Graph, x: Value, indices: Sequence[Value]) -> Value:
    """
    x[..., i, j, ...]: the axes that are indexed become one, and their indices one number.
    """
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [indices[axis] for axis in axes]
    if any(kind_of(index) is DType.BOOL for index in given):
        g.refuse("picks elements by a mask: how many there are depends on the data; use torch.where")
    rank, dims = len(dims_of(x)), dims_of(x)
    together = axes == list(range(axes[0], axes[-1] + 1))
    # As in NumPy: indexed axes that are apart come to the front.
    first = axes[0] if together else 0
    others = [axis for axis in range(rank) if axis not in axes]
    order = (*others[:first], *axes, *others[first:])
    x = permute(g, x, order)
    sizes = [dims[axis] for axis in axes]
    flat = g.reshape(x, (*(dims[a] for a in others[:first]), math.prod(sizes), *(dims[a] for a in others[first:])))
    return look_up(g, flat, first, place_in(g, given, sizes))


def place_in(g: Graph, indices: Sequence[Value], sizes: Sequence[int]) -> Value:
    """
    The place, in C order, that several indices name; negative ones count from the end.
    """
    found: Value = None
    for index, size in zip(indices, sizes, strict=True):
        if isinstance(index, torch.Tensor):
            index = torch.where(index < 0, index + size, index)
        elif index.name not in g.builder.bytes:
            index = g.broadcast("modulo", g.cast(index, DType.INT64), size)
        found = index if found is None else _sum(g, _scaled(g, found, size), index)
    return found


def _scaled(g: Graph, value: Value, factor: int) -> Value:
    return value * factor if isinstance(value, torch.Tensor) else g.broadcast("times", value, factor)


def _sum(g: Graph, a: Value, b: Value) -> Value:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a + b
    return g.broadcast("plus", a, b)


def _diagonal(g: Graph, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    first, second = axis_of(x, dim1), axis_of(x, dim2)
    rows, columns = dims_of(x)[first], dims_of(x)[second]
    others = [axis for axis in range(len(dims_of(x))) if axis not in (first, second)]
    turned = permute(g, x, (*others, first, second))
    flat = g.reshape(turned, (*dims_of(turned)[:-2], rows * columns))
    places = [row * columns + row + offset for row in range(rows) if 0 <= row + offset < columns]
    return look_up(g, flat, len(others), torch.tensor(places))


def _unfold(g: Graph, x: Value, dimension: int, size: int, step: int) -> Value:
    """
    Pieces of a dimension, as far apart as the step, with their elements in a new last dimension.
    """
    axis, rank = axis_of(x, dimension), len(dims_of(x))
    places = torch.arange(0, dims_of(x)[axis] - size + 1, step).unsqueeze(1) + torch.arange(size)
    found = look_up(g, x, axis, places)
    return permute(g, found, [at for at in range(rank + 1) if at != axis + 1] + [axis + 1])


def _embedding_bag(
    g: Graph,
    weight: Value,
    indices: Value,
    offsets: Value,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Value = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Value:
    """
    Bags of one size: those that are given as the rows of a matrix.
    """
    count = dims_of(indices)[0]
    bags = dims_of(offsets)[0]
    even = isinstance(offsets, torch.Tensor) and torch.equal(offsets, torch.arange(bags) * (count // bags))
    if not even or count % bags or include_last_offset or padding_idx >= 0:
        g.refuse("is compiled for bags of one size, given as a matrix, without padding_idx")
    rows = g.reshape(_embedding(g, weight, indices), (bags, count // bags, dims_of(weight)[1]))
    if per_sample_weights is not None:
        rows = g.broadcast("times", rows, g.reshape(per_sample_weights, (bags, count // bags, 1)))
    return [g.add(POOLED[mode], [rows], axes=(1,), keep=False), None, None, None]


def _count_below(g: Graph, x: Value, boundaries: Value, right: bool) -> Value:
    """
    For each element, how many boundaries, in ascending order, stand before it; NaN stands behind all.
    """
    if len(dims_of(boundaries)) != 1:
        g.refuse("is compiled for boundaries of one dimension")
    dims, count = dims_of(x), dims_of(boundaries)[0]
    x = g.reshape(x, (*dims, 1))
    kind = common(x, boundaries)
    behind = g.broadcast("greater" if right else "greater_equal", g.cast(boundaries, kind), g.cast(x, kind))
    found = g.add("reduce_sum", [g.cast(behind, DType.INT64)], axes=(len(dims),), keep=False)
    return g.broadcast("minus", count, found)


def _bucketize(g: Graph, x: Value, boundaries: Value, *, out_int32: bool = False, right: bool = False) -> Value:
    return _count_below(g, x, boundaries, right)


def _searchsorted(
    g: Graph,
    boundaries: Value,
    x: Value,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Value = None,
) -> Value:
    if sorter is not None:
        g.refuse("is compiled without sorter")
    return _count_below(g, x, boundaries, right or side == "right")


def _lookup_known(g: Graph, x: Computed, index: Value) -> Value:
    flat = g.reshape(x, (math.prod(x.dims),))
    return look_up(g, flat, 0, index)


TRANSLATIONS: dict[Any, Translation] = {
    aten.embedding.default: _embedding,
    aten.gather.default: _gather,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten._unsafe_index.Tensor: _index,
    aten.take.default: _lookup_known,
    aten.diagonal.default: _diagonal,
    aten.unfold.default: _unfold,
    aten._embedding_bag.default: _embedding_bag,
    aten._embedding_bag_forward_only.default: _embedding_bag,
    aten.bucketize.Tensor: _bucketize,
    aten.searchsorted.Tensor: _searchsorted,
}
