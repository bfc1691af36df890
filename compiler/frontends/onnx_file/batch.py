"""
The inputs of an ONNX graph as one sample has them, and whether there is a batch.

Where the first dimension of all inputs is dynamic, it is the batch: the graph computes as many samples as it is given,
which never meet. The model is that of one sample: the batch counts as 1.
"""

from dataclasses import dataclass

from onnx import GraphProto, TensorProto, ValueInfoProto

from compiler.errors import UnsupportedError, quote
from compiler.frontends.onnx_file.loading import inputs_of, kind_of_type
from compiler.ir import DType


@dataclass(frozen=True)
class Input:
    """
    An input of the graph.
    """

    name: str
    kind: DType
    type: int
    """Its type, by the numbers of TensorProto."""
    dims: tuple[int, ...]
    """Its sizes, with the batch as 1."""


@dataclass(frozen=True)
class Inputs:
    """
    All inputs of the graph.
    """

    batched: bool
    each: tuple[Input, ...]


def read_inputs(graph: GraphProto, where: str) -> Inputs:
    """
    The inputs that a caller gives.

    Raises:
        UnsupportedError: a dimension besides the first is dynamic, some inputs have a batch and some none, or one is no
            tensor of numbers.
    """
    found: list[Input] = []
    dynamic: list[bool] = []
    findings: list[str] = []
    for value in inputs_of(graph):
        what = f"input {quote(value.name)}"
        finding = _finding(value)
        if finding:
            findings.append(f"{what} {finding}")
            continue
        sizes = value.type.tensor_type.shape.dim
        known = [size.HasField("dim_value") and size.dim_value > 0 for size in sizes]
        for axis, (size, fixed) in enumerate(zip(sizes, known, strict=True)):
            if size.HasField("dim_value") and (size.dim_value == 0 or (axis and size.dim_value < 0)):
                findings.append(f"{what}: dimension {axis} is {size.dim_value}")
            elif axis and not fixed:
                text = "only the first dimension, the batch, may be: export the model with fixed sizes elsewhere"
                findings.append(f"{what}: dimension {axis} is dynamic ({quote(size.dim_param)}); {text}")
        kind = kind_of_type(value.type.tensor_type.elem_type)
        assert kind is not None
        dims = tuple(int(size.dim_value) if fixed else 1 for size, fixed in zip(sizes, known, strict=True))
        found.append(Input(value.name, kind, value.type.tensor_type.elem_type, dims))
        dynamic.append(bool(known) and not known[0])
    if any(dynamic) and not all(dynamic):
        names = ", ".join(quote(each.name) for each, first in zip(found, dynamic, strict=True) if not first)
        findings.append(
            f"input {names} has no dynamic first dimension, but others have: all samples would share it; give it a "
            "batch of its own, or export all with fixed sizes"
        )
    if not found and not findings:
        findings.append("has no inputs: nothing is computed")
    if findings:
        raise UnsupportedError(where, *findings[:50])
    return Inputs(any(dynamic), tuple(found))


def _finding(value: ValueInfoProto) -> str:
    """
    Why an input can't be taken at all; empty if it can.
    """
    if not value.type.HasField("tensor_type"):
        return "is no tensor: sequences, maps and optional inputs are not compiled"
    number = value.type.tensor_type.elem_type
    if number == TensorProto.DOUBLE:
        return "is float64: export the model in float32"
    if kind_of_type(number) is None:
        return f"is of the type number {number} of TensorProto, which is not compiled"
    if not value.type.tensor_type.HasField("shape"):
        return "says no shape: export the model with the sizes of its inputs"
    return ""
