"""
Features shifted and scaled by statistics that training gathered, and learned slopes.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import DType, Tensor
from compiler.ops.table import Array, Attributes, Op, TensorType, need_float, need_rows, refuse


def _normalize_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, mean, deviation = inputs
    for tensor in inputs:
        if tensor.dtype is not DType.FLOAT64:
            refuse("normalize", f"needs float64, found {tensor.dtype}")
    if not source.shape or not mean.shape == deviation.shape == source.shape[1:]:
        refuse("normalize", f"the statistics must have shape {source.shape[1:]}, found {mean.shape}, {deviation.shape}")
    return TensorType(DType.FLOAT32, source.shape)


def _normalize(x: Array, mean: Array, deviation: Array, clip: float) -> Array:
    return np.clip((x - mean) / deviation, -clip, clip)


def _per_feature(op: str) -> object:
    def result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
        need_float(op, *inputs)
        features = need_rows(op, inputs[0])
        for tensor in inputs[1:]:
            if tensor.shape != (features,):
                refuse(op, f"needs {features} values per statistic, found {tensor.shape}")
        return TensorType.of(inputs[0])

    return result


def _batch_norm(x: Array, mean: Array, variance: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    result: Array = (x - mean) / np.sqrt(variance + epsilon) * scale + bias
    return result


def _prelu_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight = inputs
    need_float("prelu", source, weight)
    features = need_rows("prelu", source)
    if weight.shape not in ((1,), (features,)):
        refuse("prelu", f"needs 1 or {features} slopes, found {weight.shape}")
    return TensorType.of(source)


ROWS = (
    Op(
        name="normalize",
        summary="VecNormalize: clip((x - mean) / deviation, -clip, clip) in float64, then float32",
        result=_normalize_result,
        reference=_normalize,
        arity=3,
        attributes={"clip": float},
        template="normalize",
    ),
    Op(
        name="batch_norm",
        summary="nn.BatchNorm1d, sb3_contrib's BatchRenorm1d, in evaluation",
        result=_per_feature("batch_norm"),  # type: ignore[arg-type]
        reference=_batch_norm,
        arity=5,
        attributes={"epsilon": float},
    ),
    Op(
        name="affine",
        summary="(x - shift) * scale + bias, feature by feature",
        result=_per_feature("affine"),  # type: ignore[arg-type]
        reference=lambda x, shift, scale, bias: (x - shift) * scale + bias,
        arity=4,
        template="affine",
    ),
    Op(
        name="prelu",
        summary="nn.PReLU",
        result=_prelu_result,
        reference=lambda x, weight: np.where(x > 0, x, x * weight),
        arity=2,
        template="prelu",
    ),
)
