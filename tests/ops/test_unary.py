"""
Functions of each element alone, compared with torch, and what they refuse.
"""

import numpy as np
import pytest
import torch

from compiler.ir import BATCH, DType
from compiler.ops import unary
from tests.ops.rows import bools, compare, integers, refused, specials, tensor

FUNCTIONS = {
    "negate": torch.neg,
    "absolute": torch.abs,
    "square": torch.square,
    "sign": torch.sign,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "log": torch.log,
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "sin": torch.sin,
    "cos": torch.cos,
    "atan": torch.atan,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "trunc": torch.trunc,
    "not": torch.logical_not,
    "is_nan": torch.isnan,
}
EXACT = ("negate", "absolute", "square", "sign", "reciprocal", "floor", "ceil", "round", "trunc", "is_nan")
INTEGERS = ("negate", "absolute", "square", "sign")
DENSE = np.linspace(-30, 30, 1201 * 3).reshape(3, 1201)
MAGNITUDES = np.concatenate([np.geomspace(1e-300, 1e300, 121), -np.geomspace(1e-300, 1e300, 121)])
HALVES = np.arange(-20, 20) / 2


@pytest.mark.parametrize("op", [name for name in FUNCTIONS if name != "not"])
def test_floats(op):
    tolerance = 0 if op in EXACT else 1e-14
    for x in (DENSE, specials(2, 4, 2), np.stack([MAGNITUDES, *[np.resize(HALVES, MAGNITUDES.size)] * 2])):
        compare(op, [x], FUNCTIONS[op], tolerance)


@pytest.mark.parametrize("op", INTEGERS)
def test_integers(op):
    compare(op, [integers(2, 3)], FUNCTIONS[op], 0)


def test_bools():
    compare("not", [bools(2, 3)], torch.logical_not, 0)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_what_rows_refuse(op):
    good = DType.BOOL if op == "not" else DType.FLOAT32
    for kind in set(DType) - {good} - ({DType.INT64} if op in INTEGERS else set()):
        refused(op, [tensor((BATCH, 2), kind)], f"found {kind}")
    refused(op, [tensor((2,), good)], r"must have shape \(batch, ...\)")
    refused(op, [tensor((BATCH, "more"), good)], "symbolic dimension")
    refused(op, [(BATCH, 2), (BATCH, 2)], "takes 1 inputs, found 2")


def test_every_row_is_compared():
    assert list(FUNCTIONS) == [row.name for row in unary.ROWS]
