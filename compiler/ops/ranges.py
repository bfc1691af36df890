"""
How large the whole numbers of a model get: they are kept as float32, which is exact up to 2 ** 24.

Every result of whole numbers gets an interval from those of its inputs. What is made of floats (a cast, a count that no
row here knows) has no interval: it is not followed.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from compiler.errors import UnsupportedError, quote
from compiler.ir import DType, Model, Node, Tensor

LARGEST = 2**24
"""The largest whole number that float32 can tell from the next."""
Range: TypeAlias = tuple[float, float]
"""The least and the greatest value; None, where it stands for one: not known."""
Ranges: TypeAlias = list[Range | None]


def exact_inputs(model: Model, rows: Mapping[str, int]) -> int:
    """
    The largest power of two up to which inputs of whole numbers may be, so that none made of them is beyond 2 ** 24.

    Args:
        model: before or after passes.
        rows: of inputs that are indices of tables or bytes, how many values they may have, from 0 on.

    Raises:
        UnsupportedError: even of inputs 0 and 1 larger numbers are made.
    """
    for exponent in range(24, -1, -1):
        beyond = _beyond(model, rows, 2**exponent)
        if beyond is None:
            return int(2**exponent)
    assert beyond is not None
    text = (
        "makes whole numbers beyond 16,777,216 of small inputs, or of bytes, which predictors can't keep exactly: make "
        "them float32"
    )
    raise UnsupportedError(model.origin.file, f"{quote(beyond.name)} ({beyond.op}) {text}")


def _beyond(model: Model, rows: Mapping[str, int], most: int) -> Node | None:
    """
    The first node that gives whole numbers that are too large, where inputs have at most this size.
    """
    known: dict[str, Range | None] = {}
    for name in model.inputs:
        known[name] = (0, rows[name] - 1) if name in rows else (-most, most)
    for state in model.states:
        known[state.input] = (-most, most)
    for node in model.nodes:
        given = [_given(model.tensors[name], known) for name in node.inputs]
        for place, name in enumerate(node.outputs):
            tensor = model.tensors[name]
            if tensor.dtype is not DType.INT64:
                continue
            found = _result(model, node, given, place)
            known[name] = found
            if found is not None and max(-found[0], found[1]) > LARGEST:
                return node
    return None


def _given(tensor: Tensor, known: Mapping[str, Range | None]) -> Range | None:
    if tensor.dtype is DType.BOOL:
        return (0, 1)
    if tensor.dtype not in (DType.INT64, DType.UINT8):
        return None
    if tensor.data is None:
        return known.get(tensor.name)
    data = np.asarray(tensor.data)
    return (int(data.min()), int(data.max())) if data.size else (0, 0)


def _result(model: Model, node: Node, given: Ranges, place: int) -> Range | None:
    if node.op in PLACES or (node.op == "top" and place == 1):
        return (0, max(model.tensors[node.inputs[0]].elements - 1, 0))
    count = model.tensors[node.inputs[0]].elements // max(model.tensors[node.outputs[0]].elements, 1)
    if node.op == "running_sum":
        count = model.tensors[node.inputs[0]].fixed_shape[int(str(node.attributes["axis"]))]
    if node.op in KEEPING:
        return _union(given[KEEPING[node.op]])
    if node.op not in RULES or any(one is None for one in given):
        return None
    return RULES[node.op](node, given, max(count, 1))


def _union(given: Ranges) -> Range | None:
    if not given or any(one is None for one in given):
        return None
    ends = [one for one in given if one is not None]
    return min(one[0] for one in ends), max(one[1] for one in ends)


def _over(ends: list[float]) -> Range:
    return min(ends), max(ends)


def _size(one: Range) -> float:
    return max(-one[0], one[1])


def _products(a: Range, b: Range) -> Range:
    return _over([x * y for x in a for y in b])


def _modulo(node: Node, given: Any, count: int) -> Range:
    """
    Of the sign of the divisor, and smaller; of the dividend itself where that is.
    """
    (_, divisor) = given
    return min(divisor[0] + 1, 0), max(divisor[1] - 1, 0)


def _sum(node: Node, given: Any, count: int) -> Range:
    """
    Of partial sums, too.
    """
    return min(given[0][0] * count, 0), max(given[0][1] * count, 0)


def _product(node: Node, given: Any, count: int) -> Range:
    size = max(_size(given[0]), 1) ** min(count, 64)
    return -size, size


def _power(node: Node, given: Any, count: int) -> Range:
    size = _size(given[0]) ** min(max(given[1][1], 0), 64)
    return -size, size


Rule: TypeAlias = Callable[[Node, Any, int], Range]
PLACES = ("index_of_max", "index_of_min")
"""Ops that give a place along an axis."""
KEEPING: Mapping[str, slice] = {
    **dict.fromkeys(("reshape", "flatten", "permute", "expand", "slice", "flip", "take", "gather"), slice(0, 1)),
    **dict.fromkeys(("reduce_max", "reduce_min", "top", "cast"), slice(0, 1)),
    "join": slice(None),
    "where": slice(1, None),
}
"""Ops whose results are values of these of their inputs."""
RULES: Mapping[str, Rule] = {
    "plus": lambda node, given, count: (given[0][0] + given[1][0], given[0][1] + given[1][1]),
    "minus": lambda node, given, count: (given[0][0] - given[1][1], given[0][1] - given[1][0]),
    "times": lambda node, given, count: _products(given[0], given[1]),
    "square": lambda node, given, count: (0, _size(given[0]) ** 2),
    "negate": lambda node, given, count: (-given[0][1], -given[0][0]),
    "absolute": lambda node, given, count: (0, _size(given[0])),
    "sign": lambda node, given, count: (-1, 1),
    "floor_over": lambda node, given, count: (-_size(given[0]), _size(given[0])),
    "modulo": _modulo,
    "power": _power,
    "largest_of": lambda node, given, count: tuple(max(pair) for pair in zip(*given, strict=True)),
    "least_of": lambda node, given, count: tuple(min(pair) for pair in zip(*given, strict=True)),
    "reduce_sum": _sum,
    "running_sum": _sum,
    "reduce_product": _product,
    "surround": lambda node, given, count: _with(given[0], float(node.attributes["value"])),  # type: ignore[arg-type]
}
"""Ops that compute whole numbers: of the intervals of their inputs, and the elements that meet in one result."""


def _with(one: Range, value: float) -> Range:
    return (min(one[0], value), max(one[1], value)) if math.isfinite(value) else one
