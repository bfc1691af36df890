"""
Pieces of source that templates put together: numbers, sums, products, ranges, activations.
"""

import math

from compiler.codegen.layer import LayerView
from compiler.codegen.source import WIDTH


def number(value: float) -> str:
    """
    The source of a number, finite or not.
    """
    return repr(value) if math.isfinite(value) else f"np.{value}" if value > 0 or value != value else "-np.inf"


def plus(expression: str, number: int) -> str:
    """
    The expression plus a number, the shorter way.
    """
    if number == 0:
        return expression
    return str(number) if expression == "0" else f"{expression} + {number}"


def times(expression: str, factor: str) -> str:
    """
    The expression times a factor, with parentheses where they are needed.
    """
    if expression == "0":
        return "0"
    return f"({expression}) * {factor}" if " " in expression else f"{expression} * {factor}"


def steps(stop: int, step: int) -> str:
    """
    The range from 0 to `stop`, the shorter way.
    """
    return f"range({stop})" if step == 1 else f"range(0, {stop}, {step})"


def activated(expression: str, layer: LayerView) -> str:
    """
    The expression with the layer's activation applied.
    """
    return f"{layer.activation}({expression}{layer.arguments})" if layer.activation else expression


def share(count: str, step: str = "1", start: int = 0) -> str:
    """
    The range of a part's share of so many passes: as many for each part, or one more for some of the last.
    """
    bounds = [f"{times(count, part)} // parts" for part in ("part", "(part + 1)")]
    if step == "1" and not start:
        return ", ".join(bounds)
    places = [times(bound, step) for bound in bounds]
    return ", ".join([*(f"{start} + {place}" if start else place for place in places), step])


def signature(name: str, pointers: list[str], length: bool = False, divided: bool = False) -> str:
    """
    The beginning of the definition of a kernel that takes these pointers, in the layout that a formatter would give it.

    With `length`, the length of sequences comes before them; before all comes which of several parts it computes, if it
    is `divided`.
    """
    numbers = [*(["part", "parts"] if divided else []), *(["length"] if length else [])]
    arguments = [*(f"{number}: int" for number in numbers), *(f"{pointer}: Pointer" for pointer in pointers)]
    line = f"def {name}({', '.join(arguments)}) -> None:"
    if len(line) <= WIDTH:
        return line
    inside = f"    {', '.join(arguments)}"
    if len(inside) > WIDTH:
        inside = ",\n".join(f"    {argument}" for argument in arguments) + ","
    return f"def {name}(\n{inside}\n) -> None:"
