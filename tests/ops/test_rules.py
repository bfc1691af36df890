"""
What a model file may say: shape rules of general models refuse it, or give a type that kernels can be made for.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, Attribute, DType, Shape, Tensor
from compiler.ops import (
    OPS,
    Op,
    arithmetic,
    contraction,
    general_norms,
    image,
    rearranging,
    reduction,
    sequence,
    unary,
    upsampling,
    winograd,
)
from compiler.ops.dims import KINDS, broadcast, spread

FAMILIES = rearranging, arithmetic, unary, reduction, general_norms, contraction, image, upsampling, sequence, winograd
GENERAL = [row for family in FAMILIES for row in family.ROWS]
NUMBERS = st.one_of(st.integers(-1, 4), st.sampled_from([2**31, 2**63, -(2**63)]))
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.0, np.inf, -np.inf, np.nan, 1e-320, 1e308])
PARTS = st.one_of(NUMBERS, FLOATS, st.booleans(), st.text(max_size=2), st.none())
VALUES: dict[type, st.SearchStrategy[Any]] = {
    int: NUMBERS,
    float: FLOATS,
    bool: st.booleans(),
    str: st.one_of(st.sampled_from(["float32", "relu", "tanh", "int8"]), st.text(max_size=3)),
    tuple: st.one_of(st.tuples(st.integers(1, 3), st.integers(1, 3)), st.lists(PARTS, max_size=4).map(tuple)),
}
DIMS = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@st.composite
def attributes(draw: st.DrawFn, row: Op) -> dict[str, Attribute]:
    """
    Values of the types that the row declares, whatever they are.
    """
    kinds = {name: value if isinstance(value, type) else type(value) for name, value in row.attributes.items()}
    return {name: draw(VALUES[kind]) for name, kind in kinds.items()}


@st.composite
def tensors(draw: st.DrawFn, dims: tuple[int, ...]) -> Tensor:
    """
    Computed tensors and constants; of two that are drawn, most have something in common.
    """
    sizes = draw(st.sampled_from([dims, dims[:-1], dims[1:], dims[-1:]]) | DIMS)
    shapes: list[Shape] = [(BATCH, *sizes), sizes, ("other", *sizes)]
    shape = draw(st.sampled_from(shapes))
    kind = draw(st.sampled_from([*KINDS, DType.UINT8]))
    known = draw(st.booleans()) and shape == sizes
    return Tensor("x", kind, shape, np.zeros(sizes, kind.numpy) if known else None)


@pytest.mark.parametrize("row", GENERAL, ids=lambda row: row.name)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_rules_refuse_or_give_whole_dims(row, data):
    dims = data.draw(DIMS)
    count = row.arity or data.draw(st.integers(0, 5))
    inputs = [data.draw(tensors(dims)) for _ in range(count)]
    given = data.draw(attributes(row))
    try:
        types = row.infer(inputs, given)
    except UnsupportedError:
        return
    for kind in types:
        assert kind.dtype in KINDS
        assert kind.shape[0] == BATCH
        assert all(type(size) is int and size >= 1 for size in kind.shape[1:])
    assert row.multiply_adds(inputs, given) >= 0


def test_all_general_rows_take_one_sample_at_a_time():
    assert len({row.name for row in GENERAL}) == len(GENERAL)
    for row in GENERAL:
        assert OPS[row.name] is row
        assert row.single, row.name
        assert not row.elementwise, row.name


@given(st.lists(DIMS, min_size=1, max_size=4))
def test_dims_broadcast_as_in_numpy(shapes):
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    try:
        right = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(UnsupportedError, match="do not broadcast"):
            spread("plus", *padded)
        return
    assert spread("plus", *padded) == right
    longest = max(shapes, key=len)
    given = [Tensor("x", DType.FLOAT32, shape) for shape in shapes]
    assert broadcast("plus", Tensor("x", DType.FLOAT32, (BATCH, *longest)), *given) == right
