"""
Functions of each element that are made of several rows: arcs, areas, signs, shifts of whole numbers.
"""

import math
from typing import Any

import torch

from compiler.frontends.torch_export.graph import Graph, Value
from compiler.frontends.torch_export.translate_elementwise import Translation, as_kind
from compiler.ir import DType

aten = torch.ops.aten
LARGE = 1e10
"""From here on x ** 2 + 1 is x ** 2, and further on overflows."""


def _atan(g: Graph, x: Value) -> Value:
    return g.add("atan", [g.floating(x)])


def _root(g: Graph, x: Value, sign: str) -> Value:
    """
    sqrt(1 + x) or sqrt(1 - x).
    """
    return g.add("sqrt", [g.broadcast(sign, 1.0, x)])


def _asin(g: Graph, x: Value) -> Value:
    """
    The angle whose tangent is x / sqrt(1 - x^2).
    """
    x = g.floating(x)
    return _atan(g, g.broadcast("over", x, g.broadcast("times", _root(g, x, "minus"), _root(g, x, "plus"))))


def _acos(g: Graph, x: Value) -> Value:
    """
    Twice the angle whose tangent is sqrt((1 - x) / (1 + x)).
    """
    x = g.floating(x)
    half = _atan(g, g.broadcast("over", _root(g, x, "minus"), _root(g, x, "plus")))
    return g.broadcast("times", half, 2.0)


def _negative(g: Graph, x: Value) -> Value:
    """
    Whether x has a minus, zeros too.
    """
    return g.broadcast("either", g.broadcast("less", x, 0.0), g.broadcast("less", g.add("reciprocal", [x]), 0.0))


def _signed(g: Graph, size: Value, sign: Value) -> Value:
    """
    A size with the sign of another number.
    """
    return g.broadcast("where", _negative(g, sign), g.add("negate", [size]), size)


def _atan2(g: Graph, y: Value, x: Value) -> Value:
    """
    The angle of (x, y): of the smaller over the larger, turned to where the signs say; zeros and infinities included.
    """
    y, x = (as_computed(g, value) for value in (y, x))
    height, width = (g.add("absolute", [value]) for value in (y, x))
    least, largest = (g.broadcast(row, height, width) for row in ("least_of", "largest_of"))
    ratio = g.broadcast("over", least, largest)
    ratio = g.broadcast("where", g.broadcast("equal", least, largest), 1.0, ratio)
    ratio = g.broadcast("where", g.broadcast("equal", largest, 0.0), 0.0, ratio)
    angle = _atan(g, ratio)
    steep = g.broadcast("less", width, height)
    angle = g.broadcast("where", steep, g.broadcast("minus", math.pi / 2, angle), angle)
    angle = g.broadcast("where", _negative(g, x), g.broadcast("minus", math.pi, angle), angle)
    return _signed(g, angle, y)


def as_computed(g: Graph, value: Value) -> Value:
    """
    A value as a float32 tensor of the model, so that functions can be applied to it.
    """
    value = as_kind(g, value, DType.FLOAT32)
    if isinstance(value, torch.Tensor):
        return g.computed(value)
    return g.computed(torch.tensor(value)) if isinstance(value, float) else value


def _copysign(g: Graph, size: Value, sign: Value) -> Value:
    return _signed(g, g.add("absolute", [as_computed(g, size)]), as_computed(g, sign))


def _signbit(g: Graph, x: Value) -> Value:
    return _negative(g, g.floating(x))


def _asinh(g: Graph, x: Value) -> Value:
    """
    log1p(x + x^2 / (1 + sqrt(1 + x^2))) of |x|, with its sign; of large |x| log(x) + log(2).
    """
    x = g.floating(x)
    size = g.add("absolute", [x])
    square = g.add("square", [size])
    root = g.broadcast("plus", 1.0, g.add("sqrt", [g.broadcast("plus", 1.0, square)]))
    near = g.add("log1p", [g.broadcast("plus", size, g.broadcast("over", square, root))])
    far = g.broadcast("plus", g.add("log", [size]), math.log(2))
    return _signed(g, g.broadcast("where", g.broadcast("less", size, LARGE), near, far), x)


def _acosh(g: Graph, x: Value) -> Value:
    """
    log1p(t + sqrt(2 t + t^2)) of t = x - 1; of large x log(x) + log(2).
    """
    x = g.floating(x)
    t = g.broadcast("minus", x, 1.0)
    root = g.add("sqrt", [g.broadcast("times", t, g.broadcast("plus", t, 2.0))])
    near = g.add("log1p", [g.broadcast("plus", t, root)])
    far = g.broadcast("plus", g.add("log", [x]), math.log(2))
    return g.broadcast("where", g.broadcast("less", x, LARGE), near, far)


def _atanh(g: Graph, x: Value) -> Value:
    x = g.floating(x)
    above, below = g.add("log1p", [x]), g.add("log1p", [g.add("negate", [x])])
    return g.broadcast("times", g.broadcast("minus", above, below), 0.5)


def _ignoring_nan(row: str) -> Translation:
    """
    The extreme of two numbers, or the one that is a number.
    """

    def translate(g: Graph, a: Value, b: Value) -> Value:
        a, b = as_computed(g, a), as_computed(g, b)
        both = g.broadcast("where", g.add("is_nan", [b]), a, g.broadcast(row, a, b))
        return g.broadcast("where", g.add("is_nan", [a]), b, both)

    return translate


def _shifted(row: str) -> Translation:
    """
    A shift of whole numbers by a known number of bits.
    """

    def translate(g: Graph, x: Value, bits: Value) -> Value:
        if not isinstance(bits, int) or not 0 <= bits < 24:
            g.refuse("is compiled for a known number of bits from 0 to 23")
        return g.broadcast(row, g.cast(x, DType.INT64), 1 << bits)

    return translate


TRANSLATIONS: dict[Any, Translation] = {
    aten.atan.default: _atan,
    aten.asin.default: _asin,
    aten.acos.default: _acos,
    aten.atan2.default: _atan2,
    aten.asinh.default: _asinh,
    aten.acosh.default: _acosh,
    aten.atanh.default: _atanh,
    aten.copysign.Tensor: _copysign,
    aten.copysign.Scalar: _copysign,
    aten.signbit.default: _signbit,
    aten.fmax.default: _ignoring_nan("largest_of"),
    aten.fmin.default: _ignoring_nan("least_of"),
    aten.__lshift__.Scalar: _shifted("times"),
    aten.__rshift__.Scalar: _shifted("floor_over"),
    aten.bitwise_left_shift.Tensor_Scalar: _shifted("times"),
    aten.bitwise_right_shift.Tensor_Scalar: _shifted("floor_over"),
}
