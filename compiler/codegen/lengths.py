"""
Arrays of a length that is known at run time, between a caller and a workspace.

The caller's arrays have as many values as the length says, one after the other. In the workspace they stand as those of
the largest length would, so that kernels have literal places.
"""

from collections.abc import Sequence

from compiler.codegen.body import Running, passes, strides_of, sum_of
from compiler.codegen.expressions import times
from compiler.codegen.inputs import WORDS
from compiler.ir import Length

PART = "part"
"""What loops over parts of an array count with: `part0`, `part1`."""


def extent(dims: Sequence[int]) -> str:
    """
    The expression of how many values a caller's array has for one observation.
    """
    known = 1
    factors = []
    for size in dims:
        if isinstance(size, Running):
            factors.append(_factor(size))
        else:
            known *= size
    return " * ".join([*factors, *([str(known)] if known != 1 or not factors else [])])


def shape_text(dims: Sequence[int]) -> str:
    """
    The shape of one observation as source.
    """
    inside = ", ".join(map(passes, dims))
    return f"({inside},)" if len(dims) == 1 else f"({inside})"


def accepted(shape: Sequence[int]) -> str:
    """
    The shapes that a caller may give, as source: a range where a size follows the length.
    """
    sizes = [
        f"range({size.at(size.least)}, {size.at(size.most) + 1})" if isinstance(size, Length) else str(size)
        for size in shape
    ]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def lengths_of(name: str, shape: Sequence[int], first: int = 1) -> list[str]:
    """
    The expressions of the length, one for each dimension that follows it.

    Args:
        name: an array.
        shape: of one observation.
        first: the axis of its first dimension: 1 in a batch.
    """
    found = []
    for axis, size in enumerate(shape, first):
        if isinstance(size, Length):
            shift = f" {'-' if size.shift > 0 else '+'} {abs(size.shift)}" if size.shift else ""
            found.append(f"{name}.shape[{axis}]{shift}")
    return found


def step_of(dtype: str) -> tuple[str, int]:
    """
    The word that moves a pointer, and how much from one value of this dtype to the next: in float32, or in bytes.
    """
    return ("advance", WORDS[dtype]) if dtype in WORDS else ("skip", 1)


def moved(name: str, dtype: str, place: str) -> str:
    """
    The pointer to a place of a caller's array.
    """
    if place == "0":
        return name
    move, distance = step_of(dtype)
    return f"{move}({name}, {sum_of((place, distance))})"


def copies(kernel: str, name: str, dtype: str, dims: Sequence[int], place: str, *, leaving: bool) -> list[str]:
    """
    The statements that bring an array of one observation to its place in the workspace, or from there.

    Args:
        kernel: what copies values that lie side by side.
        name: the caller's array.
        dtype: its dtype.
        dims: of one observation.
        place: the pointer to where it stands in the workspace.
        leaving: whether it goes from there to the caller.
    """
    last = max(axis for axis, size in enumerate(dims) if isinstance(size, Running))
    while last and dims[last - 1] == 1:
        last -= 1
    outer, inner = dims[:last], dims[last:]
    variables = [f"{PART}{axis}" if size != 1 else "0" for axis, size in enumerate(outer)]
    lines, indent = [], ""
    for variable, size in zip(variables, outer, strict=True):
        if size != 1:
            lines.append(f"{indent}for {variable} in range({passes(size)}):")
            indent += "    "
    dense = _dense(variables, outer, extent(inner))
    padded = sum_of(*zip(variables, strides_of(dims)[:last], strict=True))
    theirs = moved(name, dtype, dense)
    own = place if padded == "0" else f"advance({place}, {padded})"
    arguments = [own, extent(inner), theirs] if leaving else [theirs, extent(inner), own]
    return [*lines, f"{indent}{kernel}({', '.join(arguments)})"]


def _dense(variables: Sequence[str], dims: Sequence[int], inner: str) -> str:
    """
    The place in a caller's array where the values of these loops' variables begin.
    """
    found = "0"
    for variable, size in zip(variables, dims, strict=True):
        if found != "0":
            found = times(found, _factor(size)) + (f" + {variable}" if variable != "0" else "")
        else:
            found = variable
    return times(found, inner)


def _factor(size: int) -> str:
    text = passes(size)
    return f"({text})" if " " in text else text
