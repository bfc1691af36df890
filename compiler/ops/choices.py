"""
Choices: as one-hot vectors where they are observed, as the most probable ones where they are actions.

Several independent choices lie side by side; the attribute `sizes` says how many values each of them has. Without
sizes, all features are one choice.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse

MASKED = -1e8
"""The logit of a choice that a mask forbids. Source: sb3_contrib/common/maskable/distributions.py."""


def segments(features: int, sizes: tuple[int, ...]) -> Iterator[slice]:
    """
    The places of each choice among the features.
    """
    first = 0
    for size in sizes or (features,):
        yield slice(first, first + size)
        first += size


def sizes_of(op: str, features: int, attributes: Attributes) -> tuple[int, ...]:
    """
    The attribute `sizes`, which must be positive and add up to the features, or be empty.
    """
    sizes = attributes["sizes"]
    assert isinstance(sizes, tuple)
    plain = tuple(size for size in sizes if isinstance(size, int) and size >= 1)
    if plain != sizes or (plain and sum(plain) != features):
        refuse(op, f"the sizes must be positive and add up to {features}, found {sizes}")
    return plain


def one_hot_width(op: str, source: Tensor, attributes: Attributes) -> int:
    """
    The features that a tensor of choices has as one-hot vectors: the sum of the attribute `sizes`, one for each choice.
    """
    sizes = attributes["sizes"]
    assert isinstance(sizes, tuple)
    batched = len(source.fixed_shape) < len(source.shape) <= 2
    if source.dtype is not DType.INT64 or not batched or not isinstance(source.shape[0], str):
        refuse(op, f"needs int64 of shape (batch,) or (batch, choices), found {source.dtype}{source.shape}")
    width = sum(size for size in sizes if isinstance(size, int) and size >= 1)
    if len(sizes) != source.elements or not width:
        refuse(op, f"needs a size for each of {source.elements} choices, found {sizes}")
    sizes_of(op, width, attributes)
    return width


def _one_hot_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return TensorType(DType.FLOAT32, (inputs[0].shape[0], one_hot_width("one_hot", inputs[0], attributes)))


def _one_hot(x: Array, sizes: tuple[int, ...]) -> Array:
    choices = x.reshape(len(x), -1).astype(np.int64)
    parts = [choices[:, [place]] == np.arange(size) for place, size in enumerate(sizes)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def _distribution_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("softmax", inputs[0])
    sizes_of("softmax", need_rows("softmax", inputs[0]), attributes)
    return TensorType.of(inputs[0])


def _softmax(x: Array, scale: float, sizes: tuple[int, ...]) -> Array:
    result = np.empty(x.shape)
    for part in segments(x.shape[1], sizes):
        scaled = scale * x[:, part]
        raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        result[:, part] = raised / raised.sum(axis=1, keepdims=True)
    return result


def _log_softmax(x: Array, sizes: tuple[int, ...]) -> Array:
    result = np.empty(x.shape)
    for part in segments(x.shape[1], sizes):
        shifted = x[:, part] - x[:, part].max(axis=1, keepdims=True)
        result[:, part] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _argmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("argmax", inputs[0])
    sizes = sizes_of("argmax", need_rows("argmax", inputs[0]), attributes)
    return TensorType(DType.INT64, (*inputs[0].shape[:1], *([len(sizes)] if sizes else [])))


def _argmax(x: Array, sizes: tuple[int, ...]) -> Array:
    chosen = [np.argmax(x[:, part], axis=1) for part in segments(x.shape[1], sizes)]
    return np.stack(chosen, axis=1) if sizes else chosen[0]


def _need_masks(op: str, source: Tensor, masks: Tensor) -> None:
    if masks.dtype is not DType.BOOL or masks.shape != source.shape:
        refuse(op, f"the masks must be bool of shape {source.shape}, found {masks.dtype}{masks.shape}")


def _mask_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("mask", inputs[0])
    _need_masks("mask", *inputs)
    return TensorType.of(inputs[0])


def _masked_argmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    result = _argmax_result(inputs[:1], attributes)
    _need_masks("masked_argmax", *inputs)
    return result


def _masked_argmax(x: Array, masks: Array, sizes: tuple[int, ...]) -> Array:
    return _argmax(np.where(masks, x, -np.inf), sizes)


ROWS = (
    Op(
        name="one_hot",
        summary="nn.functional.one_hot of each of several choices, side by side",
        result=_one_hot_result,
        reference=_one_hot,
        attributes={"sizes": tuple},
        template="one_hot",
    ),
    Op(
        name="softmax",
        summary="nn.Softmax, nn.Softmin over the features: softmax(scale * x)",
        result=_distribution_result,
        reference=_softmax,
        attributes={"scale": 1.0, "sizes": ()},
        template="softmax",
    ),
    Op(
        name="log_softmax",
        summary="nn.LogSoftmax over the features",
        result=_distribution_result,
        reference=_log_softmax,
        attributes={"sizes": ()},
        template="log_softmax",
    ),
    Op(
        name="argmax",
        summary="torch.argmax over the features: the first largest, NaN counting as largest",
        result=_argmax_result,
        reference=_argmax,
        attributes={"sizes": ()},
        template="argmax",
    ),
    Op(
        name="mask",
        summary="torch.where(masks, x, -1e8)",
        result=_mask_result,
        reference=lambda x, masks: np.where(masks, x, MASKED),
        arity=2,
        template="mask",
    ),
    Op(
        name="masked_argmax",
        summary="argmax among what the masks allow; the first choice where they allow none",
        result=_masked_argmax_result,
        reference=_masked_argmax,
        arity=2,
        attributes={"sizes": ()},
        template="masked_argmax",
    ),
)
