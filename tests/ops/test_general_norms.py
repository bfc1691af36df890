"""
Softmax and norms of general models, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
from torch.nn import functional

from compiler.ir import BATCH, DType
from compiler.ops import general_norms
from tests.ops.rows import Constant, Input, compare, constant, normal, refused, specials, tensor

SOFTMAX = {"softmax_over": functional.softmax, "log_softmax_over": functional.log_softmax}


def hidden(*dims: int) -> np.ndarray:
    """
    Values of which some rows are masked in part, and some wholly.
    """
    x = normal(*dims) * 30
    x[..., ::2] = -np.inf
    x[1] = -np.inf
    return x


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", SOFTMAX)
def test_softmax(op, axis):
    for x in (normal(2, 3, 4) * 100, hidden(2, 3, 4), specials(2, 3, 5), normal(1, 1, 1)):
        compare(op, [x], lambda x: SOFTMAX[op](x, axis), axis=axis)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_norms_of_the_last_dimensions(count):
    dims = (4, 3, 5)
    kept = dims[3 - count :]
    weight, bias = constant(*kept), constant(*kept, seed=2)
    for x in (normal(*dims) * 3 + 7, specials(*dims), np.full((3, *dims), 2.5), normal(*dims) * 1e-6):
        compare(
            "layer_norm",
            [x, weight, bias],
            lambda x, weight, bias: functional.layer_norm(x, kept, weight, bias, 1e-3),
            1e-9,
            count=count,
            epsilon=1e-3,
        )
        compare(
            "rms_norm",
            [x, weight],
            lambda x, weight: functional.rms_norm(x, kept, weight, 1e-6),
            1e-11,
            count=count,
            epsilon=1e-6,
        )


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_norms_of_groups(groups):
    weight, bias = constant(6), constant(6, seed=2)
    for x in (normal(2, 6, 4, 3) * 3 + 7, specials(2, 6, 5), normal(2, 6)):
        if groups == 6 and x.ndim == 3:
            continue  # torch refuses groups of one value
        compare(
            "group_norm",
            [x, weight, bias],
            lambda x, weight, bias: functional.group_norm(x, groups, weight, bias, 1e-3),
            1e-9,
            groups=groups,
            epsilon=1e-3,
        )


def test_a_norm_of_infinite_variance_is_nan():
    x = np.array([[np.inf, 1.0], [1e200, -1e200], [np.nan, 1.0]])
    given: list[Input] = [x, Constant(np.ones(2)), Constant(np.zeros(2))]
    compare("layer_norm", given, lambda x, w, b: functional.layer_norm(x, (2,), w, b), count=1)


X, W = (BATCH, 4, 6), (6,)


@pytest.mark.parametrize("op", SOFTMAX)
def test_what_softmax_refuses(op):
    refused(op, [X], "axis must be at least 0 and less than 2", axis=2)
    refused(op, [X[1:]], "must have shape", axis=0)
    refused(op, [tensor(X, DType.INT64)], "must be float32", axis=0)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "message"),
    [
        ("layer_norm", [X, W, W], {"count": 0}, "count must be an integer of at least 1"),
        ("layer_norm", [X, W, W], {"count": 3}, "count must be at most 2, found 3"),
        ("layer_norm", [X, W, W], {"count": 2}, r"must be a constant of shape \(4, 6\), found \(6,\)"),
        ("layer_norm", [X, W, (4,)], {"count": 1}, r"must be a constant of shape \(6,\), found \(4,\)"),
        ("layer_norm", [X, W, (BATCH, 6)], {"count": 1}, "must be a constant"),
        ("layer_norm", [X, W, W], {"count": 1, "epsilon": -1.0}, "epsilon must be a number of at least 0"),
        ("layer_norm", [X, W, W], {"count": 1, "epsilon": np.nan}, "epsilon must be a number of at least 0"),
        ("layer_norm", [X, W, W], {"count": 1, "epsilon": np.inf}, "epsilon must be a number of at least 0"),
        ("layer_norm", [X, W, tensor(W, DType.INT64)], {"count": 1}, "must be float32"),
        ("rms_norm", [X, W], {"count": 1}, "attribute epsilon is missing"),
        ("rms_norm", [X, (4, 6)], {"count": 1, "epsilon": 1e-6}, "must be a constant"),
        ("rms_norm", [X[1:], W], {"count": 1, "epsilon": 1e-6}, "must have shape"),
        ("group_norm", [X, W, W], {"groups": 0}, "groups must be an integer of at least 1"),
        ("group_norm", [X, W, W], {"groups": 4}, "6 channels are not 4 groups"),
        ("group_norm", [X, (4,), W], {"groups": 3}, "must be a constant"),
        ("group_norm", [X, W, W], {"groups": 3, "epsilon": -0.1}, "epsilon must be a number of at least 0"),
        ("group_norm", [(BATCH, 6), W, W], {"groups": 3}, r"needs dimensions \(N, C, ...\)"),
    ],
)
def test_what_norms_refuse(op, inputs, attributes, message):
    refused(op, inputs, message, **attributes)


def test_every_row_is_compared():
    assert {*SOFTMAX, "layer_norm", "rms_norm", "group_norm"} == {row.name for row in general_norms.ROWS}
