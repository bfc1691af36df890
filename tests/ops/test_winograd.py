"""
Convolutions by Winograd's algorithm: what they compute, compared with torch, and what they refuse.
"""

import numpy as np
import pytest
import torch

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, DType, Tensor
from compiler.ops import OPS
from compiler.ops.winograd import POINTS, matrices, packed, transformed, unpacked

ROW = OPS["winograd"]
IMAGE, WEIGHT, BIAS, RESULT = (BATCH, 8, 9, 16), (2, 4, 4, 16, 16), (32,), (BATCH, 6, 7, 32)


def infer(*shapes: tuple[int | str, ...]):
    tensors = [Tensor(str(place), DType.FLOAT32, shape) for place, shape in enumerate(shapes)]
    return ROW.infer(tensors, {"activation": ""})


@pytest.mark.parametrize("size", POINTS)
def test_transforms_compute_what_a_filter_does(size):
    filters, tiles, back = matrices(size)
    rng = np.random.default_rng(0)
    row, three = rng.normal(size=size), rng.normal(size=3)
    right = [row[first : first + 3] @ three for first in range(size - 2)]
    assert np.allclose(back @ ((filters @ three) * (tiles @ row)), right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", POINTS)
@pytest.mark.parametrize(("height", "width"), [(4, 8), (5, 7), (9, 4)])
def test_the_reference_computes_what_torch_does(size, height, width):
    rng = np.random.default_rng(0)
    image, added = rng.normal(size=(3, height + 2, width + 2, 16)), rng.normal(size=(3, height, width, 32))
    weight, bias = rng.normal(size=(32, 16, 3, 3)).astype(np.float32), rng.normal(size=32)
    given = image.transpose(0, 3, 1, 2), weight.astype(np.float64), bias
    right = torch.nn.functional.conv2d(*map(torch.from_numpy, given)).numpy().transpose(0, 2, 3, 1)
    transforms = transformed(weight, size, 16)
    # The transforms of the filters are rounded to float32.
    (plain,) = ROW.evaluate([image, transforms, bias], {"activation": ""})
    np.testing.assert_allclose(plain, right, rtol=1e-5, atol=2e-5)
    (found,) = ROW.evaluate([image, transforms, bias, added], {"activation": "relu"})
    np.testing.assert_allclose(found, np.maximum(plain + added, 0), rtol=1e-12, atol=1e-12)
    (kind,) = infer((BATCH, *image.shape[1:]), transforms.shape, bias.shape, (BATCH, *added.shape[1:]))
    assert kind.shape == (BATCH, *added.shape[1:])


def test_blocks_of_another_width_hold_the_same():
    weight = np.random.default_rng(0).normal(size=(6, 6, 16, 96)).astype(np.float32)
    assert np.array_equal(unpacked(packed(weight, 16)), weight)
    assert np.array_equal(packed(unpacked(packed(weight, 16)), 32), packed(weight, 32))


def test_products_are_those_of_all_tiles():
    tensors = [Tensor(str(place), DType.FLOAT32, shape) for place, shape in enumerate((IMAGE, WEIGHT, BIAS))]
    assert ROW.multiply_adds(tensors, {"activation": ""}) == 3 * 4 * 16 * 16 * 32  # of 2 x 2 pixels, for 6 x 7


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ((IMAGE, WEIGHT), "takes a source, a weight, a bias and what is added or nothing, found 2 inputs"),
        ((IMAGE, (2, 5, 5, 16, 16), BIAS), "the weight must be"),
        ((IMAGE, (2, 4, 6, 16, 16), BIAS), "the weight must be"),
        ((IMAGE, (2, 4, 4, 16), BIAS), "the weight must be"),
        ((IMAGE, (BATCH, 2, 4, 4, 16, 16), BIAS), "the weight must be"),
        ((IMAGE, (2, 4, 4, 32, 16), BIAS), "does not fit 16 channels"),
        (((BATCH, 8, 9, 8), (2, 4, 4, 8, 16), BIAS), "channels in groups of 16"),
        ((IMAGE, (4, 4, 4, 16, 8), BIAS), "channels in groups of 16"),
        ((IMAGE, (0, 4, 4, 16, 16), (0,)), "channels in groups of 16"),
        ((IMAGE, WEIGHT, (16,)), "the bias must have shape"),
        (((BATCH, 3, 9, 16), WEIGHT, BIAS), "needs images of 4 x 4 or more, found 3 x 9"),
        ((IMAGE, WEIGHT, BIAS, (BATCH, 8, 9, 32)), "adds"),
        (((8, 9, 16), WEIGHT, BIAS), "needs images of shape"),
    ],
)
def test_what_is_refused(shapes, message):
    assert infer(IMAGE, WEIGHT, BIAS, RESULT)[0].shape == RESULT
    with pytest.raises(UnsupportedError, match=message):
        infer(*shapes)
