"""
What stands between a network's last layer and an action: softmax, argmax, clipping, rescaling.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse


def _softmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("softmax", inputs[0])
    need_rows("softmax", inputs[0])
    return TensorType.of(inputs[0])


def _softmax(x: Array, scale: float) -> Array:
    raised = np.exp(scale * x - np.max(scale * x, axis=1, keepdims=True))
    result: Array = raised / raised.sum(axis=1, keepdims=True)
    return result


def _log_softmax(x: Array) -> Array:
    shifted = x - np.max(x, axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _argmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("argmax", inputs[0])
    need_rows("argmax", inputs[0])
    return TensorType(DType.INT64, inputs[0].shape[:1])


def _with_bounds(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, low, high = inputs
    need_float("bounds", source)
    features = need_rows("bounds", source)
    if low.shape != (features,) or high.shape != (features,) or low.dtype is not high.dtype:
        refuse("bounds", f"low and high must have shape ({features},) and one dtype, found {low.shape}, {high.shape}")
    return TensorType(DType(np.result_type(np.float32, low.dtype.numpy).name), source.shape)


ROWS = (
    Op(
        name="softmax",
        summary="nn.Softmax, nn.Softmin over the features: softmax(scale * x)",
        result=_softmax_result,
        reference=_softmax,
        attributes={"scale": 1.0},
        template="softmax",
    ),
    Op(
        name="log_softmax",
        summary="nn.LogSoftmax over the features",
        result=_softmax_result,
        reference=_log_softmax,
        template="log_softmax",
    ),
    Op(
        name="argmax",
        summary="torch.argmax over the features: the first largest, NaN counting as largest",
        result=_argmax_result,
        reference=lambda x: np.argmax(x, axis=1),
        template="argmax",
    ),
    Op(
        name="clip",
        summary="numpy.clip to [low, high], in the dtype that NumPy promotes float32 and the bounds to",
        result=_with_bounds,
        reference=lambda x, low, high: np.clip(x, low, high),
        arity=3,
        template="clip",
    ),
    Op(
        name="rescale",
        summary="from [-1, 1] to [low, high], as SB3's unscale_action",
        result=_with_bounds,
        reference=lambda x, low, high: low + 0.5 * (x + 1.0) * (high - low),
        arity=3,
        template="rescale",
    ),
)
