"""
Which whole numbers an input may hold: those that kernels can tell apart, and that are rows of the tables it looks up.
"""

from compiler.ir import DType, Model, Node
from compiler.ops.ranges import LARGEST, exact_inputs

__all__ = ["LARGEST", "is_in_an_index", "whole_numbers"]

SAME_VALUES = ("reshape", "flatten", "permute", "expand")
"""Ops whose results hold the very values of their input."""
INDICES = {"embedding": 0, "gather": 1}
"""Ops that look up, and which of their inputs are the indices."""
BYTES = 256
"""The values of uint8."""


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
    counts = {other: count for other in model.inputs if (count := _values(model, other))}
    most = exact_inputs(model, counts)
    return (0, counts[name] - 1) if name in counts else (-most, most)


def _values(model: Model, name: str) -> int:
    """
    How many values an input may have, from 0 on: those of a byte; of an index, the rows of the smallest table; else 0.
    """
    same, counts = {name}, [BYTES] if model.tensors[name].dtype is DType.UINT8 else []
    for node in model.nodes:
        if node.inputs and node.inputs[0] in same:
            if _keeps_values(model, node):
                same.update(node.outputs)
            elif node.op == "embedding":
                counts.append(model.tensors[node.inputs[1]].fixed_shape[0])
        if node.op == "gather" and node.inputs[1] in same:
            axis = int(str(node.attributes["axis"]))
            counts.append(int(model.tensors[node.inputs[0]].fixed_shape[axis]))
    return min(counts, default=0)


def is_in_an_index(model: Model, name: str) -> bool:
    """
    Whether indices are computed of the whole numbers of an input: for which of them there are rows is not known then.
    """
    same, computed = {name}, set[str]()
    for node in model.nodes:
        if (same | computed).isdisjoint(node.inputs):
            continue
        if node.inputs[0] in same and _keeps_values(model, node):
            same.update(node.outputs)
        elif node.op in INDICES and node.inputs[INDICES[node.op]] in computed:
            return True
        else:
            computed.update(result for result in node.outputs if model.tensors[result].dtype is DType.INT64)
    return False


def _keeps_values(model: Model, node: Node) -> bool:
    return node.op in SAME_VALUES or (node.op == "cast" and model.tensors[node.inputs[0]].dtype is DType.UINT8)
