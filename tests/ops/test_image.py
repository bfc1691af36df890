"""
Convolutions and pooling of images, compared with torch, and what rows refuse.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from compiler.ir import BATCH, DType, Tensor
from compiler.ops import OPS, image
from tests.ops.rows import Input, compare, constant, normal, refused, specials, tensor


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@given(
    sizes=pairs(1, 9),
    kernel=pairs(1, 4),
    stride=pairs(1, 4),
    padding=pairs(0, 4),
    dilation=pairs(1, 3),
    groups=st.integers(1, 3),
    channels=st.integers(1, 2),
    filters=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_convolutions(sizes, kernel, stride, padding, dilation, groups, channels, filters):
    sides = zip(sizes, padding, kernel, dilation, strict=True)
    assume(all(size + 2 * pad > gap * (reach - 1) for size, pad, reach, gap in sides))
    weight, bias = constant(groups * filters, channels, *kernel), constant(groups * filters)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    inputs: list[Input] = [normal(2, groups * channels, *sizes), weight, bias]
    compare("conv", inputs, partial(functional.conv2d, **attributes), **attributes)


@given(
    sizes=pairs(1, 6),
    kernel=pairs(1, 4),
    stride=pairs(1, 4),
    padding=pairs(0, 3),
    output_padding=pairs(0, 3),
    dilation=pairs(1, 3),
    groups=st.integers(1, 3),
    channels=st.integers(1, 2),
    filters=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_transposed_convolutions(sizes, kernel, stride, padding, output_padding, dilation, groups, channels, filters):
    output_padding = tuple(
        min(more, max(step, gap) - 1) for more, step, gap in zip(output_padding, stride, dilation, strict=True)
    )
    ends = zip(sizes, stride, padding, dilation, kernel, output_padding, strict=True)
    assume(
        all((size - 1) * step - 2 * pad + gap * (reach - 1) + more >= 0 for size, step, pad, gap, reach, more in ends)
    )
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    attributes["output_padding"] = output_padding
    weight, bias = constant(groups * channels, filters, *kernel), constant(groups * filters)
    inputs: list[Input] = [normal(2, groups * channels, *sizes), weight, bias]
    compare("conv_transposed", inputs, partial(functional.conv_transpose2d, **attributes), **attributes)


@given(
    sizes=pairs(1, 9),
    kernel=pairs(1, 4),
    stride=pairs(1, 5),
    padding=pairs(0, 4),
    dilation=pairs(1, 3),
    ceil=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_largest_of_windows(sizes, kernel, stride, padding, dilation, ceil):
    reach = [gap * (side - 1) + 1 for gap, side in zip(dilation, kernel, strict=True)]
    padding = tuple(min(pad, side // 2) for pad, side in zip(padding, kernel, strict=True))
    assume(all(size + 2 * pad >= side for size, pad, side in zip(sizes, padding, reach, strict=True)))
    attributes = {"stride": stride, "padding": padding, "dilation": dilation}
    function = partial(functional.max_pool2d, kernel_size=kernel, ceil_mode=ceil, **attributes)
    for x in (normal(1, 2, *sizes), specials(1, 2, *sizes), np.full((3, 1, 2, *sizes), -np.inf)):
        compare("max_pool", [x], function, 1e-300, kernel=kernel, ceil=ceil, **attributes)  # of zeros, either sign


@given(
    sizes=pairs(1, 9),
    kernel=pairs(1, 4),
    stride=pairs(1, 5),
    padding=pairs(0, 2),
    ceil=st.booleans(),
    count_padding=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_averages_of_windows(sizes, kernel, stride, padding, ceil, count_padding):
    padding = tuple(min(pad, side // 2) for pad, side in zip(padding, kernel, strict=True))
    assume(all(size + 2 * pad >= side for size, pad, side in zip(sizes, padding, kernel, strict=True)))
    attributes = {"stride": stride, "padding": padding}
    function = partial(
        functional.avg_pool2d, kernel_size=kernel, ceil_mode=ceil, count_include_pad=count_padding, **attributes
    )
    for x in (normal(1, 2, *sizes), specials(1, 2, *sizes)):
        compare("avg_pool", [x], function, kernel=kernel, ceil=ceil, count_padding=count_padding, **attributes)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((3, 2), (2, 1), (1, 1)), ((2, 2), (2, 2), (0, 0)), ((3, 4), (2, 3), (0, 2))]
)
def test_pooling_in_either_layout(kernel, stride, padding, ceil, layout):
    shared = {"kernel": kernel, "stride": stride, "padding": padding, "ceil": ceil, "layout": layout}

    def in_layout(pool: Callable[..., torch.Tensor], **more: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        def function(x: torch.Tensor) -> torch.Tensor:
            if layout == "channels_first":
                return pool(x, kernel, stride, padding, ceil_mode=ceil, **more)
            return pool(x.permute(2, 0, 1), kernel, stride, padding, ceil_mode=ceil, **more).permute(1, 2, 0)

        return function

    for x in (normal(6, 7, 5), specials(7, 6, 8)):
        compare("pool2d", [x], in_layout(functional.max_pool2d), 1e-300, kind="max", **shared)
        for counts in (False, True):
            mean = in_layout(functional.avg_pool2d, count_include_pad=counts)
            compare("pool2d", [x], mean, kind="mean", count_padding=counts, **shared)


def test_a_window_beyond_the_image_that_ceil_allows():
    x = normal(1, 1, 2, 2)
    largest = partial(functional.max_pool2d, kernel_size=3, stride=2, ceil_mode=True)
    compare("max_pool", [x], largest, 0, kernel=(3, 3), stride=(2, 2), ceil=True)
    average = partial(functional.avg_pool2d, kernel_size=3, stride=2, ceil_mode=True)
    compare("avg_pool", [x], average, kernel=(3, 3), stride=(2, 2), ceil=True)


@pytest.mark.parametrize("sizes", [(1, 1), (7, 7), (5, 9), (14, 3)])
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (2, 3), (6, 10)])
def test_adaptive_averages(sizes, size):
    for x in (normal(2, 3, *sizes), specials(2, 3, *sizes)):
        compare("adaptive_avg_pool", [x], lambda x: functional.adaptive_avg_pool2d(x, size), size=size)


def test_convolutions_of_what_is_no_number():
    x, bias = specials(1, 2, 6, 5), constant(4)
    compare("conv", [x, constant(4, 2, 3, 2), bias], functional.conv2d)
    compare("conv_transposed", [x, constant(2, 4, 3, 2), bias], functional.conv_transpose2d)


def test_multiply_adds_of_one_sample():
    shapes = (BATCH, 2, 6, 8, 9), (4, 3, 2, 3), (4,)
    tensors = [Tensor("x", DType.FLOAT32, shape) for shape in shapes]
    row = OPS["conv"]
    assert row.multiply_adds(tensors, row.complete({"groups": 2})) == 2 * 4 * 7 * 7 * 3 * 2 * 3
    shapes = (BATCH, 2, 4, 8, 9), (4, 3, 2, 3), (6,)
    tensors = [Tensor("x", DType.FLOAT32, shape) for shape in shapes]
    row = OPS["conv_transposed"]
    assert row.multiply_adds(tensors, row.complete({"groups": 2})) == 2 * 4 * 8 * 9 * 3 * 2 * 3


X = (BATCH, 1, 6, 7, 8)
W, BIAS = (4, 3, 3, 2), (4,)
TRANSPOSED = (6, 2, 3, 2)
POOL = {"kernel": (3, 2), "stride": (2, 2)}
POOL_2D = POOL | {"kind": "max", "layout": "channels_last"}
REFUSED: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("conv", [X, W, BIAS], {"groups": 4}, "6 channels and 4 filters are not 4 groups"),
    ("conv", [X, W, BIAS], {"groups": 3}, "6 channels and 4 filters are not 3 groups"),
    ("conv", [X, W, BIAS], {"groups": 0}, "groups must be an integer of at least 1"),
    ("conv", [X, W, BIAS], {"groups": 1}, r"must be a constant of shape \(4, 6, 3, 2\), found \(4, 3, 3, 2\)"),
    ("conv", [X, W, (3,)], {"groups": 2}, r"must be a constant of shape \(4,\), found \(3,\)"),
    ("conv", [X, W[1:], BIAS], {"groups": 2}, "must have 4 dimensions"),
    ("conv", [X, (BATCH, *W), BIAS], {"groups": 2}, "must be a constant"),
    ("conv", [X[1:], W, BIAS], {"groups": 2}, r"must have shape \(batch, ...\)"),
    ("conv", [(BATCH, 6, 7, 8), W, BIAS], {"groups": 2}, "must have 4 dimensions"),
    ("conv", [tensor(X, DType.INT64), W, BIAS], {"groups": 2}, "must be float32"),
    ("conv", [X, W, BIAS], {"groups": 2, "stride": (0, 1)}, "stride must be 2 integers of at least 1"),
    ("conv", [X, W, BIAS], {"groups": 2, "padding": (-1, 1)}, "padding must be 2 integers of at least 0"),
    ("conv", [X, W, BIAS], {"groups": 2, "padding": (1,)}, "padding must be 2 integers of at least 0"),
    ("conv", [X, W, BIAS], {"groups": 2, "dilation": (1, 8)}, r"the kernel \(3, 2\) is larger than the image \(7, 8\)"),
    ("conv", [X, W, BIAS], {"groups": 2, "dilation": (1 << 62, 1)}, "larger than the image"),
    ("conv_transposed", [X, TRANSPOSED, (4,)], {"groups": 4}, "6 channels are not 4 groups"),
    ("conv_transposed", [X, W, (6,)], {"groups": 2}, r"must be a constant of shape \(6, 3, 3, 2\)"),
    ("conv_transposed", [X, TRANSPOSED, (2,)], {"groups": 2}, r"must be a constant of shape \(4,\)"),
    ("conv_transposed", [X, TRANSPOSED, (2,)], {"output_padding": (1, 0)}, "output_padding must be smaller than"),
    ("conv_transposed", [X, TRANSPOSED, (2,)], {"output_padding": (-1, 0)}, "output_padding must be 2 integers"),
    ("conv_transposed", [X, TRANSPOSED, (2,)], {"padding": (5, 0)}, "leaves nothing of the result"),
    ("conv_transposed", [X[1:], TRANSPOSED, (2,)], {}, "must have shape"),
    ("max_pool", [X], POOL | {"kernel": (8, 2)}, "larger than the image"),
    ("max_pool", [X], POOL | {"kernel": (0, 2)}, "kernel must be 2 integers of at least 1"),
    ("max_pool", [X], POOL | {"padding": (2, 0)}, "more than half of the kernel"),
    ("max_pool", [X], POOL | {"dilation": (0, 1)}, "dilation must be 2 integers of at least 1"),
    ("max_pool", [X], POOL | {"ceil": 1}, "ceil must be bool"),
    ("max_pool", [X[:4]], POOL, "must have 4 dimensions"),
    ("avg_pool", [X], POOL | {"padding": (0, 2)}, "more than half of the kernel"),
    ("avg_pool", [X], POOL | {"dilation": (1, 1)}, "unknown attribute"),
    ("avg_pool", [X], {"kernel": (3, 2)}, "attribute stride is missing"),
    ("avg_pool", [tensor(X, DType.INT64)], POOL, "must be float32"),
    ("pool2d", [X[:1] + X[2:]], POOL_2D | {"kind": "least"}, "unknown kind 'least'"),
    ("pool2d", [X[:1] + X[2:]], POOL_2D | {"layout": "rows"}, "unknown layout 'rows'"),
    ("pool2d", [X[:1] + X[2:]], POOL_2D | {"kernel": (2, 9)}, r"larger than the image \(6, 7\)"),
    ("pool2d", [X], POOL_2D, "must have 3 dimensions"),
    ("adaptive_avg_pool", [X], {"size": (0, 1)}, "size must be 2 integers of at least 1"),
    ("adaptive_avg_pool", [X[:4]], {"size": (1, 1)}, "must have 4 dimensions"),
]


@pytest.mark.parametrize(("op", "inputs", "attributes", "message"), REFUSED)
def test_what_rows_refuse(op, inputs, attributes, message):
    refused(op, inputs, message, **attributes)


def test_every_row_refuses_something():
    assert {case[0] for case in REFUSED} == {row.name for row in image.ROWS}
