"""
Arithmetic, comparisons and choices between tensors that broadcast, compared with torch, and what rows refuse.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from compiler.ir import BATCH, DType
from compiler.ops import arithmetic
from tests.ops.rows import (
    SPECIAL,
    Array,
    Constant,
    Input,
    bools,
    compare,
    integers,
    normal,
    reference,
    refused,
    specials,
    tensor,
)

ARITHMETIC = {
    "plus": torch.add,
    "minus": torch.sub,
    "times": torch.mul,
    "over": torch.true_divide,
    "power": torch.pow,
    "largest_of": torch.maximum,
    "least_of": torch.minimum,
    "modulo": torch.remainder,
    "floor_over": torch.floor_divide,
}
COMPARISONS = {
    "equal": torch.eq,
    "unequal": torch.ne,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
}
LOGIC = {"both": torch.logical_and, "either": torch.logical_or, "differ": torch.logical_xor}
WIDE = len(SPECIAL)
EXACT = ("plus", "minus", "times", "over", "modulo", "floor_over")
SIZES: dict[str, Callable[..., Array]] = {"float": normal, "integer": integers, "bool": bools}
PAIRS = tuple(itertools.product(SIZES, SIZES))


def tolerance(op: str) -> float:
    return 0 if op in EXACT or op in COMPARISONS else 1e-14


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS])
def test_special_values(op):
    function = (ARITHMETIC | COMPARISONS)[op]
    left, right = specials(WIDE, 1), specials(1, WIDE)
    if op == "modulo":  # torch's remainder by a subnormal number is NaN, now and then
        right = np.where(right == 5e-324, 1.0, right)
    compare(op, [left, right], function, tolerance(op))
    compare(op, [Constant(left[0]), right], function, tolerance(op))
    compare(op, [left, Constant(np.array(0.0))], function, tolerance(op))


def nonzero(array: Array) -> Array:
    """
    The same array without zeros, by which torch divides no integers.
    """
    return np.ones_like(array) if array.dtype == bool else np.where(array == 0, 2, array)


def pairs(x: Array, y: Array) -> list[list[Input]]:
    """
    Two computed tensors, and each of them with a constant.
    """
    return [[x, y], [Constant(x[0]), y], [x, Constant(y[0, 0])]]


def counted(x: torch.Tensor) -> torch.Tensor:
    return x.long() if x.dtype == torch.bool else x


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("op", ARITHMETIC)
def test_numbers_of_all_dtypes(op, first, second):
    x, y = SIZES[first](2, 1, 4), nonzero(SIZES[second](1, 3, 4, seed=1))
    if op == "power":
        y = np.abs(y)
    precise = torch.Tensor.double if op == "over" else counted  # in torch, int64 / int64 is float32
    for inputs in pairs(x, y):
        compare(op, inputs, lambda x, y: ARITHMETIC[op](precise(x), precise(y)), tolerance(op))


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_all_dtypes(op, first, second):
    x, y = SIZES[first](2, 1, 4), SIZES[second](1, 3, 4, seed=1)
    for inputs in pairs(x, y):
        compare(op, inputs, COMPARISONS[op])


def test_integers_to_the_power_of_integers():
    bases, exponents = np.array([-3, -2, -1, 0, 1, 2, 5]), np.array([-3, -2, -1, 0, 1, 2, 3])
    x = np.broadcast_to(bases[:, None], (3, 7, 1)).copy()
    compare("power", [x, Constant(exponents)], torch.pow, 0)


@pytest.mark.parametrize("op", ["modulo", "floor_over"])
def test_an_integer_divided_by_zero_is_zero(op):
    (found,) = reference(op, [integers(5), Constant(np.array(0))])
    assert (found == 0).all()


@pytest.mark.parametrize("op", LOGIC)
def test_logic(op):
    compare(op, [bools(2, 1, 9), bools(1, 3, 9, seed=1)], LOGIC[op])
    compare(op, [Constant(np.array(True)), bools(3)], LOGIC[op])


@pytest.mark.parametrize("condition", [bools(2, 1, 9), Constant(bools(2, 1, 9)[0]), Constant(np.array(False))])
def test_choices(condition):
    compare("where", [condition, specials(1, 3, 9), normal(2, 3, 1)], torch.where, 0)
    compare("where", [condition, specials(1, 3, 9), Constant(np.array(-np.inf))], torch.where, 0)
    compare("where", [condition, integers(1, 3, 9), specials(2, 3, 1)], torch.where, 0)
    compare("where", [condition, integers(1, 3, 9), bools(2, 3, 1)], torch.where, 0)
    compare("where", [condition, bools(1, 3, 9), bools(2, 3, 1)], torch.where, 0)


TORCH = {"float32": torch.float64, "int64": torch.int64, "bool": torch.bool}


@pytest.mark.parametrize("dtype", TORCH)
def test_casts(dtype):
    representable = np.where(np.abs(specials(WIDE)) < 1e9, specials(WIDE), 0.0)
    whole = dtype == "int64"  # NaN has no integer
    for x in (representable if whole else specials(WIDE), normal(2, 3) * 9, integers(2, 3), bools(2, 3)):
        compare("cast", [x], lambda x: x.to(TORCH[dtype]), 0, dtype=dtype)


X, FLAGS, WHOLE = (BATCH, 2, 3), tensor((BATCH, 2, 3), DType.BOOL), tensor((BATCH, 2, 3), DType.INT64)


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS])
def test_what_rows_of_two_numbers_refuse(op):
    refused(op, [X, (BATCH, 2, 4)], r"shapes do not broadcast: \(2, 3\), \(2, 4\)")
    refused(op, [X, (BATCH, 3)], r"must have the same rank, and constants none larger; found \(2, 3\), \(3,\)")
    refused(op, [X, (1, 2, 3)], "must have the same rank, and constants none larger")
    refused(op, [X[1:], X[1:]], "all inputs are constants")
    refused(op, [X, tensor(X, DType.FLOAT64)], "must be float32 or int64 or bool, found float64")
    refused(op, [X], "takes 2 inputs, found 1")


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        *((op, [FLAGS, WHOLE], {}, "must be bool, found int64") for op in LOGIC),
        ("where", [X, X, X], {}, "must be bool, found float32"),
        ("where", [FLAGS, X, (BATCH, 3, 3)], {}, "do not broadcast"),
        ("where", [FLAGS, X, tensor(X, DType.INT8)], {}, "found int8"),
        ("cast", [X], {"dtype": "float64"}, "dtype must be float32 or int64 or bool, found 'float64'"),
        ("cast", [X], {"dtype": DType.INT64}, "dtype must be str"),
        ("cast", [X[1:]], {"dtype": "int64"}, "must have shape"),
        ("cast", [tensor(X, DType.INT8)], {"dtype": "int64"}, "found int8"),
    ],
)
def test_what_other_rows_refuse(op, inputs, attributes, message):
    refused(op, inputs, message, **attributes)


def test_every_row_is_compared():
    assert {*ARITHMETIC, *COMPARISONS, *LOGIC, "where", "cast"} == {row.name for row in arithmetic.ROWS}
