"""
The kernels of general models that put elements in other places.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from compiler.codegen.body import (
    Body,
    Operand,
    broadcast,
    offset,
    passes,
    place_of,
    product,
    running,
    strides_of,
    sum_of,
)
from compiler.codegen.nests import Access, collapsed, write_nest
from compiler.codegen.source import python
from compiler.ir import Node, Tensor


def write_permute(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel whose loops go through the result in order.
    """
    order = integers(node, "order")
    _copy(body, result, source, [source.strides[axis] for axis in order])


def write_expand(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel that repeats elements.
    """
    _copy(body, result, source, broadcast(source.dims, result.dims))


def write_slice(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel that leaves elements of one axis out.
    """
    axis, start, step = (integer(node, name) for name in ("axis", "start", "step"))
    strides = list(source.strides)
    first = offset((running(start), strides[axis]))
    strides[axis] *= step
    _copy(body, result, source, strides, first)


def write_flip(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel that goes through some axes backwards.
    """
    axes = integers(node, "axes")
    ends = [(source.dims[axis], source.strides[axis]) for axis in axes]
    first = offset(*ends, *((-1, stride) for _, stride in ends))
    strides = [-stride if axis in axes else stride for axis, stride in enumerate(source.strides)]
    _copy(body, result, source, strides, first)


def write_join(body: Body, node: Node, inputs: Sequence[Operand], result: Operand) -> None:
    """
    Writes a kernel that copies one input after the other.
    """
    axis = integer(node, "axis")
    before: list[tuple[int, int]] = []
    for source in inputs:
        target = Access(result, result.strides, offset(*before))
        write_nest(body, source.dims, target, [Access(source, source.strides)], "x")
        before.append((source.dims[axis], result.strides[axis]))


def write_surround(body: Body, node: Node, source: Operand, result: Operand) -> None:
    """
    Writes a kernel that fills the result with a value, and then copies the input into its middle.
    """
    value = node.attributes["value"]
    assert isinstance(value, float)
    before = integers(node, "before")
    if source.dims != result.dims:
        fill = f"splat({vector_number(value)})"
        write_nest(body, result.dims, Access(result, result.strides), [], fill, shared=False)
    first = sum(count * stride for count, stride in zip(before, result.strides, strict=True))
    target = Access(result, result.strides, first)
    write_nest(body, source.dims, target, [Access(source, source.strides)], "x", exact=True, shared=False)


def write_embedding(body: Body, indices: Operand, table: Operand, result: Operand) -> None:
    """
    Writes a kernel that copies a row for each index.
    """
    rows, *rest = table.dims
    row = prod(rest)
    counts, (access,) = collapsed(indices.dims, [Access(indices, indices.strides)])
    with body.loops("i", counts, shared=True) as variables:
        place = place_of(variables, access.strides)
        body.add(f"row = {sum_of((f'bounded({indices.scalar(place)}, {rows})', row))}")
        _copy_run(body, table, "row", result, sum_of((place, row)), row)


def write_take(body: Body, node: Node, source: Operand, result: Operand, indices: Tensor) -> None:
    """
    Writes a kernel that takes elements of one axis at known places: evenly spaced ones as a slice.
    """
    assert indices.data is not None
    axis, places = integer(node, "axis"), [int(place) for place in indices.data]
    gaps = set(np.diff(places).tolist())
    if len(gaps) <= 1:
        strides = list(source.strides)
        first = places[0] * strides[axis]
        strides[axis] *= gaps.pop() if gaps else 0
        _copy(body, result, source, strides, first)
        return
    inner, size = source.strides[axis], source.dims[axis]
    outermost = product(source.dims[:axis])
    with body.loop("i0", outermost, shared=True) as outer, body.loop("k", len(places), shared=True) as k:
        body.add(f"begin = {sum_of((outer, inner * size), (f'load_integer(indices, {k})', inner))}")
        _copy_run(body, source, "begin", result, sum_of((outer, inner * len(places)), (k, inner)), inner)


def write_gather(body: Body, node: Node, source: Operand, indices: Operand, result: Operand) -> None:
    """
    Writes a kernel that looks up each element along one axis.
    """
    axis = integer(node, "axis")
    with body.loops("i", result.dims, shared=True) as variables:
        place = place_of(variables, strides_of(result.dims))
        body.add(f"k = bounded({indices.scalar(place)}, {passes(source.dims[axis])})")
        here = ["k" if number == axis else variable for number, variable in enumerate(variables)]
        body.add(f"store_scalar({result.name}, {place}, {source.scalar(place_of(here, source.strides))})")


def _copy(body: Body, result: Operand, source: Operand, strides: Sequence[int], first: int | str = 0) -> None:
    access = Access(source, tuple(strides), first)
    write_nest(body, result.dims, Access(result, result.strides), [access], "x")


def _copy_run(body: Body, source: Operand, begin: str, result: Operand, place: str, count: int) -> None:
    """
    Copies elements that lie side by side.
    """
    if not source.in_words or count == 1:
        with body.loop("j", count) as j:
            value = source.scalar(sum_of((begin, 1), (j, 1)))
            body.add(f"store_scalar({result.name}, {sum_of((place, 1), (j, 1))}, {value})")
        return
    for j, width in body.pieces(count, "j"):
        value = body.load(source.name, sum_of((begin, 1), (j, 1)), width)
        body.store(result.name, sum_of((place, 1), (j, 1)), width, value)


def integer(node: Node, name: str) -> int:
    """
    An attribute that is an integer.
    """
    value = node.attributes[name]
    assert isinstance(value, int)
    return value


def integers(node: Node, name: str) -> tuple[int, ...]:
    """
    An attribute of integers.
    """
    value = node.attributes[name]
    assert isinstance(value, tuple)
    return tuple(int(part) for part in value)


def vector_number(value: float) -> str:
    """
    A number as an argument of `splat`.
    """
    return python(value) if np.isfinite(value) else "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"
