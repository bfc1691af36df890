"""
Ops that move elements and compute none: reshaping, slicing, joining, padding, looking up.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, axis_of, dims_of, known_all
from compiler.frontends.torch_export.translate_elementwise import Translation, as_kind

aten = torch.ops.aten


def _reshape(g: Graph, x: Value, *_: Any, **__: Any) -> Value:
    """
    Every op that only says anew how long the dims are.
    """
    return g.reshape(x, g.result_dims())


def permute(g: Graph, x: Value, dims: Sequence[int]) -> Value:
    """
    The dims in another order.
    """
    order = tuple(axis_of(x, dim) for dim in dims)
    if order == tuple(range(len(order))):
        return x
    return x.permute(order) if isinstance(x, torch.Tensor) else g.add("permute", [x], order=order)


def _transpose(g: Graph, x: Value, first: int, second: int) -> Value:
    order = list(range(len(dims_of(x))))
    a, b = axis_of(x, first), axis_of(x, second)
    order[a], order[b] = b, a
    return permute(g, x, order)


def _t(g: Graph, x: Value) -> Value:
    return permute(g, x, list(reversed(range(len(dims_of(x))))))


def expand(g: Graph, x: Value, dims: tuple[int, ...]) -> Value:
    """
    Repeats dims of size 1, and adds dims in front.
    """
    x = g.reshape(x, (1,) * (len(dims) - len(dims_of(x))) + dims_of(x))
    if dims_of(x) == dims:
        return x
    return x.expand(dims).contiguous() if isinstance(x, torch.Tensor) else g.add("expand", [x], shape=dims)


def _expand(g: Graph, x: Value, *_: Any, **__: Any) -> Value:
    return expand(g, x, g.result_dims())


def _copy(g: Graph, x: Value, source: Value, *_: Any) -> Value:
    """
    What stands in x after all of it has been written over.
    """
    return expand(g, as_kind(g, source, g.result_kind()), g.result_dims())


def _repeat(g: Graph, x: Value, repeats: Sequence[int]) -> Value:
    dims = (1,) * (len(repeats) - len(dims_of(x))) + dims_of(x)
    apart: list[int] = []
    together: list[int] = []
    for count, size in zip(repeats, dims, strict=True):
        apart += [1, size] if count > 1 else [size]
        together += [count, size] if count > 1 else [size]
    return g.reshape(expand(g, g.reshape(x, apart), tuple(together)), g.result_dims())


def cut(g: Graph, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """
    x[start:stop:step] along an axis, the bounds resolved.
    """
    if (start, stop, step) == (0, dims_of(x)[axis], 1):
        return x
    if isinstance(x, torch.Tensor):
        return x[(slice(None),) * axis + (slice(start, stop, step),)]
    return g.add("slice", [x], axis=axis, start=start, stop=stop, step=step)


def _slice(g: Graph, x: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Value:
    axis = axis_of(x, dim)
    first, last, _ = slice(start, end, step).indices(dims_of(x)[axis])
    return cut(g, x, axis, first, max(first, last), step)


def _select(g: Graph, x: Value, dim: int, index: int) -> Value:
    axis = axis_of(x, dim)
    place = index % dims_of(x)[axis]
    return g.reshape(cut(g, x, axis, place, place + 1), g.result_dims())


def _parts(g: Graph, x: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    found, start = [], 0
    for size in sizes:
        found.append(cut(g, x, axis, start, start + size))
        start += size
    return found


def _split_sizes(g: Graph, x: Value, sizes: Sequence[int], dim: int = 0) -> Value:
    return _parts(g, x, axis_of(x, dim), sizes)


def _split(g: Graph, x: Value, size: int, dim: int = 0) -> Value:
    axis = axis_of(x, dim)
    length = dims_of(x)[axis]
    return _parts(g, x, axis, [min(size, length - start) for start in range(0, length, size)])


def _chunk(g: Graph, x: Value, chunks: int, dim: int = 0) -> Value:
    return _split(g, x, -(-dims_of(x)[axis_of(x, dim)] // chunks), dim)


def _unbind(g: Graph, x: Value, dim: int = 0) -> Value:
    axis = axis_of(x, dim)
    rest = dims_of(x)[:axis] + dims_of(x)[axis + 1 :]
    return [g.reshape(part, rest) for part in _parts(g, x, axis, [1] * dims_of(x)[axis])]


def join(g: Graph, parts: Sequence[Value], axis: int) -> Value:
    """
    Tensors one after the other; those without elements are left out, as torch does.
    """
    kept = [part for part in parts if math.prod(dims_of(part))]
    if known_all(kept):
        return torch.cat(kept, axis)
    return kept[0] if len(kept) == 1 else g.add("join", kept, axis=axis)


def _cat(g: Graph, tensors: Sequence[Value], dim: int = 0) -> Value:
    kind = g.result_kind()
    return join(g, [g.cast(part, kind) for part in tensors], dim % len(g.result_dims()))


def _stack(g: Graph, tensors: Sequence[Value], dim: int = 0) -> Value:
    kind, dims = g.result_kind(), g.result_dims()
    axis = dim % len(dims)
    one = (*dims[:axis], 1, *dims[axis + 1 :])
    return join(g, [g.reshape(g.cast(part, kind), one) for part in tensors], axis)


def pad(g: Graph, x: Value, pad: Sequence[int], value: float = 0.0) -> Value:
    """
    More before and behind each axis, the last one first, or less where a number is negative.
    """
    if isinstance(x, torch.Tensor):
        return torch.nn.functional.pad(x, tuple(pad), value=value)
    rank = len(dims_of(x))
    before, after = [0] * rank, [0] * rank
    for place in range(len(pad) // 2):
        before[rank - 1 - place], after[rank - 1 - place] = pad[2 * place], pad[2 * place + 1]
    for axis in range(rank):
        x = cut(g, x, axis, max(0, -before[axis]), dims_of(x)[axis] - max(0, -after[axis]))
    grown = [tuple(max(0, size) for size in sizes) for sizes in (before, after)]
    if not any(map(any, grown)):
        return x
    return g.add("surround", [x], before=grown[0], after=grown[1], value=float(value or 0.0))


def _flip(g: Graph, x: Value, dims: Sequence[int]) -> Value:
    return g.add("flip", [x], axes=tuple(sorted({axis_of(x, dim) for dim in dims})))


def _roll(g: Graph, x: Value, shifts: Sequence[int], dims: Sequence[int] = ()) -> Value:
    whole = dims_of(x)
    if not dims:
        x = g.reshape(x, (math.prod(whole),))
    for shift, dim in zip(shifts, dims or (0,), strict=True):
        axis = axis_of(x, dim)
        length = dims_of(x)[axis]
        start = -shift % length
        x = join(g, [cut(g, x, axis, start, length), cut(g, x, axis, 0, start)], axis) if start else x
    return g.reshape(x, whole)


def written(g: Graph, x: Value, source: Value, axis: int, start: int, stop: int) -> Value:
    """
    The tensor x with another in the place of a part of it.
    """
    kind = g.result_kind()
    end = dims_of(x)[axis]
    before = [cut(g, x, axis, 0, start)] if start else []
    after = [cut(g, x, axis, stop, end)] if stop < end else []
    return join(g, [g.cast(piece, kind) for piece in (*before, source, *after)], axis)


def _filled(g: Graph, x: Value, *arguments: Any, **_: Any) -> Value:
    """
    A tensor of one value, as large as another: known, though what gives its size is not.
    """
    assert g.node is not None
    name = str(g.node.target)
    value = 1 if "ones" in name else 0 if "zeros" in name or "empty" in name else arguments[-1]
    return torch.full(g.result_dims(), value, dtype=g.result().dtype)


SIZED: dict[Any, Translation] = dict.fromkeys(
    (
        aten.full_like.default,
        aten.zeros_like.default,
        aten.ones_like.default,
        aten.empty_like.default,
        aten.new_full.default,
        aten.new_zeros.default,
        aten.new_ones.default,
        aten.new_empty.default,
    ),
    _filled,
)
"""Ops that only ask for the size of their first argument, which need not be computed."""
TRANSLATIONS: dict[Any, Translation] = {
    **SIZED,
    aten.view.default: _reshape,
    aten._unsafe_view.default: _reshape,
    aten.reshape.default: _reshape,
    aten.flatten.using_ints: _reshape,
    aten.unflatten.int: _reshape,
    aten.unsqueeze.default: _reshape,
    aten.squeeze.default: _reshape,
    aten.squeeze.dim: _reshape,
    aten.squeeze.dims: _reshape,
    aten.permute.default: permute,
    aten.transpose.int: _transpose,
    aten.t.default: _t,
    aten.expand.default: _expand,
    aten.expand_as.default: _expand,
    aten.copy.default: _copy,
    aten.repeat.default: _repeat,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split_sizes,
    aten.chunk.default: _chunk,
    aten.unbind.int: _unbind,
    aten.cat.default: _cat,
    aten.stack.default: _stack,
    aten.constant_pad_nd.default: pad,
    aten.flip.default: _flip,
    aten.roll.default: _roll,
}
