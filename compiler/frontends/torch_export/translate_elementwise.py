"""
Ops that compute each element from the elements at its place: functions, arithmetic, comparisons, casts.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from compiler.frontends.computed import Computed
from compiler.frontends.torch_export.graph import Graph, Value, axis_of, common, dims_of, kind_of
from compiler.ir import DType

aten = torch.ops.aten
Translation = Callable[..., Value]

TRAINING = "draws at random, as in training: call module.eval() before the export"

FLOATING = {
    aten.exp.default: "exp",
    aten.expm1.default: "expm1",
    aten.log.default: "log",
    aten.log1p.default: "log1p",
    aten.sqrt.default: "sqrt",
    aten.rsqrt.default: "rsqrt",
    aten.reciprocal.default: "reciprocal",
    aten.sin.default: "sin",
    aten.cos.default: "cos",
    aten.erf.default: "erf",
    aten.sigmoid.default: "sigmoid",
    aten.tanh.default: "tanh",
    aten.silu.default: "silu",
    aten.selu.default: "selu",
    aten.mish.default: "mish",
    aten.hardswish.default: "hardswish",
    aten.hardsigmoid.default: "hardsigmoid",
    aten.log_sigmoid.default: "log_sigmoid",
    aten.relu6.default: "relu6",
}
"""Functions of one float32 tensor, by the row that computes them."""

KEEPING = {
    aten.neg.default: "negate",
    aten.abs.default: "absolute",
    aten.square.default: "square",
    aten.sign.default: "sign",
    aten.sgn.default: "sign",
}
"""Functions that keep integers as they are."""

ROUNDING = {
    aten.floor.default: "floor",
    aten.ceil.default: "ceil",
    aten.round.default: "round",
    aten.trunc.default: "trunc",
    aten.fix.default: "trunc",
}
"""Functions that leave an integer as it is."""

COMPARISONS = {
    aten.eq: "equal",
    aten.ne: "unequal",
    aten.lt: "less",
    aten.le: "less_equal",
    aten.gt: "greater",
    aten.ge: "greater_equal",
}


NARROW = {torch.uint8: (0, 1 << 8), torch.int8: (-(1 << 7), 1 << 8), torch.int16: (-(1 << 15), 1 << 16)}
"""The least number of dtypes that wrap around before 2 ** 24, and how many there are."""


def _floating(row: str) -> Translation:
    if row == "relu6":
        return lambda g, x: g.add("hardtanh", [g.floating(x)], min_val=0.0, max_val=6.0)
    return lambda g, x: g.add(row, [g.floating(x)])


def _keeping(row: str) -> Translation:
    return lambda g, x: g.add(row, [g.cast(x, DType.INT64) if kind_of(x) is DType.BOOL else x])


def _rounding(row: str) -> Translation:
    return lambda g, x: g.add(row, [x]) if kind_of(x) is DType.FLOAT32 else x


def _activation(row: str, *names: str) -> Translation:
    """
    An activation whose arguments are the row's attributes, in torch's order.
    """

    def translate(g: Graph, x: Value, *arguments: float, **others: float) -> Value:
        given = {**dict(zip(names, arguments, strict=False)), **others}
        return g.add(row, [g.floating(x)], **{name: float(value) for name, value in given.items()})

    return translate


def _relu(g: Graph, x: Value) -> Value:
    return g.add("relu", [x]) if kind_of(x) is DType.FLOAT32 else g.broadcast("largest_of", x, 0)


def _gelu(g: Graph, x: Value, *, approximate: str = "none") -> Value:
    return g.add("gelu", [g.floating(x)], approximate=approximate)


def _elu(g: Graph, x: Value, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    if scale != 1 or input_scale != 1:
        if math.isclose(alpha, 1.6732632423543772) and math.isclose(scale, 1.0507009873554805) and input_scale == 1:
            return g.add("selu", [x])
        g.refuse("elu is compiled without scale and input_scale")
    return g.add("elu", [g.floating(x)], alpha=float(alpha))


def _rrelu(g: Graph, x: Value, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *_: Any) -> Value:
    if training:
        g.refuse(TRAINING)
    return g.add("leaky_relu", [g.floating(x)], negative_slope=(lower + upper) / 2)


def _prelu(g: Graph, x: Value, weight: Value) -> Value:
    rank = len(dims_of(x))
    slope = g.reshape(weight, (-1,) + (1,) * max(rank - 2, 0)) if isinstance(weight, torch.Tensor) else weight
    scaled = g.broadcast("times", x, slope)
    return g.broadcast("where", g.broadcast("greater", x, 0.0), x, scaled)


def _clamp(g: Graph, x: Value, low: Value = None, high: Value = None) -> Value:
    kind = g.result_kind()
    x = g.cast(x, kind)
    plain = isinstance(low, int | float) and isinstance(high, int | float)
    if plain and kind is DType.FLOAT32 and low <= high:
        return g.add("hardtanh", [x], min_val=float(low), max_val=float(high))
    if low is not None:
        x = g.broadcast("largest_of", x, as_kind(g, low, kind))
    return x if high is None else g.broadcast("least_of", x, as_kind(g, high, kind))


def _clamp_min(g: Graph, x: Value, low: Value) -> Value:
    return _clamp(g, x, low, None)


def _clamp_max(g: Graph, x: Value, high: Value) -> Value:
    return _clamp(g, x, None, high)


def as_kind(g: Graph, value: Value, kind: DType) -> Value:
    """
    A tensor as `kind`; a number as a number of this kind.
    """
    if isinstance(value, Computed | torch.Tensor):
        return g.cast(value, kind)
    return float(value) if kind is DType.FLOAT32 else bool(value) if kind is DType.BOOL else int(value)


def _arithmetic(row: str, *, of_bools: str | None = None) -> Translation:
    """
    An op whose inputs become what its result is; bools have a row of their own.
    """

    def translate(g: Graph, a: Value, b: Value) -> Value:
        kind = g.result_kind()
        chosen = row
        if kind is DType.BOOL:
            if of_bools is None:
                g.refuse("is not compiled for bools")
            chosen = of_bools
        return narrowed(g, g.broadcast(chosen, as_kind(g, a, kind), as_kind(g, b, kind)))

    return translate


def narrowed(g: Graph, x: Value) -> Value:
    """
    A whole number as torch keeps it where the result has few bits: without those that are beyond.
    """
    low, count = NARROW.get(g.result().dtype, (0, 0))
    if not count or not isinstance(x, Computed):
        return x
    wrapped = g.broadcast("modulo", g.broadcast("minus", x, low), count)
    return g.broadcast("plus", wrapped, low) if low else wrapped


def _scaled(g: Graph, value: Value, alpha: float) -> Value:
    if alpha == 1:
        return value
    if isinstance(value, Computed):
        return g.broadcast("times", g.cast(value, common(value, alpha)), alpha)
    return value * alpha


def _add(g: Graph, a: Value, b: Value, *, alpha: float = 1) -> Value:
    return _arithmetic("plus", of_bools="either")(g, a, _scaled(g, b, alpha))


def _sub(g: Graph, a: Value, b: Value, *, alpha: float = 1) -> Value:
    return _arithmetic("minus")(g, a, _scaled(g, b, alpha))


def _rsub(g: Graph, a: Value, b: Value, *, alpha: float = 1) -> Value:
    return _arithmetic("minus")(g, b, _scaled(g, a, alpha))


def _div(g: Graph, a: Value, b: Value, *, rounding_mode: str | None = None) -> Value:
    if rounding_mode == "floor":
        return _arithmetic("floor_over")(g, a, b)
    quotient = g.broadcast("over", as_kind(g, a, DType.FLOAT32), as_kind(g, b, DType.FLOAT32))
    if rounding_mode == "trunc":
        return g.cast(g.add("trunc", [quotient]), g.result_kind())
    return quotient


def _pow(g: Graph, x: Value, exponent: Value) -> Value:
    kind = g.result_kind()
    if not isinstance(exponent, int | float) or isinstance(x, int | float):
        return g.broadcast("power", as_kind(g, x, kind), as_kind(g, exponent, kind))
    x = g.cast(x, kind)
    if exponent == 1:
        return x
    if exponent == 2:
        return g.add("square", [x])
    if exponent == 3:
        return g.broadcast("times", x, g.add("square", [x]))
    simple = {0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(float(exponent))
    if simple is not None and kind is DType.FLOAT32:
        return g.add(simple, [x])
    return g.broadcast("power", x, as_kind(g, exponent, kind))


def _fmod(g: Graph, a: Value, b: Value) -> Value:
    kind = g.result_kind()
    a, b = as_kind(g, a, kind), as_kind(g, b, kind)
    whole = g.add("trunc", [g.broadcast("over", as_kind(g, a, DType.FLOAT32), as_kind(g, b, DType.FLOAT32))])
    return g.broadcast("minus", a, g.broadcast("times", g.cast(whole, kind), b))


def _comparison(row: str) -> Translation:
    def translate(g: Graph, a: Value, b: Value) -> Value:
        kind = common(a, b)
        return g.broadcast(row, as_kind(g, a, kind), as_kind(g, b, kind))

    return translate


def _logical(row: str) -> Translation:
    return lambda g, a, b: g.broadcast(row, as_kind(g, a, DType.BOOL), as_kind(g, b, DType.BOOL))


def _bitwise(row: str) -> Translation:
    def translate(g: Graph, a: Value, b: Value) -> Value:
        if g.result_kind() is not DType.BOOL:
            g.refuse("is compiled for bools only")
        return g.broadcast(row, as_kind(g, a, DType.BOOL), as_kind(g, b, DType.BOOL))

    return translate


def _logical_not(g: Graph, x: Value) -> Value:
    return g.add("not", [g.cast(x, DType.BOOL)])


def _bitwise_not(g: Graph, x: Value) -> Value:
    if kind_of(x) is not DType.BOOL:
        g.refuse("is compiled for bools only")
    return g.add("not", [x])


def _where(g: Graph, condition: Value, a: Value, b: Value) -> Value:
    kind = g.result_kind()
    choices = []
    for value in (a, b):
        rank = max(len(dims_of(other)) for other in (condition, a, b))
        value = as_kind(g, value, kind)
        choices.append(value if isinstance(value, Computed | torch.Tensor) else g.number(value, kind, rank))
    return g.broadcast("where", g.cast(condition, DType.BOOL), *choices)


def _masked_fill(g: Graph, x: Value, mask: Value, value: Value) -> Value:
    return _where(g, mask, value, x)


def _is_nan(g: Graph, x: Value) -> Value:
    return g.add("is_nan", [g.floating(x)])


def _is_inf(g: Graph, x: Value) -> Value:
    return g.broadcast("equal", g.add("absolute", [g.floating(x)]), math.inf)


def _through_exp(factor: float) -> Translation:
    return lambda g, x: g.add("exp", [g.broadcast("times", g.floating(x), factor)])


def _through_log(factor: float) -> Translation:
    return lambda g, x: g.broadcast("times", g.add("log", [g.floating(x)]), factor)


def _sinh(g: Graph, x: Value) -> Value:
    """
    Half of (e^x - 1) - (e^-x - 1), which stays exact near 0.
    """
    x = g.floating(x)
    both = [g.add("expm1", [value]) for value in (x, g.add("negate", [x]))]
    return g.broadcast("times", g.broadcast("minus", *both), 0.5)


def _cosh(g: Graph, x: Value) -> Value:
    x = g.floating(x)
    both = [g.add("exp", [value]) for value in (x, g.add("negate", [x]))]
    return g.broadcast("times", g.broadcast("plus", *both), 0.5)


def _hypot(g: Graph, a: Value, b: Value) -> Value:
    squares = [g.add("square", [value]) if isinstance(value, Computed) else value * value for value in (a, b)]
    return g.add("sqrt", [g.broadcast("plus", *squares)])


def _erfc(g: Graph, x: Value) -> Value:
    return g.broadcast("minus", 1.0, g.add("erf", [g.floating(x)]))


def _tan(g: Graph, x: Value) -> Value:
    x = g.floating(x)
    return g.broadcast("over", g.add("sin", [x]), g.add("cos", [x]))


def _glu(g: Graph, x: Value, dim: int = -1) -> Value:
    axis = axis_of(x, dim)
    half = dims_of(x)[axis] // 2
    parts = [g.add("slice", [x], axis=axis, start=i * half, stop=(i + 1) * half, step=1) for i in (0, 1)]
    return g.broadcast("times", parts[0], g.add("sigmoid", [parts[1]]))


def _cast(g: Graph, x: Value, *_: Any, **__: Any) -> Value:
    """
    Every conversion, whatever it is spelled like: the result says what it gives.
    """
    found = g.cast(x, g.result_kind())
    return found if kind_of(x) is DType.BOOL else narrowed(g, found)


def _same(g: Graph, x: Value, *_: Any, **__: Any) -> Value:
    return x


def _dropout(g: Graph, x: Value, p: float, train: bool) -> Value:
    if train and p:
        g.refuse(TRAINING)
    return x


TRANSLATIONS: dict[Any, Translation] = {
    **{op: _floating(row) for op, row in FLOATING.items()},
    **{op: _keeping(row) for op, row in KEEPING.items()},
    **{op: _rounding(row) for op, row in ROUNDING.items()},
    **{packet.Tensor: _comparison(row) for packet, row in COMPARISONS.items()},
    **{packet.Scalar: _comparison(row) for packet, row in COMPARISONS.items()},
    aten.relu.default: _relu,
    aten.gelu.default: _gelu,
    aten.elu.default: _elu,
    aten.celu.default: _activation("celu", "alpha"),
    aten.leaky_relu.default: _activation("leaky_relu", "negative_slope"),
    aten.hardtanh.default: _activation("hardtanh", "min_val", "max_val"),
    aten.hardshrink.default: _activation("hardshrink", "lambd"),
    aten.softshrink.default: _activation("softshrink", "lambd"),
    aten.softplus.default: _activation("softplus", "beta", "threshold"),
    aten.threshold.default: _activation("threshold", "threshold", "value"),
    aten.rrelu.default: _rrelu,
    aten.prelu.default: _prelu,
    aten._prelu_kernel.default: _prelu,
    aten.glu.default: _glu,
    aten.clamp.default: _clamp,
    aten.clamp.Tensor: _clamp,
    aten.clamp_min.default: _clamp_min,
    aten.clamp_min.Tensor: _clamp_min,
    aten.clamp_max.default: _clamp_max,
    aten.clamp_max.Tensor: _clamp_max,
    aten.add.Tensor: _add,
    aten.add.Scalar: _add,
    aten.sub.Tensor: _sub,
    aten.sub.Scalar: _sub,
    aten.rsub.Scalar: _rsub,
    aten.rsub.Tensor: _rsub,
    aten.mul.Tensor: _arithmetic("times", of_bools="both"),
    aten.mul.Scalar: _arithmetic("times", of_bools="both"),
    aten.div.Tensor: _div,
    aten.div.Scalar: _div,
    aten.div.Tensor_mode: _div,
    aten.div.Scalar_mode: _div,
    aten.floor_divide.default: _arithmetic("floor_over"),
    aten.floor_divide.Scalar: _arithmetic("floor_over"),
    aten.remainder.Tensor: _arithmetic("modulo"),
    aten.remainder.Scalar: _arithmetic("modulo"),
    aten.fmod.Tensor: _fmod,
    aten.fmod.Scalar: _fmod,
    aten.maximum.default: _arithmetic("largest_of", of_bools="either"),
    aten.minimum.default: _arithmetic("least_of", of_bools="both"),
    aten.pow.Tensor_Scalar: _pow,
    aten.pow.Tensor_Tensor: _pow,
    aten.pow.Scalar: _pow,
    aten.exp2.default: _through_exp(math.log(2)),
    aten.log2.default: _through_log(1 / math.log(2)),
    aten.log10.default: _through_log(1 / math.log(10)),
    aten.tan.default: _tan,
    aten.sinh.default: _sinh,
    aten.cosh.default: _cosh,
    aten.hypot.default: _hypot,
    aten.erfc.default: _erfc,
    aten.logical_and.default: _logical("both"),
    aten.logical_or.default: _logical("either"),
    aten.logical_xor.default: _logical("differ"),
    aten.logical_not.default: _logical_not,
    aten.bitwise_and.Scalar: _bitwise("both"),
    aten.bitwise_or.Scalar: _bitwise("either"),
    aten.bitwise_and.Tensor: _bitwise("both"),
    aten.bitwise_or.Tensor: _bitwise("either"),
    aten.bitwise_xor.Tensor: _bitwise("differ"),
    aten.bitwise_not.default: _bitwise_not,
    aten.where.self: _where,
    aten.masked_fill.Scalar: _masked_fill,
    aten.masked_fill.Tensor: _masked_fill,
    aten.isnan.default: _is_nan,
    aten.isinf.default: _is_inf,
    aten._to_copy.default: _cast,
    aten.to.dtype: _cast,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten.detach.default: _same,
    aten.contiguous.default: _same,
    aten.lift_fresh_copy.default: _same,
    aten.dropout.default: _dropout,
    aten.feature_dropout.default: _dropout,
    aten.alpha_dropout.default: _dropout,
}
