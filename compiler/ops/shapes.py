"""
Ops that only say how the same elements are arranged.
"""

from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.table import Attributes, Op, TensorType, need_float, need_rows, refuse


def _flatten(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source = inputs[0]
    if not source.shape or not isinstance(source.shape[0], str) or len(source.fixed_shape) != len(source.shape) - 1:
        refuse("flatten", f"needs one symbolic dimension, the first, found {source.shape}")
    return TensorType(source.dtype, (source.shape[0], source.elements))


def _concat(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    need_float("concat", *inputs)
    widths = [need_rows("concat", tensor) for tensor in inputs]
    return TensorType(inputs[0].dtype, (inputs[0].shape[0], sum(widths)))


ROWS = (
    Op(
        name="flatten",
        summary="nn.Flatten: all dimensions after the first become one, in C order",
        result=_flatten,
        reference=lambda x: x.reshape(x.shape[0], -1),
    ),
    Op(
        name="concat",
        summary="torch.cat of features, in order",
        result=_concat,
        reference=lambda *parts: np.concatenate(parts, axis=1),
        arity=None,
        template="concat",
    ),
)
