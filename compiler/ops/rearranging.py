"""
Ops that put the elements of a sample in other places, repeat them, leave some out, or look rows up in a table.

Axes are those of one sample. An index that comes from the caller is taken to the nearest row there is: kernels must not
read elsewhere, whatever they are given. PyTorch refuses such an index.
"""

import math
from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.dims import (
    BOOL,
    INTEGER,
    KINDS,
    axes_of,
    axis_of,
    dims_of,
    is_computed,
    need_computed,
    need_kind,
    need_one_computed,
    number,
    sample,
    whole,
)
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse


def _reshape_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("reshape", source)
    need_kind("reshape", KINDS, source)
    before, after = dims_of("reshape", source), whole("reshape", attributes, "shape", 1)
    if math.prod(before) != math.prod(after):
        refuse("reshape", f"{before} has {math.prod(before)} elements, {after} has {math.prod(after)}")
    return sample(source.dtype, after)


def _permute_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("permute", source)
    need_kind("permute", KINDS, source)
    dims = dims_of("permute", source)
    order = whole("permute", attributes, "order", 0)
    if sorted(order) != list(range(len(dims))):
        refuse("permute", f"attribute order must name each of {len(dims)} axes once, found {order}")
    return sample(source.dtype, [dims[axis] for axis in order])


def _expand_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("expand", source)
    need_kind("expand", KINDS, source)
    before = dims_of("expand", source)
    after = whole("expand", attributes, "shape", 1, len(before))
    if any(old not in (1, new) for old, new in zip(before, after, strict=True)):
        refuse("expand", f"only dimensions of size 1 repeat, found {before} to {after}")
    return sample(source.dtype, after)


def _slice_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("slice", source)
    need_kind("slice", KINDS, source)
    dims = list(dims_of("slice", source))
    axis = axis_of("slice", attributes, len(dims))
    start, stop = number("slice", attributes, "start", 0), number("slice", attributes, "stop", 1)
    step = number("slice", attributes, "step", 1)
    if not start < stop <= dims[axis]:
        refuse("slice", f"{start} to {stop} is empty or beyond the {dims[axis]} elements of axis {axis}")
    dims[axis] = len(range(start, stop, step))
    return sample(source.dtype, dims)


def _slice(x: Array, axis: int, start: int, stop: int, step: int) -> Array:
    before = (slice(None),) * (axis + 1)
    return x[(*before, slice(start, stop, step))]


def _flip_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("flip", source)
    need_kind("flip", KINDS, source)
    axes_of("flip", attributes, "axes", len(dims_of("flip", source)))
    return TensorType.of(source)


def _join_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    first = inputs[0]
    need_one_computed("join", *inputs)
    need_kind("join", KINDS, first)
    need_kind("join", (first.dtype,), *inputs)
    dims = [dims_of("join", tensor) for tensor in inputs]
    axis = axis_of("join", attributes, len(dims[0]))
    around = {(sizes[:axis], sizes[axis + 1 :]) for sizes in dims}
    if len(around) > 1 or len({len(sizes) for sizes in dims}) > 1:
        refuse("join", f"shapes may differ in axis {axis} only, found {', '.join(map(str, dims))}")
    return sample(first.dtype, (*dims[0][:axis], sum(sizes[axis] for sizes in dims), *dims[0][axis + 1 :]))


def _join(*parts: Array, axis: int) -> Array:
    computed = max(parts, key=np.ndim)
    whole_batch = [
        part if part.ndim == computed.ndim else np.broadcast_to(part, (len(computed), *part.shape)) for part in parts
    ]
    return np.concatenate(whole_batch, axis=axis + 1)


def _surround_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("surround", source)
    need_kind("surround", KINDS, source)
    dims = dims_of("surround", source)
    before = whole("surround", attributes, "before", 0, len(dims))
    after = whole("surround", attributes, "after", 0, len(dims))
    value = attributes["value"]
    assert isinstance(value, float)
    if (source.dtype is INTEGER and not value.is_integer()) or (source.dtype is BOOL and value not in (0, 1)):
        refuse("surround", f"attribute value must be a value of {source.dtype}, found {value}")
    return sample(source.dtype, [sum(sizes) for sizes in zip(before, dims, after, strict=True)])


def _surround(x: Array, before: tuple[int, ...], after: tuple[int, ...], value: float) -> Array:
    return np.pad(x, [(0, 0), *zip(before, after, strict=True)], constant_values=value)


def _embedding_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    indices, table = inputs
    need_computed("embedding", indices)
    need_kind("embedding", (INTEGER,), indices)
    need_kind("embedding", KINDS, table)
    rows = dims_of("embedding", table)
    if is_computed(table) or not rows:
        refuse("embedding", f"the table must be a constant of one dimension or more, found {table.shape}")
    return sample(table.dtype, (*dims_of("embedding", indices), *rows[1:]))


def _take_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, indices = inputs
    need_computed("take", source)
    need_kind("take", KINDS, source)
    need_kind("take", (INTEGER,), indices)
    dims = list(dims_of("take", source))
    axis = axis_of("take", attributes, len(dims))
    if indices.data is None or indices.data.ndim != 1 or not indices.data.size:
        refuse("take", f"the indices must be a constant of one dimension, found {indices.shape}")
    if indices.data.min() < 0 or indices.data.max() >= dims[axis]:
        refuse("take", f"the indices must be from 0 to {dims[axis] - 1}")
    dims[axis] = indices.data.size
    return sample(source.dtype, dims)


def _gather_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, indices = inputs
    need_one_computed("gather", *inputs)
    need_kind("gather", KINDS, source)
    need_kind("gather", (INTEGER,), indices)
    dims, places = dims_of("gather", source), dims_of("gather", indices)
    axis = axis_of("gather", attributes, len(dims))
    if len(places) != len(dims):
        refuse("gather", f"the indices must have {len(dims)} dimensions, found {places}")
    if any(place > size for place, size in zip(_without(places, axis), _without(dims, axis), strict=True)):
        refuse("gather", f"the indices {places} are larger than {dims} in an axis other than {axis}")
    return sample(source.dtype, places)


def _without(dims: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*dims[:axis], *dims[axis + 1 :])


def _gather(x: Array, indices: Array, axis: int) -> Array:
    batch = len(x) if x.ndim >= indices.ndim else len(indices)
    rank = max(x.ndim, indices.ndim)
    source, places = (
        part if part.ndim == rank else np.broadcast_to(part, (batch, *part.shape)) for part in (x, indices)
    )
    met = [slice(size) for size in places.shape]
    met[axis + 1] = slice(None)
    return np.take_along_axis(source[tuple(met)], np.clip(places, 0, source.shape[axis + 1] - 1), axis=axis + 1)


ROWS = (
    Op(
        name="reshape",
        summary="torch.reshape of each sample: the same elements in the same order",
        result=_reshape_result,
        reference=lambda x, shape: x.reshape(len(x), *shape),
        attributes={"shape": tuple},
        single=True,
    ),
    Op(
        name="permute",
        summary="torch.permute",
        result=_permute_result,
        reference=lambda x, order: x.transpose(0, *(axis + 1 for axis in order)),
        attributes={"order": tuple},
        template="nest",
        single=True,
    ),
    Op(
        name="expand",
        summary="torch.Tensor.expand: dimensions of size 1 repeat",
        result=_expand_result,
        reference=lambda x, shape: np.broadcast_to(x, (len(x), *shape)),
        attributes={"shape": tuple},
        template="nest",
        single=True,
    ),
    Op(
        name="slice",
        summary="x[start:stop:step] along one axis",
        result=_slice_result,
        reference=_slice,
        attributes={"axis": int, "start": int, "stop": int, "step": 1},
        template="nest",
        single=True,
    ),
    Op(
        name="flip",
        summary="torch.flip",
        result=_flip_result,
        reference=lambda x, axes: np.flip(x, tuple(axis + 1 for axis in axes)),
        attributes={"axes": tuple},
        template="nest",
        single=True,
    ),
    Op(
        name="join",
        summary="torch.cat along one axis; parts may be constants",
        result=_join_result,
        reference=_join,
        arity=None,
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
    Op(
        name="surround",
        summary="nn.functional.pad with a constant value: so many elements before and after, axis by axis",
        result=_surround_result,
        reference=_surround,
        attributes={"before": tuple, "after": tuple, "value": 0.0},
        template="nest",
        single=True,
    ),
    Op(
        name="embedding",
        summary="nn.Embedding: the table's row of each index; the nearest row where there is none",
        result=_embedding_result,
        reference=lambda indices, table: table[np.clip(indices, 0, len(table) - 1)],
        arity=2,
        template="nest",
        single=True,
    ),
    Op(
        name="take",
        summary="torch.index_select with indices that are known",
        result=_take_result,
        reference=lambda x, indices, axis: np.take(x, indices, axis=axis + 1),
        arity=2,
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
    Op(
        name="gather",
        summary="torch.gather; the nearest element where there is none",
        result=_gather_result,
        reference=_gather,
        arity=2,
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
)
