"""
Products of matrices in the last two dims of a sample, and attention, which is made of two of them.
"""

import math
from collections.abc import Sequence

import numpy as np

from compiler.ir import Tensor
from compiler.ops.dense import COLUMNS, unpack
from compiler.ops.dims import (
    FLOAT,
    Dims,
    dims_of,
    need_computed,
    need_constant,
    need_kind,
    need_one_computed,
    number,
    sample,
    spread,
)
from compiler.ops.fused import FusedOp, activate
from compiler.ops.table import Array, Attributes, Op, TensorType, refuse


def _matmul_dims(inputs: Sequence[Tensor]) -> tuple[Dims, Dims, Dims]:
    """
    The dims of both inputs and of the result.
    """
    need_one_computed("matmul", *inputs)
    need_kind("matmul", (FLOAT,), *inputs)
    left, right = (dims_of("matmul", tensor) for tensor in inputs)
    if len(left) != len(right) or len(left) < 2 or left[-1] != right[-2]:
        refuse("matmul", f"needs matrices (..., m, k) and (..., k, n) of the same rank, found {left}, {right}")
    return left, right, (*spread("matmul", left[:-2], right[:-2]), left[-2], right[-1])


def _matmul_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    return sample(FLOAT, _matmul_dims(inputs)[2])


def _matmul_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    left, _, result = _matmul_dims(inputs)
    return math.prod(result) * left[-1]


def _linear_over_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    source, weight, bias = inputs
    need_computed("linear_over", source)
    need_kind("linear_over", (FLOAT,), source)
    dims, sizes = dims_of("linear_over", source), dims_of("linear_over", weight, 2)
    if not dims:
        refuse("linear_over", "needs one dimension or more, found none")
    need_constant("linear_over", weight, (sizes[0], dims[-1]))
    need_constant("linear_over", bias, sizes[:1])
    return sample(FLOAT, (*dims[:-1], sizes[0]))


def _dense_over_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    if not 3 <= len(inputs) <= 4:
        refuse(
            "dense_over", f"takes a source, a weight, a bias and what is added or nothing, found {len(inputs)} inputs"
        )
    source, weight, bias = inputs[:3]
    need_computed("dense_over", source)
    need_kind("dense_over", (FLOAT,), source)
    dims, outputs = dims_of("dense_over", source), number("dense_over", attributes, "outputs", 1)
    if not dims:
        refuse("dense_over", "needs one dimension or more, found none")
    blocks, _, width = dims_of("dense_over", weight, 3)
    if not (blocks - 1) * width < outputs <= blocks * width:
        refuse("dense_over", f"attribute outputs must fit {blocks} blocks of {width}, found {outputs}")
    need_constant("dense_over", weight, (blocks, dims[-1], width))
    need_constant("dense_over", bias, (blocks * width,))
    result = (*dims[:-1], outputs)
    for added in inputs[3:]:
        need_computed("dense_over", added)
        need_kind("dense_over", (FLOAT,), added)
        if dims_of("dense_over", added) != result:
            refuse("dense_over", f"what is added must be {result}, found {dims_of('dense_over', added)}")
    return sample(FLOAT, result)


def _dense_over(
    x: Array, weight: Array, bias: Array, *added: Array, outputs: int, activation: str, **parameters: float
) -> Array:
    result = x @ unpack(weight, COLUMNS, x.shape[-1], outputs).T + bias[:outputs]
    for other in added:
        result = result + other
    return activate(result, activation, parameters)


def _attention_dims(inputs: Sequence[Tensor], attributes: Attributes) -> tuple[Dims, Dims, Dims]:
    """
    The dims of queries, keys and values; of keys that are turned, as if they were not.
    """
    if not 3 <= len(inputs) <= 4:
        refuse("attention", f"takes queries, keys, values and a mask or none, found {len(inputs)} inputs")
    need_one_computed("attention", *inputs[:3])
    need_kind("attention", (FLOAT,), *inputs)
    queries, keys, values = (dims_of("attention", tensor) for tensor in inputs[:3])
    if attributes["turned"] and len(keys) > 1:
        keys = (*keys[:-2], keys[-1], keys[-2])
    ranks = {len(queries), len(keys), len(values)}
    if len(ranks) > 1 or min(ranks) < 2 or len({queries[:-2], keys[:-2], values[:-2]}) > 1:
        refuse("attention", f"needs dimensions (..., T, D), found {queries}, {keys}, {values}")
    if queries[-1] != keys[-1] or keys[-2] != values[-2]:
        refuse("attention", f"queries {queries}, keys {keys} and values {values} do not fit")
    return queries, keys, values


def _attention_result(inputs: Sequence[Tensor], attributes: Attributes) -> TensorType:
    queries, keys, values = _attention_dims(inputs, attributes)
    scale = attributes["scale"]
    if not isinstance(scale, float) or not math.isfinite(scale):
        refuse("attention", f"attribute scale must be a finite number, found {scale}")
    scores = (*queries[:-1], keys[-2])
    for mask in inputs[3:]:
        sizes = dims_of("attention", mask, len(scores))
        if spread("attention", sizes, scores) != scores:
            refuse("attention", f"the mask {sizes} is larger than the scores {scores}")
    return sample(FLOAT, (*queries[:-1], values[-1]))


def _attention_multiply_adds(inputs: Sequence[Tensor], attributes: Attributes) -> int:
    queries, keys, values = _attention_dims(inputs, attributes)
    return math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])


def _attention(
    queries: Array, keys: Array, values: Array, mask: Array | None = None, *, scale: float, causal: bool, turned: bool
) -> Array:
    scores = scale * (queries @ (keys if turned else keys.swapaxes(-1, -2)))
    if mask is not None:
        scores = scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
    highest = scores.max(axis=-1, keepdims=True)
    raised = np.exp(scores - np.where(highest == -np.inf, 0, highest))
    total = raised.sum(axis=-1, keepdims=True)
    weights = np.where(highest == -np.inf, 0, raised / total)
    result: Array = weights @ values
    return result


ROWS = (
    Op(
        name="matmul",
        summary="torch.matmul of matrices in the last two dimensions",
        result=_matmul_result,
        reference=np.matmul,
        arity=2,
        template="nest",
        single=True,
        multiply_adds=_matmul_multiply_adds,
    ),
    Op(
        name="linear_over",
        summary="nn.Linear over the last dimension",
        result=_linear_over_result,
        reference=lambda x, weight, bias: x @ weight.T + bias,
        arity=3,
        single=True,
        multiply_adds=lambda inputs, attributes: inputs[0].elements * inputs[2].elements,
    ),
    FusedOp(
        name="dense_over",
        summary="nn.Linear over the last dimension, packed, with what is added to it and the activation that follows",
        result=_dense_over_result,
        reference=_dense_over,
        arity=None,
        attributes={"outputs": int, "activation": ""},
        template="nest",
        single=True,
        multiply_adds=lambda inputs, attributes: inputs[0].elements * int(str(attributes["outputs"])),
    ),
    Op(
        name="attention",
        summary="nn.functional.scaled_dot_product_attention: softmax(scale * q k^T + mask) v; 0 where all is masked",
        result=_attention_result,
        reference=_attention,
        arity=None,
        attributes={"scale": float, "causal": False, "turned": False},
        template="nest",
        single=True,
        multiply_adds=_attention_multiply_adds,
    ),
)
