"""
Where elements of a sample go, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
import torch

from compiler.ir import BATCH, DType
from compiler.ops import rearranging
from tests.ops.rows import Constant, Input, bools, compare, constant, integers, normal, refused, specials, tensor

ANY = (specials(2, 3, 4), integers(2, 3, 4), bools(2, 3, 4))
INTEGERS, FLAGS = DType.INT64, DType.BOOL


@pytest.mark.parametrize("x", ANY)
def test_rows_compute_what_torch_does(x):
    compare("reshape", [x], lambda x: x.reshape(4, 1, 6), 0, shape=(4, 1, 6))
    compare("reshape", [x[:, :1, :1, :1]], lambda x: x.reshape(()), 0, shape=())
    compare("permute", [x], lambda x: x.permute(2, 0, 1), 0, order=(2, 0, 1))
    compare("flip", [x], lambda x: x.flip(0, 2), 0, axes=(0, 2))
    compare("flip", [x], lambda x: x.flip(1), 0, axes=(1,))
    compare("expand", [x[:, :1, :, :1]], lambda x: x.expand(5, 3, 2), 0, shape=(5, 3, 2))
    compare("slice", [x], lambda x: x[:, :, 1:4:2], 0, axis=2, start=1, stop=4, step=2)
    compare("slice", [x], lambda x: x[1:], 0, axis=0, start=1, stop=2)
    compare("take", [x, Constant(np.array([2, 0, 0, 1]))], lambda x, i: x.index_select(1, i), 0, axis=1)


def test_parts_are_joined():
    for x in ANY:
        compare("join", [x, x[:, :, :1], x], lambda *parts: torch.cat(parts, 1), 0, axis=1)
        compare("join", [Constant(x[0]), x], lambda *parts: torch.cat(parts, 0), 0, axis=0)
    compare("join", [specials(2, 3), constant(2, 4)], lambda *parts: torch.cat(parts, 1), 0, axis=1)
    compare("join", [specials(5)], lambda x: x, 0, axis=0)


@pytest.mark.parametrize("value", [0.0, -0.0, -7.5, -np.inf, np.nan])
def test_samples_are_surrounded(value):
    x = specials(2, 3)

    def pad(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, (2, 0, 1, 3), value=value)

    compare("surround", [x], pad, 0, before=(1, 2), after=(3, 0), value=value)
    compare("surround", [x], lambda x: x, 0, before=(0, 0), after=(0, 0), value=value)


def test_integers_and_bools_are_surrounded():
    pad = torch.nn.functional.pad
    compare("surround", [integers(3)], lambda x: pad(x, (1, 2), value=-4), 0, before=(1,), after=(2,), value=-4.0)
    compare("surround", [bools(3)], lambda x: pad(x, (1, 2), value=True), 0, before=(1,), after=(2,), value=1.0)


@pytest.mark.parametrize(
    "table", [constant(5), constant(5, 4), constant(5, 2, 3), Constant(np.arange(10).reshape(5, 2))]
)
def test_rows_of_a_table(table):
    look_up = lambda indices, table: table[indices]  # noqa: E731
    for dims in ((), (4,), (2, 3)):
        compare("embedding", [integers(*dims, low=0, high=5), table], look_up, 0)
    nearest = lambda indices, table: table[indices.clamp(0, 4)]  # noqa: E731
    compare("embedding", [integers(20, low=-9, high=20), table], nearest, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gathered_elements(axis):
    x: Input
    size = (2, 3, 4)[axis]
    for x in (*ANY, constant(2, 3, 4)):
        for dims in ((2, 3, 4), (1, 2, 3)):
            places = integers(*dims, low=0, high=size)
            compare("gather", [x, places], lambda x, places: x.gather(axis, places), 0, axis=axis)
            beyond = integers(*dims, low=-9, high=9)
            compare("gather", [x, beyond], lambda x, i: x.gather(axis, i.clamp(0, size - 1)), 0, axis=axis)
    known = Constant(integers(*(9 if axis == place else 1 for place in range(3)), low=0, high=size)[0])
    compare("gather", [ANY[0], known], lambda x, places: x.gather(axis, places), 0, axis=axis)


X = (BATCH, 2, 3, 4)


def known(*values: int):
    return tensor((len(values),), INTEGERS, np.array(values))


REFUSED = [
    ("reshape", [X], {"shape": (5, 5)}, r"\(2, 3, 4\) has 24 elements, \(5, 5\) has 25"),
    ("reshape", [X], {"shape": (-1, 24)}, "shape must be integers of at least 1"),
    ("reshape", [X], {"shape": (True, 24)}, "shape must be integers of at least 1"),
    ("reshape", [X], {"shape": [24]}, "shape must be tuple"),
    ("reshape", [X[1:]], {"shape": (24,)}, r"'x' must have shape \(batch, ...\)"),
    ("reshape", [(BATCH, "more", 2)], {"shape": (2,)}, "symbolic dimension"),
    ("reshape", [tensor(X, DType.UINT8)], {"shape": (24,)}, "must be float32 or int64 or bool, found uint8"),
    ("permute", [X], {"order": (0, 1)}, "name each of 3 axes once"),
    ("permute", [X], {"order": (0, 1, 1)}, "name each of 3 axes once"),
    ("permute", [X], {"order": (0, 1, -1)}, "order must be integers of at least 0"),
    ("expand", [X], {"shape": (2, 3, 5)}, "only dimensions of size 1 repeat"),
    ("expand", [X], {"shape": (2, 2, 3, 4)}, "shape must be 3 integers"),
    ("slice", [X], {"axis": 3, "start": 0, "stop": 1}, "axis must be at least 0 and less than 3"),
    ("slice", [X], {"axis": -1, "start": 0, "stop": 1}, "axis must be at least 0 and less than 3"),
    ("slice", [X], {"axis": 0, "start": 1, "stop": 1}, "1 to 1 is empty"),
    ("slice", [X], {"axis": 0, "start": 0, "stop": 3}, "beyond the 2 elements of axis 0"),
    ("slice", [X], {"axis": 0, "start": -1, "stop": 1}, "start must be an integer of at least 0"),
    ("slice", [X], {"axis": 0, "start": 0, "stop": 1, "step": 0}, "step must be an integer of at least 1"),
    ("flip", [X], {"axes": ()}, "axes must be axes less than 3, each once"),
    ("flip", [X], {"axes": (1, 1)}, "axes must be axes less than 3, each once"),
    ("flip", [X], {"axes": (3,)}, "axes must be axes less than 3, each once"),
    ("join", [X, (BATCH, 2, 4, 4)], {"axis": 0}, "may differ in axis 0 only"),
    ("join", [X, (BATCH, 2, 3)], {"axis": 0}, "may differ in axis 0 only"),
    ("join", [X, X[1:]], {"axis": 3}, "less than 3"),
    ("join", [X, tensor(X, INTEGERS)], {"axis": 0}, "must be float32, found int64"),
    ("join", [X[1:], X[1:]], {"axis": 0}, "all inputs are constants"),
    ("join", [], {"axis": 0}, "takes one or more inputs"),
    ("surround", [X], {"before": (1,), "after": (0, 0, 0)}, "before must be 3 integers"),
    ("surround", [X], {"before": (0, 0, 0), "after": (0, 0, -1)}, "after must be 3 integers of at least 0"),
    ("surround", [tensor(X, INTEGERS)], {"before": (1, 1, 1), "after": (1, 1, 1), "value": 0.5}, "value of int64"),
    ("surround", [tensor(X, INTEGERS)], {"before": (1, 1, 1), "after": (1, 1, 1), "value": np.inf}, "value of int64"),
    ("surround", [tensor(X, FLAGS)], {"before": (1, 1, 1), "after": (1, 1, 1), "value": 2.0}, "value of bool"),
    ("embedding", [X, (5, 4)], {}, "must be int64, found float32"),
    ("embedding", [tensor((5,), INTEGERS), (5, 4)], {}, r"must have shape \(batch, ...\)"),
    ("embedding", [tensor(X, INTEGERS), (BATCH, 5, 4)], {}, "the table must be a constant"),
    ("embedding", [tensor(X, INTEGERS), ()], {}, "the table must be a constant of one dimension or more"),
    ("take", [X, tensor((2,), INTEGERS)], {"axis": 0}, "the indices must be a constant of one dimension"),
    ("take", [X, tensor((1, 1), INTEGERS, np.array([[0]]))], {"axis": 0}, "a constant of one dimension"),
    ("take", [X, known(2)], {"axis": 0}, "the indices must be from 0 to 1"),
    ("take", [X, known(-1)], {"axis": 0}, "the indices must be from 0 to 1"),
    ("take", [X, known(0)], {"axis": 3}, "less than 3"),
    ("gather", [X, tensor((BATCH, 2), INTEGERS)], {"axis": 0}, "the indices must have 3 dimensions"),
    ("gather", [X, tensor((BATCH, 9, 4, 4), INTEGERS)], {"axis": 0}, "larger than .* in an axis other than 0"),
    ("gather", [X[1:], tensor(X[1:], INTEGERS)], {"axis": 0}, "all inputs are constants"),
    ("gather", [X, X], {"axis": 0}, "must be int64"),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "message"), REFUSED)
def test_what_rows_refuse(op, inputs, attributes, message):
    refused(op, inputs, message, **attributes)


def test_every_row_refuses_something():
    assert {case[0] for case in REFUSED} == {row.name for row in rearranging.ROWS}


def test_an_empty_list_of_indices_is_refused():
    refused("take", [X, known()], "the indices must be a constant of one dimension", axis=0)


def test_samples_do_not_meet():
    x = normal(2, 3)
    compare("gather", [x, integers(2, 3, low=0, high=2)], lambda x, places: x.gather(0, places), 0, axis=0)
