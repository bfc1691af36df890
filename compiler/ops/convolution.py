"""
Convolutions of images: `conv2d` as PyTorch stores it.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import Attribute, Tensor
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, refuse

OBSERVATIONS_AT_ONCE = 16
"""By the reference, whose windows take many times the memory of the images."""


def pair(op: str, attributes: Attributes, name: str, least: int) -> tuple[int, int]:
    """
    An attribute of two integers, for height and width.
    """
    value: Attribute = attributes[name]
    if not isinstance(value, tuple) or len(value) != 2 or any(type(part) is not int or part < least for part in value):
        refuse(op, f"attribute {name} must be two integers of at least {least}, found {value}")
    return int(value[0]), int(value[1])


def _conv2d_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    need_float("conv2d", source, weight, bias)
    if len(source.shape) != 4 or not isinstance(source.shape[0], str) or len(source.fixed_shape) != 3:
        refuse("conv2d", f"needs images of shape (batch, channels, height, width), found {source.shape}")
    if len(weight.fixed_shape) != 4 or weight.fixed_shape[1] != source.fixed_shape[0]:
        refuse("conv2d", f"the weight must be (filters, {source.fixed_shape[0]}, rows, columns), found {weight.shape}")
    if bias.shape != weight.shape[:1]:
        refuse("conv2d", f"the bias must have shape {weight.shape[:1]}, found {bias.shape}")
    strides, paddings, dilations = (
        pair("conv2d", attributes, name, least) for name, least in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    reach = [gap * (size - 1) + 1 for gap, size in zip(dilations, weight.fixed_shape[2:], strict=True)]
    whole = [size + 2 * more for size, more in zip(source.fixed_shape[1:], paddings, strict=True)]
    result = [(size - need) // step + 1 for size, need, step in zip(whole, reach, strides, strict=True)]
    if min(result) < 1:
        refuse("conv2d", f"the kernel {weight.fixed_shape[2:]} is larger than the image {source.fixed_shape[1:]}")
    return TensorType(source.dtype, (source.shape[0], weight.fixed_shape[0], *result))


def _conv2d(
    x: Array,
    weight: Array,
    bias: Array,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Array:
    parts = [x[first : first + OBSERVATIONS_AT_ONCE] for first in range(0, len(x), OBSERVATIONS_AT_ONCE)]
    return np.concatenate([_conv2d_part(part, weight, bias, stride, padding, dilation) for part in parts])


def _conv2d_part(
    x: Array,
    weight: Array,
    bias: Array,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), *((size, size) for size in padding)))
    reach = tuple(gap * (size - 1) + 1 for gap, size in zip(dilation, weight.shape[2:], strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    result = np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3)))
    return result.transpose(0, 3, 1, 2) + bias[:, None, None]


def _multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    filters, *window = inputs[1].fixed_shape
    _, height, width = _conv2d_result(inputs, attributes).shape[1:]
    assert isinstance(height, int)
    assert isinstance(width, int)
    return filters * height * width * int(np.prod(window))


ROWS = (
    Op(
        name="conv2d",
        summary="nn.Conv2d with zero padding, one group",
        result=_conv2d_result,
        reference=_conv2d,
        arity=3,
        attributes={"stride": tuple, "padding": (0, 0), "dilation": (1, 1)},
        multiply_adds=_multiply_adds,
    ),
)
