"""
Images made larger or smaller, compared with torch, and what rows refuse.
"""

import numpy as np
import pytest
import torch
from torch.nn import functional

from compiler.ir import BATCH, DType
from compiler.ops import OPS, upsampling
from compiler.ops.upsampling import linear_places, nearest_places
from tests.ops.rows import compare, normal, refused, specials, tensor

SIZES = [((3, 4), (6, 8)), ((3, 4), (7, 3)), ((1, 5), (4, 1)), ((5, 1), (1, 6)), ((7, 7), (7, 7)), ((10, 9), (3, 14))]
SCALES = (2.0, 1.5, 0.7, 3.3, 0.3, 1.05, 2.1)
"""The last two give results of the same size, and of twice the size, for which torch takes another way."""


@pytest.mark.parametrize(("sizes", "size"), SIZES)
def test_to_a_size(sizes, size):
    for x in (normal(2, 3, *sizes), specials(2, 3, *sizes)):
        compare("upsample_nearest", [x], lambda x: functional.interpolate(x, size), 0, size=size)
        for align in (False, True):
            compare(
                "upsample_bilinear",
                [x],
                lambda x, align=align: functional.interpolate(x, size, mode="bilinear", align_corners=align),
                1e-12,
                size=size,
                align_corners=align,
            )


@pytest.mark.parametrize("scale", SCALES)
def test_by_a_scale(scale):
    x = normal(1, 2, 7, 10)
    size = (int(7 * scale), int(10 * scale))
    attributes = {"size": size, "scales": (scale, scale)}
    compare("upsample_nearest", [x], lambda x: functional.interpolate(x, scale_factor=scale), 0, **attributes)
    for align in (False, True):
        compare(
            "upsample_bilinear",
            [x],
            lambda x, align=align: functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=align),
            1e-12,
            align_corners=align,
            **attributes,
        )


def indices(size: int) -> torch.Tensor:
    return torch.arange(size, dtype=torch.float32).reshape(1, 1, size, 1)


def test_the_nearest_element_is_that_of_float32():
    # A product that is whole in exact arithmetic may be just below it in float32: torch then takes the element before.
    for size in range(1, 41):
        for result in range(1, 61):
            right = functional.interpolate(indices(size), (result, 1)).flatten()
            assert np.array_equal(nearest_places(size, result, 0.0), right), (size, result)
        for scale in SCALES:
            right = functional.interpolate(indices(size), scale_factor=(scale, 1.0)).flatten() if size > 3 else None
            if right is not None:
                assert np.array_equal(nearest_places(size, len(right), scale), right), (size, scale)


def test_elements_around_are_never_beyond_the_image():
    for size in (1, 2, 3, 7, 100):
        for result in (1, 2, 3, 50, 201):
            for scale in (0.0, 1.5, upsampling.SMALLEST, upsampling.LARGEST):
                for align in (False, True):
                    before, after, far = linear_places(size, result, scale, align)
                    assert before.min() >= 0
                    assert after.max() < size
                    assert ((far >= 0) & (far <= 1)).all()
                places = nearest_places(size, result, scale)
                assert places.min() >= 0
                assert places.max() < size


X = (BATCH, 1, 6, 7, 8)


@pytest.mark.parametrize("op", [row.name for row in upsampling.ROWS])
def test_what_rows_refuse(op):
    refused(op, [X], "size must be 2 integers of at least 1", size=(0, 4))
    refused(op, [X], "size must be 2 integers of at least 1", size=(4,))
    for scales in ((1.0,), (1.0, -1.0), (1.0, np.nan), (np.inf, 1.0), (1, 1), (1.0, 1e-8), (1e8, 1.0)):
        refused(op, [X], "scales must be two floats, 0 or from", size=(4, 4), scales=scales)
    refused(op, [X[:4]], "must have 4 dimensions", size=(4, 4))
    refused(op, [X[1:]], "must have shape", size=(4, 4))
    refused(op, [tensor(X, DType.INT64)], "must be float32", size=(4, 4))


def test_there_are_two_rows():
    assert {row.name for row in upsampling.ROWS} == {"upsample_nearest", "upsample_bilinear"} <= OPS.keys()
