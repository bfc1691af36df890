"""
Sums, means, extremes and their places, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
import torch

from compiler.ir import BATCH, DType
from compiler.ops import reduction
from tests.ops.rows import bools, compare, integers, normal, reference, refused, specials, tensor


def product(x: torch.Tensor, axes: tuple[int, ...], keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


REDUCTIONS = {
    "reduce_sum": torch.sum,
    "reduce_mean": torch.mean,
    "reduce_max": torch.amax,
    "reduce_min": torch.amin,
    "reduce_product": product,
    "reduce_any": torch.any,
    "reduce_all": torch.all,
}
PLACES = {"index_of_max": torch.argmax, "index_of_min": torch.argmin}
TAKES = {"reduce_mean": "f", "reduce_max": "fi", "reduce_min": "fi", "reduce_any": "b", "reduce_all": "b"}


def values(kinds: str) -> list[np.ndarray]:
    found = [normal(2, 3, 5), specials(2, 3, 5), specials(3, 1, 2), integers(2, 3, 5), bools(2, 3, 5)]
    found += [np.ones((3, 2, 3, 5), bool), np.zeros((3, 2, 3, 5), bool)]
    return [array for array in found if array.dtype.kind in kinds]


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (2, 1), (0, 1, 2)])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op, axes, keep):
    for x in values(TAKES.get(op, "fib")):
        compare(op, [x], lambda x: REDUCTIONS[op](x, axes, keep), 1e-12, axes=axes, keep=keep)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("op", PLACES)
def test_places_are_the_first(op, axis, keep):
    ties = np.random.default_rng(0).integers(-1, 2, (3, 4, 5, 40))
    some = np.where(ties == 0, np.nan, ties)
    for x in (*values("fi"), ties, ties.astype(float), some):
        compare(op, [x], lambda x: PLACES[op](x, axis, keep), 0, axis=axis, keep=keep)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_sums(axis):
    for x in values("fib"):
        compare("running_sum", [x], lambda x: x.cumsum(axis), axis=axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("largest", [False, True])
def test_orders_are_stable_and_nan_is_largest(axis, largest):
    ties = np.random.default_rng(0).integers(-1, 2, (3, 4, 5, 40)).astype(float)
    some = np.where(ties == 0, np.nan, ties)
    for x in (*values("fi"), ties, some, np.where(ties > 0, np.inf, ties)):
        count = max(1, x.shape[axis + 1] - 1)

        right = torch.sort(torch.tensor(x), dim=axis + 1, descending=largest, stable=True)
        for found, wanted in zip(reference("top", [x], axis=axis, count=count, largest=largest), right, strict=True):
            np.testing.assert_array_equal(found, wanted.narrow(axis + 1, 0, count).numpy())


def test_what_orders_refuse():
    good = tensor((BATCH, 2, 3))
    refused("top", [good], "attribute count must be at most 3, found 4", axis=1, count=4)
    refused("top", [good], "attribute count must be an integer of at least 1", axis=1, count=0)
    refused("top", [tensor((BATCH, 2, 3), DType.BOOL)], "found bool", axis=1, count=1)


X = (BATCH, 2, 3)


@pytest.mark.parametrize("op", REDUCTIONS)
def test_what_reductions_refuse(op):
    taken = DType.BOOL if TAKES.get(op) == "b" else DType.FLOAT32
    good = tensor(X, taken)
    refused(op, [good], "axes must be axes less than 2, each once", axes=())
    refused(op, [good], "axes must be axes less than 2, each once", axes=(2,))
    refused(op, [good], "axes must be axes less than 2, each once", axes=(1, 1))
    refused(op, [good], "axes must be integers of at least 0", axes=(-1,))
    refused(op, [good], "keep must be bool", axes=(1,), keep=1)
    refused(op, [tensor(X[1:], taken)], "must have shape", axes=(1,))
    refused(op, [tensor(X, DType.FLOAT16)], "found float16", axes=(1,))


@pytest.mark.parametrize("op", [*PLACES, "running_sum"])
def test_what_rows_of_one_axis_refuse(op):
    refused(op, [X], "axis must be at least 0 and less than 2", axis=2)
    refused(op, [X], "axis must be at least 0 and less than 2", axis=-1)
    refused(op, [(BATCH,)], "axis must be at least 0 and less than 0", axis=0)
    refused(op, [X[1:]], "must have shape", axis=0)
    refused(op, [tensor(X, DType.FLOAT64)], "found float64", axis=0)


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("reduce_mean", DType.INT64),
        ("reduce_max", DType.BOOL),
        ("reduce_min", DType.BOOL),
        ("reduce_any", DType.FLOAT32),
        ("reduce_all", DType.INT64),
    ],
)
def test_dtypes_that_are_refused(op, kind):
    refused(op, [tensor(X, kind)], f"found {kind}", axes=(0,))


def test_every_row_is_compared():
    assert {*REDUCTIONS, *PLACES, "running_sum", "top"} == {row.name for row in reduction.ROWS}
