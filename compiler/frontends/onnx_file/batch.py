"""
The inputs of an ONNX graph as one sample has them, and whether there is a batch.

Where the first dimension of all inputs is dynamic, it is the batch: the graph computes as many samples as it is given,
which never meet. The model is that of one sample: the batch counts as 1. One other name may stand for dimensions: the
length of sequences. The graph is then read several times, as if they had one length or another.
"""

import re
from dataclasses import dataclass

from onnx import GraphProto, TensorProto, ValueInfoProto

from compiler.errors import UnsupportedError, quote
from compiler.frontends.onnx_file.loading import inputs_of, kind_of_type
from compiler.ir import DType

USUAL = 16
"""What a length counts as where nobody says."""
PLAIN = re.compile(r"\w[\w. -]*|")
"""Names of dimensions, as against expressions of several; empty where a dimension has none."""


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


def sequence_of(graph: GraphProto, where: str) -> str | None:
    """
    The name of the dimensions that are the length of sequences; None where there are none.

    Raises:
        UnsupportedError: there are several, or their name is also that of the batch, or of what is computed of others.
    """
    first, found = set(), {}
    for value in inputs_of(graph):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.HasField("dim_value"):
                continue
            if axis:
                found[size.dim_param] = f"dimension {axis} of input {quote(value.name)} ({quote(size.dim_param)})"
            elif size.dim_param:
                first.add(size.dim_param)
    if len(found) > 1 or any(not PLAIN.fullmatch(name) or name in first for name in found):
        text = "besides the first dimension, the batch, one length may be dynamic, under one name"
        raise UnsupportedError(where, f"{' and '.join(found.values())}: {text}; export the model with fixed sizes")
    return next(iter(found), None)


def read_inputs(graph: GraphProto, where: str, length: int = USUAL) -> Inputs:
    """
    The inputs that a caller gives.

    Args:
        graph: of the file.
        where: the file, for messages.
        length: what a dynamic dimension besides the first counts as.

    Raises:
        UnsupportedError: some inputs have a batch and some none, or one is no tensor of numbers.
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
        for axis, size in enumerate(sizes):
            if size.HasField("dim_value") and (size.dim_value == 0 or (axis and size.dim_value < 0)):
                findings.append(f"{what}: dimension {axis} is {size.dim_value}")
        number = value.type.tensor_type.elem_type
        kind = DType.UINT8 if number == TensorProto.UINT8 else kind_of_type(number)
        assert kind is not None
        dims = tuple(
            int(size.dim_value) if fixed else length if axis else 1
            for axis, (size, fixed) in enumerate(zip(sizes, known, strict=True))
        )
        found.append(Input(value.name, kind, number, dims))
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
