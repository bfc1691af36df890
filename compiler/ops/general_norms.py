"""
What general models normalise by: softmax over any axis, and the mean and variance of a sample's own values.

Batch norm in evaluation is no row: it is `times` and `plus` with constants.
"""

import math
from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.dims import (
    FLOAT,
    Dims,
    axis_of,
    dims_of,
    need_computed,
    need_constant,
    need_kind,
    number,
    sample,
)
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse


def _softmax(x: Array, axis: int) -> Array:
    raised = np.exp(x - x.max(axis=axis + 1, keepdims=True))
    result: Array = raised / raised.sum(axis=axis + 1, keepdims=True)
    return result


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis + 1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=axis + 1, keepdims=True))
    return result


def _floats(op: str, source: Tensor) -> Dims:
    need_computed(op, source)
    need_kind(op, (FLOAT,), source)
    return dims_of(op, source)


def _need_epsilon(op: str, attributes: Attributes) -> None:
    epsilon = attributes["epsilon"]
    if not isinstance(epsilon, float) or not 0 <= epsilon < math.inf:
        refuse(op, f"attribute epsilon must be a number of at least 0, found {epsilon}")


def _softmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    dims = _floats("softmax_over", inputs[0])
    axis_of("softmax_over", attributes, len(dims))
    return sample(FLOAT, dims)


def _log_softmax_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    dims = _floats("log_softmax_over", inputs[0])
    axis_of("log_softmax_over", attributes, len(dims))
    return sample(FLOAT, dims)


def _trailing(op: str, inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    """
    The rule of rows that normalise the last `count` dims, with constants of these dims.
    """
    dims = _floats(op, inputs[0])
    count = number(op, attributes, "count", 1)
    if count > len(dims):
        refuse(op, f"attribute count must be at most {len(dims)}, found {count}")
    _need_epsilon(op, attributes)
    for tensor in inputs[1:]:
        need_constant(op, tensor, dims[len(dims) - count :])
    return sample(FLOAT, dims)


def _layer_norm_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _trailing("layer_norm", inputs, attributes)


def _rms_norm_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return _trailing("rms_norm", inputs, attributes)


def _group_norm_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, *constants = inputs
    dims = _floats("group_norm", source)
    if len(dims) < 2:
        refuse("group_norm", f"needs dimensions (N, C, ...), found {dims}")
    groups = number("group_norm", attributes, "groups", 1)
    if dims[1] % groups:
        refuse("group_norm", f"{dims[1]} channels are not {groups} groups")
    _need_epsilon("group_norm", attributes)
    for tensor in constants:
        need_constant("group_norm", tensor, dims[1:2])
    return sample(FLOAT, dims)


def _standardized(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    result: Array = (x - mean) / np.sqrt(variance + epsilon)
    return result


def _layer_norm(x: Array, weight: Array, bias: Array, count: int, epsilon: float) -> Array:
    result: Array = _standardized(x, tuple(range(-count, 0)), epsilon) * weight + bias
    return result


def _group_norm(x: Array, weight: Array, bias: Array, groups: int, epsilon: float) -> Array:
    grouped = x.reshape(*x.shape[:2], groups, -1)
    channels = (len(weight), *(1,) * (x.ndim - 3))
    result: Array = _standardized(grouped, (-1,), epsilon).reshape(x.shape)
    return result * weight.reshape(channels) + bias.reshape(channels)


def _rms_norm(x: Array, weight: Array, count: int, epsilon: float) -> Array:
    power = np.square(x).mean(axis=tuple(range(-count, 0)), keepdims=True)
    result: Array = x / np.sqrt(power + epsilon) * weight
    return result


ROWS = (
    Op(
        name="softmax_over",
        summary="nn.Softmax over an axis",
        result=_softmax_result,
        reference=_softmax,
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
    Op(
        name="log_softmax_over",
        summary="nn.LogSoftmax over an axis",
        result=_log_softmax_result,
        reference=_log_softmax,
        attributes={"axis": int},
        template="nest",
        single=True,
    ),
    Op(
        name="layer_norm",
        summary="nn.LayerNorm over the last `count` dimensions",
        result=_layer_norm_result,
        reference=_layer_norm,
        arity=3,
        attributes={"count": int, "epsilon": 1e-5},
        template="nest",
        single=True,
    ),
    Op(
        name="group_norm",
        summary="nn.GroupNorm; nn.InstanceNorm with a group for each channel",
        result=_group_norm_result,
        reference=_group_norm,
        arity=3,
        attributes={"groups": int, "epsilon": 1e-5},
        template="nest",
        single=True,
    ),
    Op(
        name="rms_norm",
        summary="nn.RMSNorm over the last `count` dimensions",
        result=_rms_norm_result,
        reference=_rms_norm,
        arity=2,
        attributes={"count": int, "epsilon": float},
        template="nest",
        single=True,
    ),
)
