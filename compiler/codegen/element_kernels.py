"""
The kernels of general models that compute each element from elements at the same place of tensors that broadcast.
"""

from compiler.codegen.body import Body, Operand, broadcast
from compiler.codegen.nests import Access, write_nest
from compiler.ir import DType

UNARY = {
    "absolute": "absolute(x)",
    "atan": "atan(x)",
    "ceil": "-floor(-x)",
    "cos": "cos(x)",
    "erf": "erf(x)",
    "expm1": "exp_minus_one(x)",
    "floor": "floor(x)",
    "is_nan": "select(x == x, splat(0.0), splat(1.0))",
    "log": "logarithm(x)",
    "log1p": "log1p(x)",
    "negate": "-x",
    "not": "1.0 - x",
    "reciprocal": "1.0 / x",
    "round": "round_half_even(x)",
    "rsqrt": "1.0 / sqrt(x)",
    "sign": "sign(x)",
    "sin": "sin(x)",
    "sqrt": "sqrt(x)",
    "square": "x * x",
    "trunc": "truncate(x)",
}
"""What is made of each element."""

BINARY = {
    "plus": "x + y",
    "minus": "x - y",
    "times": "x * y",
    "over": "x / y",
    "power": "power(x, y)",
    "largest_of": "maximum(x, y)",
    "least_of": "minimum(x, y)",
    "modulo": "remainder(x, y)",
    "floor_over": "floor_divide(x, y)",
    "equal": "select(x == y, splat(1.0), splat(0.0))",
    "unequal": "select(x == y, splat(0.0), splat(1.0))",
    "less": "select(x < y, splat(1.0), splat(0.0))",
    "less_equal": "select(x <= y, splat(1.0), splat(0.0))",
    "greater": "select(x > y, splat(1.0), splat(0.0))",
    "greater_equal": "select(y <= x, splat(1.0), splat(0.0))",
    "both": "x * y",
    "either": "x + y - x * y",
    "differ": "absolute(x - y)",
}
"""What is made of two elements."""

WHOLE = {
    "power": "select(x == 0.0, select(y == 0.0, splat(1.0), splat(0.0)), round_half_even(power(x, y)))",
    "modulo": "select(y == 0.0, splat(0.0), remainder(x, y))",
    "floor_over": "select(y == 0.0, splat(0.0), floor_divide(x, y))",
}
"""What is made of two whole numbers where that is something else."""

POWERS = {
    -1.0: "1.0 / x",
    -0.5: "1.0 / sqrt(x)",
    0.5: "sqrt(x)",
    1.0: "x",
    2.0: "x * x",
    3.0: "x * x * x",
    4.0: "(x * x) * (x * x)",
}
"""Powers that need no logarithm, by their exponent."""


def write_elements(
    body: Body, inputs: list[Operand], result: Operand, expression: str, names: tuple[str, ...] = ("x", "y", "z")
) -> None:
    """
    Writes a kernel that computes an expression of elements of its inputs, which broadcast to the result.
    """
    sources = [
        Access(operand, broadcast(operand.dims, result.dims), variable=name)
        for operand, name in zip(inputs, names, strict=False)
    ]
    write_nest(body, result.dims, Access(result, result.strides), sources, expression)


def write_binary(op: str, body: Body, inputs: list[Operand], result: Operand, exponent: float | None) -> None:
    """
    Writes the kernel of an op of two tensors; `exponent` is that of a power, if all exponents are that constant.
    """
    whole = result.dtype is DType.INT64
    if op == "power" and exponent in POWERS and (exponent >= 1 or not whole):
        write_elements(body, inputs[:1], result, POWERS[exponent])
        return
    write_elements(body, inputs, result, WHOLE[op] if whole and op in WHOLE else BINARY[op])


def cast_expression(source: DType, result: DType) -> str:
    """
    What a cast makes of an element.
    """
    if result is DType.BOOL and source is not DType.BOOL:
        return "select(x == 0.0, splat(0.0), splat(1.0))"
    if result is DType.INT64 and source is DType.FLOAT32:
        return "truncate(x)"
    return "x"
