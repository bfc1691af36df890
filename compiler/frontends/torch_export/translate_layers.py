"""
Layers: linear maps, matrix products, attention, normalisation.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value, dims_of
from compiler.frontends.torch_export.translate_elementwise import Translation
from compiler.frontends.torch_export.translate_reductions import norm
from compiler.frontends.torch_export.translate_shapes import expand
from compiler.ir import DType

aten = torch.ops.aten
TRAINING = "computes statistics of the batch, as in training: call module.eval() before the export"
FLOAT32_EPSILON = 2.0**-23


def filled(size: int | Sequence[int], value: float) -> torch.Tensor:
    """
    What stands for a weight or bias that a layer does not have.
    """
    return torch.full((size,) if isinstance(size, int) else tuple(size), value, dtype=torch.float32)


def linear(g: Graph, x: Value, weight: Value, bias: Value = None) -> Value:
    """
    The map x W^T + b; a weight that the model computes is multiplied as a matrix.
    """
    plain_bias = bias is None or isinstance(bias, torch.Tensor)
    if isinstance(weight, torch.Tensor) and weight.ndim == 2 and plain_bias:
        if not dims_of(x):
            g.refuse("needs an input with dims")
        given = filled(weight.shape[0], 0.0) if bias is None else bias
        return g.add("linear_over", [g.floating(x), g.floating(weight), g.floating(given)])
    turned = weight.mT if isinstance(weight, torch.Tensor) else g.add("permute", [weight], order=(1, 0))
    product = matmul(g, x, turned)
    return product if bias is None else g.broadcast("plus", product, bias)


def matmul(g: Graph, a: Value, b: Value) -> Value:
    """
    torch.matmul: vectors become matrices, leading dims broadcast.
    """
    a, b = g.floating(a), g.floating(b)
    rows, columns = dims_of(a), dims_of(b)
    if isinstance(b, torch.Tensor) and b.ndim == 2:
        return linear(g, a, b.mT)
    left = (1, *rows) if len(rows) == 1 else rows
    right = (*columns, 1) if len(columns) == 1 else columns
    rank = max(len(left), len(right))
    pair = [g.reshape(x, (1,) * (rank - len(dims)) + dims) for x, dims in ((a, left), (b, right))]
    product = g.add("matmul", pair)
    dims = product.dims
    kept = (*dims[:-2], *(dims[-2:-1] if len(rows) > 1 else ()), *(dims[-1:] if len(columns) > 1 else ()))
    return g.reshape(product, kept)


def _addmm(g: Graph, bias: Value, a: Value, b: Value, *, beta: float = 1, alpha: float = 1) -> Value:
    simple = isinstance(b, torch.Tensor) and isinstance(bias, torch.Tensor) and bias.ndim == 1
    if simple and beta == 1 and alpha == 1:
        return linear(g, a, b.mT, bias)
    product = matmul(g, a, b)
    product = product if alpha == 1 else g.broadcast("times", product, float(alpha))
    if beta == 0:
        return product
    scaled = bias if beta == 1 else bias * beta if isinstance(bias, torch.Tensor) else g.broadcast("times", bias, beta)
    return g.broadcast("plus", product, scaled)


def _additive_mask(g: Graph, mask: Value) -> Value:
    """
    A mask to add to attention scores: of bools, minus infinity where it says no.
    """
    if isinstance(mask, torch.Tensor):
        if mask.dtype != torch.bool:
            return mask
        return torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    if mask.dtype is not DType.BOOL:
        return g.floating(mask)
    rank = len(mask.dims)
    return g.broadcast("where", mask, g.number(0.0, DType.FLOAT32, rank), g.number(-math.inf, DType.FLOAT32, rank))


def _attention(
    g: Graph,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    if dropout_p:
        g.refuse("draws at random, as in training: call module.eval() before the export")
    rank = max(len(dims_of(query)), len(dims_of(key)))
    if enable_gqa:
        heads = dims_of(query)[-3]
        key, value = (_repeated_heads(g, x, heads) for x in (key, value))
    given = [g.reshape(g.floating(x), (1,) * (rank - len(dims_of(x))) + dims_of(x)) for x in (query, key, value)]
    lead = tuple(torch.broadcast_shapes(*(dims_of(x)[:-2] for x in given)))
    inputs = [expand(g, x, (*lead, *dims_of(x)[-2:])) for x in given]
    if attn_mask is not None:
        mask = _additive_mask(g, attn_mask)
        inputs.append(g.reshape(mask, (1,) * (rank - len(dims_of(mask))) + dims_of(mask)))
    factor = 1 / math.sqrt(dims_of(query)[-1]) if scale is None else float(scale)
    return g.reshape(g.add("attention", inputs, scale=factor, causal=bool(is_causal)), g.result_dims())


def _repeated_heads(g: Graph, x: Value, heads: int) -> Value:
    """
    Each head of keys or values for as many heads of queries as share it.
    """
    *lead, count, length, size = dims_of(x)
    apart = g.reshape(x, (*lead, count, 1, length, size))
    return g.reshape(expand(g, apart, (*lead, count, heads // count, length, size)), (*lead, heads, length, size))


def _batch_norm(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    training: bool,
    momentum: float,
    epsilon: float,
    *_: Any,
) -> Value:
    """
    In evaluation: one factor and one summand for each channel, computed in float64.
    """
    if training or mean is None or variance is None:
        g.refuse(TRAINING)
    known = [None if v is None else g.known(v, "a parameter").double() for v in (weight, bias, mean, variance)]
    scale, shift, center, spread = known
    assert center is not None
    assert spread is not None
    factor = torch.rsqrt(spread + epsilon) if scale is None else scale * torch.rsqrt(spread + epsilon)
    summand = -center * factor if shift is None else shift - center * factor
    dims = (-1,) + (1,) * (len(dims_of(x)) - 2)
    scaled = g.broadcast("times", g.floating(x), factor.float().reshape(dims))
    return g.broadcast("plus", scaled, summand.float().reshape(dims))


def _native_batch_norm(
    g: Graph, x: Value, weight: Value, bias: Value, mean: Value, variance: Value, momentum: float, epsilon: float
) -> Value:
    return [_batch_norm(g, x, weight, bias, mean, variance, False, momentum, epsilon), None, None]


def _layer_norm(
    g: Graph, x: Value, dims: Sequence[int], weight: Value = None, bias: Value = None, eps: float = 1e-5, *_: Any
) -> Value:
    scale = filled(dims, 1.0) if weight is None else g.floating(g.known(weight, "the weight"))
    shift = filled(dims, 0.0) if bias is None else g.floating(g.known(bias, "the bias"))
    return g.add("layer_norm", [g.floating(x), scale, shift], count=len(dims), epsilon=float(eps))


def _native_layer_norm(g: Graph, x: Value, dims: Sequence[int], weight: Value, bias: Value, eps: float) -> Value:
    return [_layer_norm(g, x, dims, weight, bias, eps), None, None]


def _rms_norm(g: Graph, x: Value, dims: Sequence[int], weight: Value = None, eps: float | None = None) -> Value:
    scale = filled(dims, 1.0) if weight is None else g.floating(g.known(weight, "the weight"))
    epsilon = FLOAT32_EPSILON if eps is None else float(eps)
    return g.add("rms_norm", [g.floating(x), scale], count=len(dims), epsilon=epsilon)


def _fused_rms_norm(g: Graph, x: Value, dims: Sequence[int], weight: Value, eps: float | None) -> Value:
    return [_rms_norm(g, x, dims, weight, eps), None]


def _group_norm(
    g: Graph, x: Value, groups: int, weight: Value = None, bias: Value = None, eps: float = 1e-5, *_: Any
) -> Value:
    channels = dims_of(x)[1]
    scale = filled(channels, 1.0) if weight is None else g.floating(g.known(weight, "the weight"))
    shift = filled(channels, 0.0) if bias is None else g.floating(g.known(bias, "the bias"))
    return g.add("group_norm", [g.floating(x), scale, shift], groups=int(groups), epsilon=float(eps))


def _native_group_norm(
    g: Graph, x: Value, weight: Value, bias: Value, n: int, c: int, area: int, groups: int, eps: float
) -> Value:
    return [_group_norm(g, x, groups, weight, bias, eps), None, None]


def _instance_norm(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value,
    mean: Value,
    variance: Value,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Value:
    if not use_input_stats:
        return _batch_norm(g, x, weight, bias, mean, variance, False, momentum, eps)
    return _group_norm(g, x, dims_of(x)[1], weight, bias, eps)


def _bilinear(g: Graph, a: Value, b: Value, weight: Value, bias: Value = None) -> Value:
    """
    Of each output k the product a W[k] b: first with a, as a linear map to (outputs, features of b).
    """
    known = g.floating(g.known(weight, "the weight"))
    outputs, first, second = known.shape
    turned = known.permute(0, 2, 1).reshape(outputs * second, first)
    given = dims_of(a)[:-1]
    half = g.reshape(linear(g, a, turned), (*given, outputs, second))
    scaled = g.broadcast("times", half, g.reshape(g.floating(b), (*given, 1, second)))
    found = g.add("reduce_sum", [scaled], axes=(len(given) + 1,), keep=False)
    return found if bias is None else g.broadcast("plus", found, g.floating(bias))


def _distances(g: Graph, a: Value, b: Value, p: float, mode: int | None = None) -> Value:
    """
    The norm of the difference of each row of a and each row of b.
    """
    rows, others = dims_of(a), dims_of(b)
    one = g.reshape(g.floating(a), (*rows[:-1], 1, rows[-1]))
    other = g.reshape(g.floating(b), (*others[:-2], 1, *others[-2:]))
    return norm(g, g.broadcast("minus", one, other), p, -1)


def _training(g: Graph, *_: Any, **__: Any) -> Value:
    g.refuse(TRAINING)


TRANSLATIONS: dict[Any, Translation] = {
    aten.linear.default: linear,
    aten.matmul.default: matmul,
    aten.mm.default: matmul,
    aten.bmm.default: matmul,
    aten.mv.default: matmul,
    aten.dot.default: matmul,
    aten.addmm.default: _addmm,
    aten.baddbmm.default: _addmm,
    aten.scaled_dot_product_attention.default: _attention,
    aten.batch_norm.default: _batch_norm,
    aten._native_batch_norm_legit_no_training.default: _native_batch_norm,
    aten._native_batch_norm_legit.default: _training,
    aten._native_batch_norm_legit_functional.default: _training,
    aten._native_batch_norm_legit.no_stats: _training,
    aten.layer_norm.default: _layer_norm,
    aten.native_layer_norm.default: _native_layer_norm,
    aten.rms_norm.default: _rms_norm,
    aten._fused_rms_norm.default: _fused_rms_norm,
    aten.group_norm.default: _group_norm,
    aten.native_group_norm.default: _native_group_norm,
    aten.instance_norm.default: _instance_norm,
    aten.bilinear.default: _bilinear,
    aten._cdist_forward.default: _distances,
}
