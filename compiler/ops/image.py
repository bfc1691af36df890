"""
Convolutions and pooling of images as general models have them: dims (N, C, H, W), any groups, any padding.

A window is read tap by tap: of each of its places, the elements that all windows have there, as one strided view.
"""

import math
from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from compiler.ir import Tensor
from compiler.ops.convolution import CHANNELS_FIRST, layout_of
from compiler.ops.dims import FLOAT, Dims, dims_of, need_computed, need_constant, need_kind, number, sample, whole
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse

Pair = tuple[int, int]


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """
    How many windows fit along one axis, as PyTorch counts: with `ceil`, one more that begins inside and ends beyond.
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    result = -(-room // stride) + 1 if ceil else room // stride + 1
    if ceil and (result - 1) * stride >= size + padding:
        result -= 1
    return result


def images(op: str, source: Tensor) -> Dims:
    """
    The dims (N, C, H, W) of images; refuses what is none.
    """
    need_computed(op, source)
    need_kind(op, (FLOAT,), source)
    return dims_of(op, source, 4)


def _windows(op: str, attributes: Attributes, image: Dims, kernel: Dims, padding: Dims, ceil: bool = False) -> Dims:
    """
    Height and width of what windows make of an image.
    """
    strides = whole(op, attributes, "stride", 1, 2)
    dilations = whole(op, attributes, "dilation", 1, 2) if "dilation" in attributes else (1, 1)
    sides = zip(image, kernel, strides, padding, dilations, strict=True)
    result = tuple(pooled_size(*side, ceil) for side in sides)
    if min(result) < 1:
        refuse(op, f"the kernel {kernel} is larger than the image {image}")
    return result


def _need_bias(op: str, bias: Tensor, filters: int) -> None:
    need_constant(op, bias, (filters,))


def _conv_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    count, channels, *image = images("conv", source)
    filters, _, *kernel = dims_of("conv", weight, 4)
    groups = number("conv", attributes, "groups", 1)
    if channels % groups or filters % groups:
        refuse("conv", f"{channels} channels and {filters} filters are not {groups} groups")
    need_constant("conv", weight, (filters, channels // groups, *kernel))
    _need_bias("conv", bias, filters)
    padding = whole("conv", attributes, "padding", 0, 2)
    result = _windows("conv", attributes, tuple(image), tuple(kernel), padding)
    return sample(FLOAT, (count, filters, *result))


def _conv_transposed_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    op = "conv_transposed"
    source, weight, bias = inputs
    count, channels, *image = images(op, source)
    _, filters, *kernel = dims_of(op, weight, 4)
    groups = number(op, attributes, "groups", 1)
    if channels % groups:
        refuse(op, f"{channels} channels are not {groups} groups")
    need_constant(op, weight, (channels, filters, *kernel))
    _need_bias(op, bias, groups * filters)
    strides, dilations = whole(op, attributes, "stride", 1, 2), whole(op, attributes, "dilation", 1, 2)
    padding, more = whole(op, attributes, "padding", 0, 2), whole(op, attributes, "output_padding", 0, 2)
    if any(extra >= max(sides) for extra, *sides in zip(more, strides, dilations, strict=True)):
        refuse(op, f"attribute output_padding must be smaller than the stride or the dilation, found {more}")
    result = tuple(
        (size - 1) * stride - 2 * pad + dilation * (reach - 1) + extra + 1
        for size, stride, pad, dilation, reach, extra in zip(
            image, strides, padding, dilations, kernel, more, strict=True
        )
    )
    if min(result) < 1:
        refuse(op, f"the padding {padding} leaves nothing of the result")
    return sample(FLOAT, (count, groups * filters, *result))


def _pool_result(op: str, inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    count, channels, *image = images(op, inputs[0])
    kernel, padding = whole(op, attributes, "kernel", 1, 2), whole(op, attributes, "padding", 0, 2)
    if any(2 * pad > side for pad, side in zip(padding, kernel, strict=True)):
        refuse(op, f"the padding {padding} is more than half of the kernel {kernel}")
    result = _windows(op, attributes, tuple(image), kernel, padding, bool(attributes["ceil"]))
    return sample(FLOAT, (count, channels, *result))


def _max_pool_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _pool_result("max_pool", inputs, attributes)


def _avg_pool_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _pool_result("avg_pool", inputs, attributes)


def _pool2d_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_computed("pool2d", source)
    need_kind("pool2d", (FLOAT,), source)
    dims = dims_of("pool2d", source, 3)
    if attributes["kind"] not in ("max", "mean"):
        refuse("pool2d", f"unknown kind {attributes['kind']!a}")
    first = layout_of("pool2d", attributes) == CHANNELS_FIRST
    channels, *image = dims if first else (dims[2], *dims[:2])
    one = Tensor(source.name, source.dtype, (*source.shape[:1], 1, channels, *image))
    _, _, *result = _pool_result("pool2d", [one], attributes).shape[1:]
    return sample(FLOAT, tuple(int(size) for size in ((channels, *result) if first else (*result, channels))))


def _adaptive_avg_pool_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    count, channels, *_ = images("adaptive_avg_pool", inputs[0])
    return sample(FLOAT, (count, channels, *whole("adaptive_avg_pool", attributes, "size", 1, 2)))


def _taps(
    x: Array, kernel: Dims, stride: Pair, padding: Pair, dilation: Pair, result: Pair, filler: float
) -> Iterator[tuple[int, int, Array]]:
    """
    Row and column of each place of the window, and what all windows have there: (..., result height, result width).
    """
    ends = [
        max(0, (count - 1) * step + gap * (size - 1) + 1 - side - before)
        for count, step, gap, size, side, before in zip(
            result, stride, dilation, kernel, x.shape[-2:], padding, strict=True
        )
    ]
    sides = [(0, 0)] * (x.ndim - 2) + [*zip(padding, ends, strict=True)]
    padded = np.pad(x, sides, constant_values=filler)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            top, left = row * dilation[0], column * dilation[1]
            view = padded[..., top :: stride[0], left :: stride[1]]
            yield row, column, view[..., : result[0], : result[1]]


def _sizes(x: Array, kernel: Dims, stride: Pair, padding: Pair, dilation: Pair, ceil: bool = False) -> Pair:
    rows, columns = (
        pooled_size(*side, ceil) for side in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True)
    )
    return rows, columns


def _conv(x: Array, weight: Array, bias: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Array:
    kernel = weight.shape[2:]
    result = _sizes(x, kernel, stride, padding, dilation)
    shared = weight.reshape(groups, -1, *weight.shape[1:])
    grouped = x.reshape(*x.shape[:2], groups, -1, *x.shape[3:])
    total = np.zeros((*x.shape[:2], groups, shared.shape[1], math.prod(result)))
    for row, column, view in _taps(grouped, kernel, stride, padding, dilation, result, 0.0):
        total += shared[..., row, column] @ view.reshape(*view.shape[:-2], -1)
    return total.reshape(*x.shape[:2], len(weight), *result) + bias[:, None, None]


def _conv_transposed(
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    kernel, image = weight.shape[2:], x.shape[-2:]
    spans = [(size - 1) * step + 1 for size, step in zip(image, stride, strict=True)]
    sides = [
        span + gap * (reach - 1) + extra
        for span, gap, reach, extra in zip(spans, dilation, kernel, output_padding, strict=True)
    ]
    shared = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)  # (groups, filters, channels, rows, columns)
    grouped = x.reshape(*x.shape[:2], groups, shared.shape[2], -1)
    total = np.zeros((*grouped.shape[:3], shared.shape[1], *sides))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            part = (shared[..., row, column] @ grouped).reshape(*total.shape[:-2], *image)
            top, left = row * dilation[0], column * dilation[1]
            total[..., top : top + spans[0] : stride[0], left : left + spans[1] : stride[1]] += part
    kept = total[..., padding[0] : sides[0] - padding[0], padding[1] : sides[1] - padding[1]]
    return kept.reshape(*x.shape[:2], -1, *kept.shape[-2:]) + bias[:, None, None]


def _max_pool(x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil: bool) -> Array:
    result = _sizes(x, kernel, stride, padding, dilation, ceil)
    taps = _taps(x, kernel, stride, padding, dilation, result, -np.inf)
    return reduce(np.maximum, (view for *_, view in taps))


def _avg_pool(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil: bool, count_padding: bool) -> Array:
    result = _sizes(x, kernel, stride, padding, (1, 1), ceil)
    total = sum(view for *_, view in _taps(x, kernel, stride, padding, (1, 1), result, 0.0))
    sides = zip(result, x.shape[-2:], kernel, stride, padding, strict=True)
    rows, columns = (averaged(*side, count_padding) for side in sides)
    return np.asarray(total / np.outer(rows, columns))


def _pool2d(
    x: Array, kind: str, layout: str, kernel: Pair, stride: Pair, padding: Pair, ceil: bool, count_padding: bool
) -> Array:
    first = x if layout == CHANNELS_FIRST else x.transpose(0, 3, 1, 2)
    if kind == "max":
        result = _max_pool(first, kernel, stride, padding, (1, 1), ceil)
    else:
        result = _avg_pool(first, kernel, stride, padding, ceil, count_padding)
    return result if layout == CHANNELS_FIRST else result.transpose(0, 2, 3, 1)


def averaged(result: int, size: int, kernel: int, stride: int, padding: int, count_padding: bool) -> list[int]:
    """
    How many elements each window of an average counts along one axis; what is beyond the padding never counts.
    """
    starts = [place * stride - padding for place in range(result)]
    if count_padding:
        return [min(start + kernel, size + padding) - start for start in starts]
    return [min(start + kernel, size) - max(start, 0) for start in starts]


def adaptive_windows(size: int, result: int) -> list[Pair]:
    """
    Where each window of an adaptive pooling begins and ends along one axis.
    """
    return [(place * size // result, -(-(place + 1) * size // result)) for place in range(result)]


def _adaptive_avg_pool(x: Array, size: Pair) -> Array:
    rows, columns = (adaptive_windows(side, count) for side, count in zip(x.shape[-2:], size, strict=True))
    averages = np.stack([x[..., start:stop, :].mean(axis=-2) for start, stop in rows], axis=-2)
    return np.stack([averages[..., start:stop].mean(axis=-1) for start, stop in columns], axis=-1)


def _conv_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    result = math.prod(size for size in _conv_result(inputs, attributes).shape if isinstance(size, int))
    return result * math.prod(inputs[1].fixed_shape[1:])


def _conv_transposed_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    return inputs[0].elements * math.prod(inputs[1].fixed_shape[1:])


ROWS = (
    Op(
        name="conv",
        summary="nn.Conv2d with zero padding and any groups",
        result=_conv_result,
        reference=_conv,
        arity=3,
        attributes={"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1},
        template="nest",
        single=True,
        multiply_adds=_conv_multiply_adds,
    ),
    Op(
        name="conv_transposed",
        summary="nn.ConvTranspose2d",
        result=_conv_transposed_result,
        reference=_conv_transposed,
        arity=3,
        attributes={"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1},
        template="nest",
        single=True,
        multiply_adds=_conv_transposed_multiply_adds,
    ),
    Op(
        name="max_pool",
        summary="nn.MaxPool2d",
        result=_max_pool_result,
        reference=_max_pool,
        attributes={"kernel": tuple, "stride": tuple, "padding": (0, 0), "dilation": (1, 1), "ceil": False},
        template="nest",
        single=True,
    ),
    Op(
        name="avg_pool",
        summary="nn.AvgPool2d",
        result=_avg_pool_result,
        reference=_avg_pool,
        attributes={"kernel": tuple, "stride": tuple, "padding": (0, 0), "ceil": False, "count_padding": True},
        template="nest",
        single=True,
    ),
    Op(
        name="pool2d",
        summary="nn.MaxPool2d or nn.AvgPool2d of one image, in the layout of the kernels around it",
        result=_pool2d_result,
        reference=_pool2d,
        attributes={
            "kind": str,
            "layout": str,
            "kernel": tuple,
            "stride": tuple,
            "padding": (0, 0),
            "ceil": False,
            "count_padding": True,
        },
        template="nest",
        single=True,
    ),
    Op(
        name="adaptive_avg_pool",
        summary="nn.AdaptiveAvgPool2d",
        result=_adaptive_avg_pool_result,
        reference=_adaptive_avg_pool,
        attributes={"size": tuple},
        template="nest",
        single=True,
    ),
)
