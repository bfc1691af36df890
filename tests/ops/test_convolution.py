"""
The ops on images: what they compute, compared with torch, and what they refuse.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import UnsupportedError
from compiler.ir import BATCH, Attribute, DType, Tensor
from compiler.ops import OPS
from compiler.ops.convolution import CHANNELS_FIRST, CHANNELS_LAST, pack, unpack

LAYOUTS = (CHANNELS_FIRST, CHANNELS_LAST)
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


def arranged(image: np.ndarray, layout: str) -> np.ndarray:
    return image if layout == CHANNELS_FIRST else image.transpose(0, 2, 3, 1)


@given(
    filters=st.integers(1, 9),
    kernel=PAIRS,
    stride=PAIRS,
    dilation=PAIRS,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    layout=st.sampled_from(LAYOUTS),
    width=st.sampled_from([1, 2, 4, 8]),
)
@settings(max_examples=60, deadline=None)
def test_references_compute_what_torch_does(filters, kernel, stride, dilation, padding, layout, width):
    rng = np.random.default_rng(0)
    image, weight = rng.normal(size=(17, 3, 8, 9)), rng.normal(size=(filters, 3, *kernel))
    bias = rng.normal(size=filters)
    right = torch.nn.functional.conv2d(
        *map(torch.from_numpy, (image, weight, bias)), stride=stride, padding=padding, dilation=dilation
    ).numpy()
    settings = {"stride": stride, "dilation": dilation}
    assert np.allclose(OPS["conv2d"].reference(image, weight, bias, padding=padding, **settings), right)

    packed = pack(weight, layout, width)
    assert np.array_equal(unpack(packed, layout, filters), weight)
    padded = OPS["pad"].reference(arranged(image, layout), layout=layout, padding=padding)
    wide = np.pad(bias, (0, packed.shape[0] * packed.shape[-1] - filters), constant_values=7)
    attributes = {"layout": layout, "filters": filters, "activation": "relu", **settings}
    found = OPS["convolution"].reference(padded, packed, wide, **attributes)
    assert np.allclose(OPS["channels_first"].reference(found), np.maximum(right, 0))
    given = [Tensor("x", DType.FLOAT32, (BATCH, *padded.shape[1:]))]
    given += [Tensor(str(array.shape), DType.FLOAT32, array.shape) for array in (packed, wide)]
    (kind,) = OPS["convolution"].infer(given, attributes)
    assert kind.shape == (BATCH, *found.shape[1:])
    assert OPS["convolution"].multiply_adds(given, attributes) == weight[0].size * found[0].size


GOOD: dict[str, Attribute] = {
    "layout": CHANNELS_LAST,
    "stride": (2, 1),
    "dilation": (1, 1),
    "filters": 20,
    "activation": "",
}
IMAGE, WEIGHT, BIAS = (BATCH, 8, 9, 3), (2, 4, 5, 3, 16), (32,)


def infer(op: str, shapes, attributes):
    return OPS[op].infer([Tensor(str(n), DType.FLOAT32, shape) for n, shape in enumerate(shapes)], attributes)


def test_what_a_convolution_takes():
    (kind,) = infer("convolution", (IMAGE, WEIGHT, BIAS), GOOD)
    assert kind.shape == (BATCH, 3, 5, 20)


def test_what_a_convolution_adds():
    rng = np.random.default_rng(0)
    x, weight, bias, added = (rng.normal(size=shape) for shape in ((2, 8, 9, 3), WEIGHT, BIAS, (2, 3, 5, 32)))
    row = OPS["convolution"]
    attributes = {**GOOD, "filters": 32}
    (plain,) = row.evaluate([x, weight, bias], attributes)
    (found,) = row.evaluate([x, weight, bias, added], {**attributes, "activation": "relu"})
    assert np.allclose(found, np.maximum(plain + added, 0), rtol=1e-12, atol=1e-12)
    (kind,) = infer("convolution", (IMAGE, WEIGHT, BIAS, (BATCH, 3, 5, 32)), {**GOOD, "filters": 32})
    assert kind.shape == (BATCH, 3, 5, 32)


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        ((IMAGE, WEIGHT, BIAS), {"layout": "rows"}, "unknown layout"),
        ((IMAGE, WEIGHT, BIAS), {"layout": CHANNELS_FIRST}, "the weight is for 4 channels, the images have 8"),
        ((IMAGE, WEIGHT, BIAS), {"filters": 16}, "attribute filters must fit 2 blocks of 16"),
        ((IMAGE, WEIGHT, BIAS), {"filters": 33}, "attribute filters must fit 2 blocks of 16"),
        ((IMAGE, WEIGHT, BIAS), {"filters": True}, "attribute filters must be int"),
        ((IMAGE, WEIGHT, BIAS), {"stride": (0, 1)}, "stride must be two integers of at least 1"),
        ((IMAGE, WEIGHT, BIAS), {"stride": (1, 1, 1)}, "stride must be two integers of at least 1"),
        ((IMAGE, WEIGHT, BIAS), {"dilation": (1, -1)}, "dilation must be two integers of at least 1"),
        ((IMAGE, WEIGHT, BIAS), {"dilation": (1 << 62, 1)}, "is larger than the image"),
        ((IMAGE, WEIGHT, BIAS), {"activation": "conv2d"}, "unknown activation"),
        ((IMAGE, WEIGHT, (20,)), {}, r"bias must have shape \(32,\)"),
        ((IMAGE, (2, 4, 5, 4, 16), BIAS), {}, "the weight is for 4 channels, the images have 3"),
        ((IMAGE, (2, 9, 5, 3, 16), BIAS), {}, "is larger than the image"),
        ((IMAGE, (2, 4, 5, 3), BIAS), {}, "must have five dimensions"),
        ((IMAGE, (BATCH, 2, 4, 5, 3, 16), BIAS), {}, "must have five dimensions"),
        ((IMAGE, WEIGHT), {}, "takes a source, a weight, a bias and what is added or nothing, found 2 inputs"),
        ((IMAGE, WEIGHT, BIAS, (BATCH, 3, 5, 20)), {}, "to blocks that are full, found .* for 20 filters"),
        ((IMAGE, WEIGHT, BIAS, (BATCH, 3, 5, 20)), {"filters": 32}, "to blocks that are full, found .*20.* for 32"),
        (((8, 9, 3), WEIGHT, BIAS), {}, "needs images of shape"),
        (((1, 8, 9, 3), WEIGHT, BIAS), {}, "needs images of shape"),
        (((BATCH, "height", 9, 3), WEIGHT, BIAS), {}, "needs images of shape"),
    ],
)
def test_what_a_convolution_refuses(shapes, changes, message):
    with pytest.raises(UnsupportedError, match=message):
        infer("convolution", shapes, {**GOOD, **changes})


@pytest.mark.parametrize(
    ("op", "shape", "attributes", "message"),
    [
        ("pad", (BATCH, 3, 4), {"layout": CHANNELS_FIRST, "padding": (1, 1)}, "needs images"),
        ("pad", IMAGE, {"layout": "", "padding": (1, 1)}, "unknown layout"),
        ("pad", IMAGE, {"layout": CHANNELS_LAST, "padding": (-1, 1)}, "padding must be two integers"),
        ("pad", IMAGE, {"layout": CHANNELS_LAST, "padding": (1,)}, "padding must be two integers"),
        ("channels_first", (BATCH, 3), {}, "needs images"),
        ("channels_first", (2, 8, 9, 3), {}, "needs images"),
    ],
)
def test_what_other_ops_refuse(op, shape, attributes, message):
    with pytest.raises(UnsupportedError, match=message):
        infer(op, [shape], attributes)


def test_images_of_integers_are_refused():
    tensor = Tensor("x", DType.INT64, IMAGE)
    padding: dict[str, Attribute] = {"layout": CHANNELS_LAST, "padding": (1, 1)}
    for op in ("pad", "channels_first"):
        with pytest.raises(UnsupportedError, match="must be float32"):
            OPS[op].infer([tensor], padding if op == "pad" else {})


@pytest.mark.parametrize(
    ("shapes", "changes", "message"),
    [
        (((BATCH, 3, 8, 9), (2, 4, 3, 3), (2,)), {}, r"weight must be \(filters, 3, rows, columns\)"),
        (((BATCH, 3, 8, 9), (2, 3, 3, 3), (3,)), {}, r"bias must have shape \(2,\)"),
        (((BATCH, 3, 8, 9), (2, 3, 9, 3), (2,)), {}, "larger than the image"),
        (((BATCH, 3, 8), (2, 3, 3, 3), (2,)), {}, "needs images"),
        (((BATCH, 3, 8, 9), (2, 3, 3, 3), (2,)), {"padding": (-1, 0)}, "padding must be two integers of at least 0"),
    ],
)
def test_what_conv2d_refuses(shapes, changes, message):
    with pytest.raises(UnsupportedError, match=message):
        infer("conv2d", shapes, {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), **changes})
