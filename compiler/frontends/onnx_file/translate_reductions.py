"""
Reductions over axes, which are an attribute or an input, as the opset has it.
"""

from collections.abc import Callable
from typing import TypeAlias

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, at, dims_of, kind_of
from compiler.frontends.onnx_file.translate_elementwise import Translation
from compiler.ir import DType

Reduce: TypeAlias = Callable[[Graph, Value, tuple[int, ...], bool], Value]
"""Reduces a value over axes, of which there is one or more."""
Alone: TypeAlias = Callable[[Graph, Value], Value]
"""What a reduction makes of a single element."""


def _reduction(reduce: Reduce, alone: Alone | None = None) -> Translation:
    def translate(g: Graph, given: Given, has: Has) -> Value:
        x = given[0]
        rank = len(dims_of(x))
        asked = has.get("axes", ()) if at(given, 1) is None else g.integers(given[1], "the axes")
        if not asked and has.get("noop_with_empty_axes", 0):
            return alone(g, x) if alone else x
        axes = g.axes(asked or range(rank), rank)
        if not axes:
            return alone(g, x) if alone else x
        return reduce(g, x, axes, bool(has.get("keepdims", 1)))

    return translate


def _row(row: str) -> Reduce:
    return lambda g, x, axes, keep: g.add(row, [x], axes=axes, keep=keep)


def _extreme(row: str, of_bools: str) -> Reduce:
    def reduce(g: Graph, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
        return g.add(of_bools if kind_of(x) is DType.BOOL else row, [x], axes=axes, keep=keep)

    return reduce


def _of(first: str, row: str, last: str = "") -> Reduce:
    """
    A sum of something, and perhaps something of the sum.
    """

    def reduce(g: Graph, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
        found = g.add(row, [g.add(first, [x]) if first else x], axes=axes, keep=keep)
        return g.add(last, [g.cast(found, DType.FLOAT32)]) if last else found

    return reduce


def _log_sum_exp(g: Graph, x: Value, axes: tuple[int, ...], keep: bool) -> Value:
    highest = g.add("reduce_max", [x], axes=axes, keep=True)
    # Where all is minus infinity, that minus itself would be NaN.
    shift = g.broadcast("largest_of", highest, -3.0e38)
    raised = g.add("exp", [g.broadcast("minus", x, shift)])
    total = g.add("log", [g.add("reduce_sum", [raised], axes=axes, keep=True)])
    found = g.broadcast("plus", total, shift)
    return found if keep else g.reshape(found, [size for at, size in enumerate(dims_of(x)) if at not in axes])


def _function(row: str) -> Alone:
    return lambda g, x: g.add(row, [x])


def global_pool(row: str) -> Translation:
    """
    A reduction over all spatial dims, which stay as 1.
    """
    return lambda g, given, has: g.add(row, given, axes=tuple(range(2, len(dims_of(given[0])))), keep=True)


TRANSLATIONS: dict[str, Translation] = {
    "GlobalAveragePool": global_pool("reduce_mean"),
    "GlobalMaxPool": global_pool("reduce_max"),
    "ReduceL1": _reduction(_of("absolute", "reduce_sum"), _function("absolute")),
    "ReduceL2": _reduction(_of("square", "reduce_sum", "sqrt"), _function("absolute")),
    "ReduceLogSum": _reduction(_of("", "reduce_sum", "log"), _function("log")),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "ReduceMax": _reduction(_extreme("reduce_max", "reduce_any")),
    "ReduceMean": _reduction(_row("reduce_mean")),
    "ReduceMin": _reduction(_extreme("reduce_min", "reduce_all")),
    "ReduceProd": _reduction(_row("reduce_product")),
    "ReduceSum": _reduction(_row("reduce_sum")),
    "ReduceSumSquare": _reduction(_of("square", "reduce_sum"), _function("square")),
}
