"""
Ops that write elements to places of a tensor: scatter and its kin, and assignment by index.

Where the places are known, the result is looked up in what stood there and what is written, one after the other. Where
they are computed, each element that is written is compared with all places along its axis.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from compiler.frontends.computed import Computed
from compiler.frontends.torch_export.graph import Graph, Value, axis_of, dims_of, kind_of
from compiler.frontends.torch_export.translate_elementwise import Translation, as_kind
from compiler.frontends.torch_export.translate_lookups import look_up, place_in
from compiler.frontends.torch_export.translate_shapes import cut, expand, join, permute, written
from compiler.ir import DType

aten = torch.ops.aten
MOST_STEPS = 64
"""Elements that are written to computed places along an axis, one after the other."""
Merge = Callable[[Graph, Value, Value], Value]
"""What is left of the element that stood there, and the one that is written."""


def _merge(row: str) -> Merge:
    return lambda g, old, new: g.broadcast(row, old, new)


REDUCTIONS = {
    "sum": _merge("plus"),
    "add": _merge("plus"),
    "prod": _merge("times"),
    "multiply": _merge("times"),
    "amax": _merge("largest_of"),
    "amin": _merge("least_of"),
}
"""How torch names what it does with an element that is there already."""


def _replaced(g: Graph, old: Value, new: Value) -> Value:
    return new


def _scattered(merge: Merge) -> Translation:
    def translate(g: Graph, x: Value, dim: int, index: Value, source: Value, *, reduce: str | None = None) -> Value:
        chosen = merge if reduce is None else REDUCTIONS[reduce]
        return _scatter(g, g.cast(x, g.result_kind()), axis_of(x, dim), index, source, chosen)

    return translate


def _reduced(
    g: Graph, x: Value, dim: int, index: Value, source: Value, reduce: str, *, include_self: bool = True
) -> Value:
    if reduce not in REDUCTIONS or not include_self:
        g.refuse(f"is compiled for {', '.join(REDUCTIONS)} that include the tensor itself")
    return _scatter(g, g.cast(x, g.result_kind()), axis_of(x, dim), index, source, REDUCTIONS[reduce])


def _scatter(g: Graph, x: Value, axis: int, index: Value, source: Value, merge: Merge) -> Value:
    """
    The tensor x with another's elements, or a number, merged in along an axis where the index says.
    """
    dims, sizes = dims_of(x), dims_of(index)
    for other, size in enumerate(sizes):
        if other != axis and size != dims[other]:  # the index reaches a part of x only
            part = _scatter(g, cut(g, x, other, 0, size), axis, index, source, merge)
            return written(g, x, part, other, 0, size)
    kind, steps = kind_of(x), sizes[axis]
    if steps > MOST_STEPS:
        g.refuse(f"is compiled for {MOST_STEPS} elements at most along the dimension, found {steps}")
    places = torch.arange(dims[axis]).reshape((-1,) + (1,) * (len(dims) - axis - 1))
    value = as_kind(g, source, kind)
    for other, size in enumerate(sizes if dims_of(value) else ()):
        value = cut(g, value, other, 0, size)
    if not isinstance(value, Computed | torch.Tensor):
        value = g.number(value, kind, len(dims))
    for step in range(steps):
        there = _equal(g, places, cut(g, index, axis, step, step + 1))
        new = cut(g, value, axis, step, step + 1) if dims_of(source) else value
        x = g.broadcast("where", there, merge(g, x, new), x)
    return x


def _equal(g: Graph, a: Value, b: Value) -> Value:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a == b
    return g.broadcast("equal", a, b)


def _index_put(g: Graph, x: Value, indices: Sequence[Value], values: Value, accumulate: bool = False) -> Value:
    """
    x[i, j, ...] = values, or += values.
    """
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    given = [indices[axis] for axis in axes]
    if any(kind_of(index) is DType.BOOL for index in given):
        return _put_masked(g, x, given, axes, values, accumulate)
    dims, kind = dims_of(x), g.result_kind()
    together = axes == list(range(axes[0], axes[-1] + 1))
    first = axes[0] if together else 0
    others = [axis for axis in range(len(dims)) if axis not in axes]
    order = (*others[:first], *axes, *others[first:])
    sizes = [dims[axis] for axis in axes]
    rest = [dims[axis] for axis in others]
    place = place_in(g, given, sizes)
    count = math.prod(dims_of(place))
    flat = g.reshape(permute(g, g.cast(x, kind), order), (*rest[:first], math.prod(sizes), *rest[first:]))
    # As in indexing, the dims of the indices stand where the indexed dims stood.
    shaped = expand(g, g.cast(values, kind), (*rest[:first], *dims_of(place), *rest[first:]))
    new = g.reshape(shaped, (*rest[:first], count, *rest[first:]))
    place = g.reshape(place, (count,))
    put = _put_known if isinstance(place, torch.Tensor) else _put_computed
    found = g.reshape(put(g, flat, first, place, new, accumulate), [dims[axis] for axis in order])
    return permute(g, found, [order.index(axis) for axis in range(len(dims))])


def _put_known(g: Graph, x: Value, axis: int, place: torch.Tensor, new: Value, accumulate: bool) -> Value:
    """
    Elements at known places along an axis; of several for one place the last, or their sum.
    """
    length = dims_of(x)[axis]
    rounds: list[dict[int, int]] = []
    for number, at in enumerate(map(int, place)):
        free = next((one for one in rounds if at not in one), None) if accumulate else rounds[0] if rounds else None
        if free is None:
            free = {}
            rounds.append(free)
        free[at] = number
    for one in rounds:
        if accumulate:
            nothing = torch.zeros((*dims_of(x)[:axis], 1, *dims_of(x)[axis + 1 :]), dtype=g.result().dtype)
            both, at_rest = join(g, [new, nothing], axis), [len(place)] * length
        else:
            both, at_rest = join(g, [x, new], axis), list(range(length))
        places = [length * (not accumulate) + one[at] if at in one else at_rest[at] for at in range(length)]
        found = look_up(g, both, axis, torch.tensor(places))
        x = g.broadcast("plus", x, found) if accumulate else found
    return x


def _put_computed(g: Graph, x: Value, axis: int, place: Computed, new: Value, accumulate: bool) -> Value:
    """
    Elements at computed places along an axis, one after the other.
    """
    dims, count = dims_of(x), place.dims[0]
    if count > MOST_STEPS:
        g.refuse(f"writes {count} elements to computed places; at most {MOST_STEPS} are compiled")
    places = torch.arange(dims[axis]).reshape((-1,) + (1,) * (len(dims) - axis - 1))
    for step in range(count):
        here = g.reshape(cut(g, place, 0, step, step + 1), (1,) * len(dims))
        value = cut(g, new, axis, step, step + 1)
        there = _equal(g, places, here)
        x = g.broadcast("where", there, g.broadcast("plus", x, value) if accumulate else value, x)
    return x


def _put_masked(
    g: Graph, x: Value, given: Sequence[Value], axes: Sequence[int], values: Value, accumulate: bool
) -> Value:
    """
    One value wherever a mask says so.
    """
    (mask, *more), rank = given, len(dims_of(x))
    if more or math.prod(dims_of(values)) != 1:
        g.refuse("writes several values by a mask: which goes where depends on the data; use torch.where")
    dims = (1,) * axes[0] + dims_of(mask) + (1,) * (rank - len(dims_of(mask)) - axes[0])
    value = g.reshape(g.cast(values, kind_of(x)), (1,) * rank)
    return g.broadcast("where", g.reshape(mask, dims), g.broadcast("plus", x, value) if accumulate else value, x)


def _slice_scatter(
    g: Graph, x: Value, source: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    axis, kind = axis_of(x, dim), g.result_kind()
    first, last, _ = slice(start, end, step).indices(dims_of(x)[axis])
    places = torch.arange(first, max(first, last), step)
    part = expand(g, g.cast(source, kind), (*dims_of(x)[:axis], len(places), *dims_of(x)[axis + 1 :]))
    if step == 1:
        return written(g, x, part, axis, first, max(first, last))
    return _put_known(g, g.cast(x, kind), axis, places, part, False)


def _select_scatter(g: Graph, x: Value, source: Value, dim: int, index: int) -> Value:
    axis = axis_of(x, dim)
    place = index % dims_of(x)[axis]
    part = (*dims_of(x)[:axis], 1, *dims_of(x)[axis + 1 :])
    return written(g, x, g.reshape(source, part), axis, place, place + 1)


TRANSLATIONS: dict[Any, Translation] = {
    aten.scatter.src: _scattered(_replaced),
    aten.scatter.value: _scattered(_replaced),
    aten.scatter.reduce: _scattered(_replaced),
    aten.scatter.value_reduce: _scattered(_replaced),
    aten.scatter_add.default: _scattered(_merge("plus")),
    aten.scatter_reduce.two: _reduced,
    aten.index_put.default: _index_put,
    aten.slice_scatter.default: _slice_scatter,
    aten.select_scatter.default: _select_scatter,
}
