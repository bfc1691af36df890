"""
Arithmetic, functions of each element, comparisons, logic, choices and casts.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of, kind_of
from compiler.ir import DType

Translation: TypeAlias = Callable[[Graph, Given, Has], Value]
"""From the inputs and attributes of a node to its result, or the list of its results."""

KINDS = {
    1: DType.FLOAT32,
    6: DType.INT64,
    7: DType.INT64,
    9: DType.BOOL,
    10: DType.FLOAT32,
    11: DType.FLOAT32,
    16: DType.FLOAT32,
}
"""What casts give, by the numbers of TensorProto: float, int32, int64, bool, float16, double, bfloat16."""
INTEGER = DType.INT64
FLOAT = DType.FLOAT32


def unary(row: str) -> Translation:
    """
    A row of one input.
    """
    return lambda g, given, has: g.add(row, given[:1])


def binary(row: str) -> Translation:
    """
    A row of two inputs that broadcast.
    """
    return lambda g, given, has: g.broadcast(row, *given)


def _variadic(row: str) -> Translation:
    return lambda g, given, has: functools.reduce(lambda x, y: g.broadcast(row, x, y), given)


def _mean(g: Graph, given: Given, has: Has) -> Value:
    total = functools.reduce(lambda x, y: g.broadcast("plus", x, y), given)
    return total if len(given) == 1 else g.broadcast("over", total, float(len(given)))


def _relu(g: Graph, given: Given, has: Has) -> Value:
    return g.broadcast("largest_of", given[0], 0) if kind_of(given[0]) is INTEGER else g.add("relu", given)


def _div(g: Graph, given: Given, has: Has) -> Value:
    """
    Integers are divided toward zero.

    In float32 the quotient of integers up to 2**24 never reaches a whole number that it is not.
    """
    if kind_of(given[0]) is not INTEGER:
        return g.broadcast("over", *given)
    return g.cast(g.add("trunc", [g.broadcast("over", *given)]), INTEGER)


def _mod(g: Graph, given: Given, has: Has) -> Value:
    if not has.get("fmod", 0):
        return g.broadcast("modulo", *given)
    rest = g.broadcast("modulo", g.add("absolute", given[:1]), g.add("absolute", given[1:]))
    return g.broadcast("times", rest, g.add("sign", given[:1]))


def _pow(g: Graph, given: Given, has: Has) -> Value:
    base, exponent = given
    if isinstance(exponent, np.ndarray) and exponent.size == 1 and exponent.ndim <= len(dims_of(base)):
        value = float(exponent.reshape(-1)[0])
        if value == 2:
            return g.add("square", [base])
        if value == 0.5 and kind_of(base) is FLOAT:
            return g.add("sqrt", [base])
    return g.cast(g.broadcast("power", base, exponent), kind_of(base))


def _sinh(g: Graph, given: Given, has: Has) -> Value:
    rising, falling = g.add("expm1", given), g.add("expm1", [g.add("negate", given)])
    return g.broadcast("times", g.broadcast("minus", rising, falling), 0.5)


def _cosh(g: Graph, given: Given, has: Has) -> Value:
    rising, falling = g.add("exp", given), g.add("exp", [g.add("negate", given)])
    return g.broadcast("times", g.broadcast("plus", rising, falling), 0.5)


def _tan(g: Graph, given: Given, has: Has) -> Value:
    return g.broadcast("over", g.add("sin", given), g.add("cos", given))


def _asin(g: Graph, given: Given, has: Has) -> Value:
    """
    The angle whose tangent is x / sqrt(1 - x^2).
    """
    below, above = (g.add("sqrt", [g.broadcast(row, 1.0, given[0])]) for row in ("minus", "plus"))
    return g.add("atan", [g.broadcast("over", given[0], g.broadcast("times", below, above))])


def _acos(g: Graph, given: Given, has: Has) -> Value:
    """
    Twice the angle whose tangent is sqrt((1 - x) / (1 + x)).
    """
    below, above = (g.add("sqrt", [g.broadcast(row, 1.0, given[0])]) for row in ("minus", "plus"))
    return g.broadcast("times", g.add("atan", [g.broadcast("over", below, above)]), 2.0)


def _asinh(g: Graph, given: Given, has: Has) -> Value:
    """
    Of |x|: log1p(|x| + x^2 / (1 + sqrt(x^2 + 1))), which loses nothing near 0.
    """
    far, square = g.add("absolute", given), g.add("square", given)
    root = g.broadcast("plus", g.add("sqrt", [g.broadcast("plus", square, 1.0)]), 1.0)
    grown = g.add("log1p", [g.broadcast("plus", far, g.broadcast("over", square, root))])
    return g.broadcast("times", g.add("sign", given), grown)


def _acosh(g: Graph, given: Given, has: Has) -> Value:
    root = g.add("sqrt", [g.broadcast("minus", g.add("square", given), 1.0)])
    return g.add("log", [g.broadcast("plus", given[0], root)])


def _atanh(g: Graph, given: Given, has: Has) -> Value:
    above, below = g.add("log1p", given), g.add("log1p", [g.add("negate", given)])
    return g.broadcast("times", g.broadcast("minus", above, below), 0.5)


def _is_inf(g: Graph, given: Given, has: Has) -> Value:
    signs = [value for key, value in (("positive", math.inf), ("negative", -math.inf)) if has.get(f"detect_{key}", 1)]
    found = [g.broadcast("equal", given[0], value) for value in signs]
    if not found:
        g.refuse("is compiled where it detects something")
    return found[0] if len(found) == 1 else g.broadcast("either", *found)


def _clip(g: Graph, given: Given, has: Has) -> Value:
    x, low, high = given[0], at(given, 1), at(given, 2)
    if kind_of(x) is FLOAT and isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        least, most = float(low.reshape(-1)[0]), float(high.reshape(-1)[0])
        if math.isfinite(least) and math.isfinite(most):
            return g.add("hardtanh", [x], min_val=min(least, most), max_val=most)
    if low is not None:
        x = g.broadcast("largest_of", x, low)
    return x if high is None else g.broadcast("least_of", x, high)


def _not_training(g: Graph, given: Given, has: Has) -> Value:
    training = at(given, 2)
    if training is not None and g.known(training, "training_mode").any():
        g.refuse("draws at random, as in training: export the model in evaluation mode")
    return [given[0]]


def _comparison(row: str) -> Translation:
    return lambda g, given, has: g.broadcast(row, *given)


def cast(g: Graph, given: Given, has: Has) -> Value:
    """
    To float32, int64 or bool, whatever of these the type of the file is nearest to.
    """
    number = int(has["to"])
    if number not in KINDS:
        g.refuse(f"casts to the type number {number} of TensorProto; compiled are floats, int32, int64 and bool")
    return g.cast(given[0], KINDS[number])


def _cast_like(g: Graph, given: Given, has: Has) -> Value:
    return g.cast(given[0], kind_of(given[1]))


def _where(g: Graph, given: Given, has: Has) -> Value:
    return g.broadcast("where", *given)


ROWS: dict[str, str] = {
    "Abs": "absolute",
    "Atan": "atan",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsNaN": "is_nan",
    "Log": "log",
    "Neg": "negate",
    "Not": "not",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Sqrt": "sqrt",
}
BINARY: dict[str, str] = {
    "Add": "plus",
    "And": "both",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "times",
    "Or": "either",
    "Sub": "minus",
    "Xor": "differ",
}
TRANSLATIONS: dict[str, Any] = {
    **{op: unary(row) for op, row in ROWS.items()},
    **{op: binary(row) for op, row in BINARY.items()},
    "Acos": _acos,
    "Acosh": _acosh,
    "Asin": _asin,
    "Asinh": _asinh,
    "Atanh": _atanh,
    "Cast": cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Cosh": _cosh,
    "Div": _div,
    "Dropout": _not_training,
    "IsInf": _is_inf,
    "Max": _variadic("largest_of"),
    "Mean": _mean,
    "Min": _variadic("least_of"),
    "Mod": _mod,
    "Pow": _pow,
    "Relu": _relu,
    "Sinh": _sinh,
    "Sum": _variadic("plus"),
    "Tan": _tan,
    "Where": _where,
}
