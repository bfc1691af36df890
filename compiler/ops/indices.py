"""
Which whole numbers an input may hold: those that kernels can tell apart, and that are rows of the tables it looks up.
"""

from compiler.ir import Model
from compiler.ops.ranges import LARGEST, exact_inputs

__all__ = ["LARGEST", "whole_numbers"]

SAME_VALUES = ("reshape", "flatten", "permute", "expand")
"""Ops whose results hold the very values of their input."""


def whole_numbers(model: Model, name: str) -> tuple[int, int]:
    """
    The least and the greatest value that an input of whole numbers may have, so that none made of it is rounded.

    PyTorch and ONNX Runtime refuse a number that is no row of a table just as well.

    Args:
        model: before or after passes.
        name: of the input.

    Raises:
        UnsupportedError: even of the smallest inputs larger numbers are made than float32 can tell apart.
    """
    tables = {other: rows for other in model.inputs if (rows := _rows(model, other))}
    most = exact_inputs(model, tables)
    return (0, tables[name] - 1) if name in tables else (-most, most)


def _rows(model: Model, name: str) -> int:
    """
    The rows of the smallest table that an input is an index of; 0 if it is none.
    """
    same, rows = {name}, []
    for node in model.nodes:
        if node.inputs and node.inputs[0] in same:
            if node.op in SAME_VALUES:
                same.update(node.outputs)
            elif node.op == "embedding":
                rows.append(model.tensors[node.inputs[1]].fixed_shape[0])
    return min(rows, default=0)
