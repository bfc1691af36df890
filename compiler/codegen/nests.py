"""
Loop nests: kernels in which every result is made of values that stand at affine places of the operands.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.codegen.body import Body, Operand, Running, place_of, product, sum_of


@dataclass(frozen=True)
class Access:
    """
    Where a nest reads or writes an operand: from `first` on, `strides` further with each loop.
    """

    operand: Operand
    strides: tuple[int, ...]
    first: int | str = 0
    variable: str = "x"
    """What the value is called that was read."""


def write_nest(
    body: Body,
    dims: Sequence[int],
    target: Access,
    sources: Sequence[Access],
    expression: str,
    exact: bool = False,
    shared: bool = True,
) -> None:
    """
    Writes loops over `dims` that compute an expression of the sources' variables, in registers in the innermost loop.

    With `exact`, nothing is written behind the last element where their number is known at run time only: needed where
    other elements of the target stand there. Threads have parts of a nest that is `shared`.
    """
    counts, (target, *sources) = collapsed(dims, [target, *sources])
    *outer, inner = counts
    with body.loops("i", outer, shared=shared) as variables:
        for source in sources:
            if source.strides[-1] == 0:
                place = place_of(variables, source.strides[:-1], source.first)
                body.add(f"{source.variable} = splat({source.operand.scalar(place)})")
        through = body.exact_pieces if exact else body.pieces
        for at, count in through(inner, shared=shared):
            here = [*variables, at]
            for source in sources:
                if source.strides[-1] != 0:
                    _read(body, source, place_of(here, source.strides, source.first), count)
            place = place_of(here, target.strides, target.first)
            if target.strides[-1] == 1 or inner == 1:
                body.store(target.operand.name, place, count, expression)
            else:
                number = "LANES" if count == body.lanes else str(count)
                body.add(f"store_spaced({target.operand.name}, {place}, {target.strides[-1]}, {number}, {expression})")


def collapsed(dims: Sequence[int], accesses: Sequence[Access]) -> tuple[list[int], list[Access]]:
    """
    The same loops without those of one pass, and with those as one that all accesses go through as if they were one.
    """
    kept = [axis for axis, size in enumerate(dims) if size != 1]
    groups: list[list[int]] = []
    for axis in kept:
        # What is known at run time only must be outermost: beyond it elements of a row stand that nothing reads.
        joins = bool(groups) and not isinstance(dims[axis], Running)
        if joins and all(_follow(access, groups[-1][-1], axis, dims[axis]) for access in accesses):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if not groups:
        return [1], [Access(a.operand, (0,), a.first, a.variable) for a in accesses]
    counts = [product([dims[axis] for axis in group]) for group in groups]
    last = [group[-1] for group in groups]
    return counts, [Access(a.operand, tuple(a.strides[axis] for axis in last), a.first, a.variable) for a in accesses]


def _follow(access: Access, axis: int, following: int, size: int) -> bool:
    return access.strides[axis] == access.strides[following] * size


def _read(body: Body, source: Access, place: str, count: int | str) -> None:
    """
    Reads up to LANES values of the innermost loop.
    """
    operand, stride, variable = source.operand, source.strides[-1], source.variable
    if not operand.in_words:
        number = "LANES" if count == body.lanes else str(count)
        body.add(f"{variable} = splat(0.0)")
        with body.block(f"for lane in range({number}):"):
            body.add(f"{variable} = put({variable}, lane, {operand.scalar(sum_of((place, 1), ('lane', stride)))})")
    elif stride == 1:
        body.add(f"{variable} = {body.load(operand.name, place, count)}")
    else:
        number = "LANES" if count == body.lanes else str(count)
        body.add(f"{variable} = load_spaced({operand.name}, {place}, {stride}, 0, {number})")
