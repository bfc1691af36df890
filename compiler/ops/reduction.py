"""
Sums, means, extremes, their places and orders along axes of a sample. A NaN makes the extremes NaN, and stands there.
"""

from collections.abc import Callable, Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.dims import (
    BOOL,
    FLOAT,
    INTEGER,
    KINDS,
    axes_of,
    axis_of,
    dims_of,
    need_computed,
    need_kind,
    number,
    sample,
)
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse

NUMBERS = (FLOAT, INTEGER)


def _kept(dims: tuple[int, ...], axes: Sequence[int], keep: object) -> tuple[int, ...]:
    """
    The dims that are left when these axes are reduced to size 1, or away.
    """
    return tuple(1 if axis in axes else size for axis, size in enumerate(dims) if keep or axis not in axes)


def _reduction(name: str, summary: str, reference: Callable[..., Array], allowed: Sequence[DType]) -> Op:
    """
    A reduction over several axes, which counts bools as int64 unless it takes nothing else.
    """

    def result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        (source,) = inputs
        need_computed(name, source)
        need_kind(name, allowed, source)
        dims = dims_of(name, source)
        axes = axes_of(name, attributes, "axes", len(dims))
        counted = source.dtype is BOOL and INTEGER in allowed
        return sample(INTEGER if counted else source.dtype, _kept(dims, axes, attributes["keep"]))

    def reduced(x: Array, axes: tuple[int, ...], keep: bool) -> Array:
        return np.asarray(reference(x, axis=tuple(axis + 1 for axis in axes), keepdims=keep))

    return Op(
        name=name,
        summary=summary,
        result=result,
        reference=reduced,
        attributes={"axes": tuple, "keep": False},
        template="nest",
        single=True,
    )


def _place(name: str, summary: str, reference: Callable[..., Array]) -> Op:
    def result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        (source,) = inputs
        need_computed(name, source)
        need_kind(name, NUMBERS, source)
        dims = dims_of(name, source)
        axis = axis_of(name, attributes, len(dims))
        return sample(INTEGER, _kept(dims, (axis,), attributes["keep"]))

    def found(x: Array, axis: int, keep: bool) -> Array:
        return reference(x, axis=axis + 1, keepdims=keep).astype(np.int64)

    return Op(
        name=name,
        summary=summary,
        result=result,
        reference=found,
        attributes={"axis": int, "keep": False},
        template="nest",
        single=True,
    )


def _running_sum_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("running_sum", source)
    need_kind("running_sum", KINDS, source)
    dims = dims_of("running_sum", source)
    axis_of("running_sum", attributes, len(dims))
    return sample(INTEGER if source.dtype is BOOL else source.dtype, dims)


def _top_result(inputs: Sequence[Tensor], attributes: Attributes) -> list[TensorType]:
    (source,) = inputs
    need_computed("top", source)
    need_kind("top", NUMBERS, source)
    dims = dims_of("top", source)
    axis = axis_of("top", attributes, len(dims))
    count = number("top", attributes, "count", 1)
    if count > dims[axis]:
        refuse("top", f"attribute count must be at most {dims[axis]}, found {count}")
    found = (*dims[:axis], count, *dims[axis + 1 :])
    return [sample(source.dtype, found), sample(INTEGER, found)]


def _top(x: Array, axis: int, count: int, largest: bool) -> tuple[Array, Array]:
    along = np.moveaxis(x, axis + 1, -1)
    # The last key counts first; equal values keep their order.
    order = np.lexsort((-along, along == along) if largest else (along, along != along), axis=-1)[..., :count]
    values = np.take_along_axis(along, order, -1)
    return np.moveaxis(values, -1, axis + 1), np.moveaxis(order, -1, axis + 1).astype(np.int64)


ROWS = (
    _reduction("reduce_sum", "torch.sum", np.sum, KINDS),
    _reduction("reduce_mean", "torch.mean", np.mean, (FLOAT,)),
    _reduction("reduce_max", "torch.amax", np.max, NUMBERS),
    _reduction("reduce_min", "torch.amin", np.min, NUMBERS),
    _reduction("reduce_product", "torch.prod", np.prod, KINDS),
    _reduction("reduce_any", "torch.any of bools", np.any, (BOOL,)),
    _reduction("reduce_all", "torch.all of bools", np.all, (BOOL,)),
    _place("index_of_max", "torch.argmax: the first largest, NaN counting as largest", np.argmax),
    _place("index_of_min", "torch.argmin: the first smallest, NaN counting as smallest", np.argmin),
    Op(
        name="running_sum",
        summary="torch.cumsum",
        result=_running_sum_result,
        reference=lambda x, axis: np.cumsum(x, axis=axis + 1),
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
    Op(
        name="top",
        summary="torch.topk: the first `count` in order and their places; of equal ones, the first places first",
        result=_top_result,
        reference=_top,
        attributes={"axis": int, "count": int, "largest": True},
        template="nest",
        single=True,
    ),
)
