"""
Convolutions of images: `conv2d` as PyTorch stores it, `convolution` as the kernels read it.
"""

import math
from collections.abc import Sequence

import numpy as np

from compiler.ir import Attribute, Tensor
from compiler.ops.fused import FusedOp, activate
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, refuse

CHANNELS_FIRST = "channels_first"
"""Images (channels, height, width), as PyTorch has them. Weights: (blocks, channels, rows, columns, width)."""
CHANNELS_LAST = "channels_last"
"""Images (height, width, channels), as kernels leave them. Weights: (blocks, rows, columns, channels, width)."""
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


def pack(weight: Array, layout: str, width: int) -> Array:
    """
    A weight (filters, channels, rows, columns) for images of a layout: in blocks of `width` filters, padded with zeros.
    """
    blocks = -(-len(weight) // width)
    padded = np.pad(weight, ((0, blocks * width - len(weight)), (0, 0), (0, 0), (0, 0)))
    order = (0, 2, 3, 4, 1) if layout == CHANNELS_FIRST else (0, 3, 4, 2, 1)
    return np.ascontiguousarray(padded.reshape(blocks, width, *weight.shape[1:]).transpose(order))


def unpack(weight: Array, layout: str, filters: int) -> Array:
    """
    The weight (filters, channels, rows, columns) of a packed one.
    """
    order = (0, 4, 1, 2, 3) if layout == CHANNELS_FIRST else (0, 4, 3, 1, 2)
    ordered = weight.transpose(order)
    return ordered.reshape(-1, *ordered.shape[2:])[:filters]


def layout_of(op: str, attributes: Attributes) -> str:
    """
    The attribute `layout`; refuses one that there is not.
    """
    layout = attributes["layout"]
    if layout not in (CHANNELS_FIRST, CHANNELS_LAST):
        refuse(op, f"unknown layout {layout!a}")
    return str(layout)


def image_sizes(op: str, tensor: Tensor, layout: str) -> tuple[int, int, int]:
    """
    Channels, height and width of images; refuses what is none, and layouts that there are not.
    """
    layout_of(op, {"layout": layout})
    sizes = tensor.fixed_shape
    if len(tensor.shape) != 4 or not isinstance(tensor.shape[0], str) or len(sizes) != 3:
        shape = "channels, height, width" if layout == CHANNELS_FIRST else "height, width, channels"
        refuse(op, f"needs images of shape (batch, {shape}), found {tensor.shape}")
    return sizes if layout == CHANNELS_FIRST else (sizes[2], sizes[0], sizes[1])


def _result_sizes(
    op: str, attributes: Attributes, image: Sequence[int], window: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """
    Height and width of the result for an image and a window of this height and width.
    """
    strides, dilations = pair(op, attributes, "stride", 1), pair(op, attributes, "dilation", 1)
    reach = [gap * (size - 1) + 1 for gap, size in zip(dilations, window, strict=True)]
    whole = [size + 2 * more for size, more in zip(image, padding, strict=True)]
    result = [(size - need) // step + 1 for size, need, step in zip(whole, reach, strides, strict=True)]
    if min(result) < 1:
        refuse(op, f"the kernel {tuple(window)} is larger than the image {tuple(image)}")
    return result


def _conv2d_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    need_float("conv2d", source, weight, bias)
    channels, *image = image_sizes("conv2d", source, CHANNELS_FIRST)
    if len(weight.shape) != 4 or len(weight.fixed_shape) != 4 or weight.fixed_shape[1] != channels:
        refuse("conv2d", f"the weight must be (filters, {channels}, rows, columns), found {weight.shape}")
    if bias.shape != weight.shape[:1]:
        refuse("conv2d", f"the bias must have shape {weight.shape[:1]}, found {bias.shape}")
    padding = pair("conv2d", attributes, "padding", 0)
    result = _result_sizes("conv2d", attributes, image, weight.fixed_shape[2:], padding)
    return TensorType(source.dtype, (source.shape[0], weight.fixed_shape[0], *result))


def _convolution_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    if not 3 <= len(inputs) <= 4:
        refuse(
            "convolution", f"takes a source, a weight, a bias and what is added or nothing, found {len(inputs)} inputs"
        )
    source, weight, bias = inputs[:3]
    need_float("convolution", *inputs)
    layout, filters = str(attributes["layout"]), attributes["filters"]
    channels, *image = image_sizes("convolution", source, layout)
    if len(weight.shape) != 5 or len(weight.fixed_shape) != 5:
        refuse("convolution", f"the weight must have five dimensions, found {weight.shape}")
    blocks, *window, width = weight.fixed_shape
    found = window.pop(0 if layout == CHANNELS_FIRST else 2)
    if found != channels:
        refuse("convolution", f"the weight is for {found} channels, the images have {channels}")
    if type(filters) is not int or not (blocks - 1) * width < filters <= blocks * width:
        refuse("convolution", f"attribute filters must fit {blocks} blocks of {width}, found {filters}")
    if bias.shape != (blocks * width,):
        refuse("convolution", f"the bias must have shape {(blocks * width,)}, found {bias.shape}")
    result = (source.shape[0], *_result_sizes("convolution", attributes, image, window, (0, 0)), filters)
    for added in inputs[3:]:
        if added.shape != result or filters != blocks * width:
            refuse("convolution", f"adds {result} to blocks that are full, found {added.shape} for {filters} filters")
    return TensorType(source.dtype, result)


def _pad_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_float("pad", source)
    layout = str(attributes["layout"])
    channels, height, width = image_sizes("pad", source, layout)
    rows, columns = pair("pad", attributes, "padding", 0)
    sizes = height + 2 * rows, width + 2 * columns
    return TensorType(
        source.dtype, (source.shape[0], *((channels, *sizes) if layout == CHANNELS_FIRST else (*sizes, channels)))
    )


def _channels_first_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    (source,) = inputs
    need_float("channels_first", source)
    return TensorType(source.dtype, (source.shape[0], *image_sizes("channels_first", source, CHANNELS_LAST)))


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


def _convolution(
    x: Array,
    weight: Array,
    bias: Array,
    *added: Array,
    layout: str,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    filters: int,
    activation: str,
    **parameters: float,
) -> Array:
    images = x if layout == CHANNELS_FIRST else x.transpose(0, 3, 1, 2)
    result = _conv2d(images, unpack(weight, layout, filters), bias[:filters], stride, (0, 0), dilation)
    return activate(sum(added, start=result.transpose(0, 2, 3, 1)), activation, parameters)


def _pad(x: Array, *, layout: str, padding: tuple[int, int]) -> Array:
    sides = [(size, size) for size in padding]
    return np.pad(x, ((0, 0), (0, 0), *sides) if layout == CHANNELS_FIRST else ((0, 0), *sides, (0, 0)))


def _multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    filters, *window = inputs[1].fixed_shape
    height, width = _conv2d_result(inputs, attributes).shape[2:]
    return math.prod((filters, *window)) * int(height) * int(width)


def _convolution_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    result = math.prod(int(size) for size in _convolution_result(inputs, attributes).shape[1:])
    return math.prod(inputs[1].fixed_shape[1:4]) * result


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
    FusedOp(
        name="convolution",
        summary="nn.Conv2d without padding, packed, with what is added to it and the activation that follows; leaves "
        "channels last",
        result=_convolution_result,
        reference=_convolution,
        arity=None,
        attributes={"layout": str, "stride": tuple, "dilation": (1, 1), "filters": int, "activation": ""},
        template="convolution",
        single=True,
        multiply_adds=_convolution_multiply_adds,
    ),
    Op(
        name="pad",
        summary="zeros around images, as a convolution's padding has them",
        result=_pad_result,
        reference=_pad,
        attributes={"layout": str, "padding": tuple},
        template="pad",
        single=True,
    ),
    Op(
        name="channels_first",
        summary="images (height, width, channels) as PyTorch has them: (channels, height, width)",
        result=_channels_first_result,
        reference=lambda x: x.transpose(0, 3, 1, 2),
        template="channels_first",
        single=True,
    ),
)
