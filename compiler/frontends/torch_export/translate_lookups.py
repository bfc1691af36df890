"""
Ops that take elements at places that tensors name: embeddings, gather, indexing.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.computed import Computed
from compiler.frontends.torch_export.graph import Graph, Value, axis_of, dims_of, kind_of
from compiler.frontends.torch_export.translate_elementwise import Translation, as_kind
from compiler.frontends.torch_export.translate_shapes import cut, expand, permute, written
from compiler.ir import DType

aten = torch.ops.aten
MOST_STEPS = 64
"""Elements that a scatter writes along its axis, one after the other."""


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
        return g.reshape(g.add("take", [x, known], axis=axis), result)
    if isinstance(x, torch.Tensor) and axis == 0:
        return g.add("embedding", [index, x])
    flat = g.reshape(index, (1, count, 1))
    rows = expand(g, flat, (math.prod(before), count, math.prod(after)))
    body = g.reshape(x, (math.prod(before), length, math.prod(after)))
    return g.reshape(g.add("gather", [body, rows], axis=1), result)


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
        else:
            index = g.broadcast("modulo", g.cast(index, DType.INT64), size)
        found = index if found is None else _sum(g, _scaled(g, found, size), index)
    return found


def _scaled(g: Graph, value: Value, factor: int) -> Value:
    return value * factor if isinstance(value, torch.Tensor) else g.broadcast("times", value, factor)


def _sum(g: Graph, a: Value, b: Value) -> Value:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a + b
    return g.broadcast("plus", a, b)


def _index_put(g: Graph, x: Value, indices: Sequence[Value], values: Value, accumulate: bool = False) -> Value:
    """
    x[i] = values, where i is known and a range, or a mask as large as x.
    """
    given = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    axis, index = given[0]
    if len(given) == 1 and not accumulate and kind_of(index) is DType.BOOL:
        mask = g.reshape(index, dims_of(index) + (1,) * (len(dims_of(x)) - len(dims_of(index))))
        if math.prod(dims_of(values)) == 1:
            value = g.reshape(g.cast(values, kind_of(x)), (1,) * len(dims_of(x)))
            return g.broadcast("where", mask, value, x)
    if len(given) == 1 and not accumulate and isinstance(index, torch.Tensor) and index.ndim == 1:
        start, count = int(index[0]) % dims_of(x)[axis], index.numel()
        if torch.equal(index % dims_of(x)[axis], torch.arange(start, start + count)):
            part = (*dims_of(x)[:axis], count, *dims_of(x)[axis + 1 :])
            return written(g, x, expand(g, values, part), axis, start, start + count)
    return g.refuse("writes to places that are not one known range; write to a slice, or use torch.where")


def _diagonal(g: Graph, x: Value, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Value:
    first, second = axis_of(x, dim1), axis_of(x, dim2)
    rows, columns = dims_of(x)[first], dims_of(x)[second]
    others = [axis for axis in range(len(dims_of(x))) if axis not in (first, second)]
    turned = permute(g, x, (*others, first, second))
    flat = g.reshape(turned, (*dims_of(turned)[:-2], rows * columns))
    places = [row * columns + row + offset for row in range(rows) if 0 <= row + offset < columns]
    return look_up(g, flat, len(others), torch.tensor(places))


def _scatter(g: Graph, x: Value, dim: int, index: Value, source: Value) -> Value:
    """
    The tensor x with another's elements, or a number, where the index says: one step along the axis at a time.
    """
    axis, kind = axis_of(x, dim), g.result_kind()
    dims, steps = dims_of(x), dims_of(index)[axis]
    if dims_of(index)[:axis] + dims_of(index)[axis + 1 :] != dims[:axis] + dims[axis + 1 :]:
        g.refuse("is compiled for an index as large as the tensor in all other dimensions")
    if steps > MOST_STEPS:
        g.refuse(f"is compiled for {MOST_STEPS} elements at most, found {steps}")
    places = torch.arange(dims[axis]).reshape((-1,) + (1,) * (len(dims) - axis - 1))
    result = g.cast(x, kind)
    for step in range(steps):
        here = cut(g, index, axis, step, step + 1)
        there = equal(g, places, here)
        value = as_kind(g, source, kind)
        if isinstance(value, Computed | torch.Tensor) and dims_of(value):
            value = cut(g, value, axis, step, step + 1)
        elif not isinstance(value, Computed | torch.Tensor):
            value = g.number(value, kind, len(dims))
        result = g.broadcast("where", there, value, result)
    return result


def equal(g: Graph, a: Value, b: Value) -> Value:
    """
    Where two tensors are equal.
    """
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a == b
    return g.broadcast("equal", a, b)


def _lookup_known(g: Graph, x: Computed, index: Value) -> Value:
    flat = g.reshape(x, (math.prod(x.dims),))
    return look_up(g, flat, 0, index)


TRANSLATIONS: dict[Any, Translation] = {
    aten.embedding.default: _embedding,
    aten.gather.default: _gather,
    aten.index_select.default: _index_select,
    aten.index.Tensor: _index,
    aten._unsafe_index.Tensor: _index,
    aten.index_put.default: _index_put,
    aten.take.default: _lookup_known,
    aten.scatter.src: _scatter,
    aten.scatter.value: _scatter,
    aten.diagonal.default: _diagonal,
}
