"""
The bytes of an ONNX file to a ModelProto that is safe to walk: whole, valid, without anything outside of the file.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.onnx_file.external import LARGEST_FILE, is_external
from compiler.frontends.onnx_file.functions import inlined
from compiler.frontends.onnx_file.upgrading import CONVERTED, OLDEST, upgraded
from compiler.frontends.onnx_file.walking import graphs_in, nodes_of, tensors_of
from compiler.ir import DType
from compiler.ops import Array

MOST_NODES = 1 << 17
MOST_ELEMENTS = 1 << 31
LISTED = 50
CONDITION = "If"
"""The op whose graphs are compiled: the branch that is taken, where that is known at build time."""
RUNTIME = "com.microsoft"
"""The domain of ops that onnxruntime puts in the place of several others."""
OWN = ("", "ai.onnx")
"""The domain of ONNX's own ops, by both of its names."""
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
INTEGERS = (
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
)


def load(data: memoryview, where: str) -> ModelProto:
    """
    The model of a file, in an opset that is translated.

    Raises:
        CheckpointError: the bytes are none, or break the rules of ONNX.
        UnsupportedError: it is of a very old or a future opset, or has loops, or ops of other domains.
    """
    return prepared(parsed(data, where), where)


def parsed(data: memoryview, where: str) -> ModelProto:
    """
    The model of a file as it is, with names that are texts; for what it raises, see `load`.
    """
    if len(data) > LARGEST_FILE:
        raise UnsupportedError(where, f"has {len(data):,} bytes; ONNX files have at most {LARGEST_FILE:,}")
    model = ModelProto()
    try:
        model.ParseFromString(bytes(data))
    except Exception as error:  # protobuf's own errors differ between its implementations
        raise CheckpointError(where, f"is no ONNX model: {quote(str(error), 200)}") from None
    if not model.HasField("graph") or not model.opset_import:
        raise CheckpointError(where, "is no ONNX model: it has no graph or no opset")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise CheckpointError(where, "is no ONNX model: it has a name that is no UTF-8")
    return model


def prepared(model: ModelProto, where: str) -> ModelProto:
    """
    A model that keeps to the rules, in an opset that is translated; it may be changed. For what it raises, see `load`.
    """
    _check_opset(model, where)
    _open_sizes(model.graph)
    if len(model.functions):
        _check_rules(model, where)
        model = inlined(model, where)
    findings = list(_findings(model))
    if findings:
        raise UnsupportedError(where, *findings[:LISTED])
    _check_rules(model, where)
    return upgraded(model, opset(model), where) if opset(model) < OLDEST else model


def _check_rules(model: ModelProto, where: str) -> None:
    """
    Refuses what breaks the rules of ONNX, other than that outputs must say their shapes: no runtime needs these.
    """
    without = [value.type.tensor_type for value in model.graph.output if value.type.HasField("tensor_type")]
    without = [kind for kind in without if not kind.HasField("shape")]
    for kind in without:
        kind.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, or what its parts raise on what they can't read
        raise CheckpointError(where, f"is no valid ONNX model: {quote(str(error), 400)}") from None
    for kind in without:
        kind.ClearField("shape")


def _open_sizes(graph: GraphProto) -> None:
    """
    Makes sizes below 0, with which some tools mean that a size is open, the same as sizes that are not there.
    """
    for value in (*graph.input, *graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_value < 0:
                size.ClearField("dim_value")


def opset(model: ModelProto) -> int:
    """
    The version of ONNX's own ops; 0 if the file names none.
    """
    return max((int(entry.version) for entry in model.opset_import if entry.domain in OWN), default=0)


def _check_opset(model: ModelProto, where: str) -> None:
    version = opset(model)
    if version < CONVERTED:
        text = f"is of opset {version}; {CONVERTED} and newer are read: export it anew, with opset {OLDEST + 5}"
        raise UnsupportedError(where, text)
    newest = onnx.defs.onnx_opset_version()
    if version > newest:
        raise UnsupportedError(
            where, f"is of opset {version}; onnx {onnx.__version__} knows up to {newest}: pip install --upgrade onnx"
        )


def _texts(model: ModelProto) -> Iterator[Any]:
    """
    The names of a file: bytes where they are no UTF-8.
    """
    yield from (model.producer_name, model.producer_version, *(entry.domain for entry in model.opset_import))
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
        yield from (text for node in function.node for text in _texts_of(node))
        yield from (text for node in function.node for graph in graphs_in(node) for text in _texts_in(graph))
    yield from _texts_in(model.graph)


def _texts_in(graph: GraphProto) -> Iterator[Any]:
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in tensors_of(graph))
    yield from (text for node in nodes_of(graph) for text in _texts_of(node))


def _texts_of(node: NodeProto) -> Iterator[Any]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    yield from (attribute.name for attribute in node.attribute)


def _findings(model: ModelProto) -> Iterator[str]:
    """
    What is not compiled, whatever it is for.
    """
    graph = model.graph
    if len(model.functions):
        names = ", ".join(quote(function.name) for function in model.functions[:5])
        yield f"has functions of its own ({names}) that can't be put in the place of their calls"
    if sum(1 for _ in nodes_of(graph)) > MOST_NODES:
        yield f"has more than {MOST_NODES:,} nodes"
        return
    if len(graph.sparse_initializer):
        yield "has sparse initializers: export it with dense ones"
    for tensor in graph.initializer:
        yield from _tensor_findings(tensor, f"initializer {quote(tensor.name)}")
    for node in nodes_of(graph):
        where = f"node {quote(node.name or ', '.join(node.output))} ({quote(node.op_type)[1:-1]})"
        if node.domain not in OWN:
            hint = ": give the file from before onnxruntime optimised it" if node.domain == RUNTIME else ""
            yield f"{where} is of the domain {quote(node.domain)}; only ONNX's own ops are compiled{hint}"
        if node.op_type != CONDITION and any(True for _ in graphs_in(node)):
            text = "as loops do, which is not compiled: export the model with its steps unrolled"
            yield f"{where} runs a graph of its own, {text}"
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
                yield f"{where} has a sparse tensor, which is not compiled"
            tensors = [*attribute.tensors, *([attribute.t] if attribute.HasField("t") else [])]
            tensors += [tensor for inner in graphs_in(node) for tensor in inner.initializer]
            for tensor in tensors:
                yield from _tensor_findings(tensor, f"{where}, attribute {quote(attribute.name)},")


def _tensor_findings(tensor: TensorProto, what: str) -> Iterator[str]:
    if is_external(tensor):
        yield f"{what} lies in another file, at a place that is not said in numbers"
    elif tensor.data_type not in (*FLOATS, *INTEGERS, TensorProto.BOOL):
        names = {number: name for name, number in TensorProto.DataType.items()}
        yield f"{what} holds {names.get(tensor.data_type, tensor.data_type)}, which is not compiled"
    elif any(size < 0 for size in tensor.dims) or _product(tensor.dims) > MOST_ELEMENTS:
        yield f"{what} has the dims {quote(tuple(tensor.dims))}; at most {MOST_ELEMENTS:,} elements are read"


def _product(sizes: Any) -> int:
    result = 1
    for size in sizes:
        result *= int(size)
    return result


def array_of(tensor: TensorProto, where: str) -> Array:
    """
    A tensor of the file: float32, float64, int64 or bool.
    """
    try:
        found = np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # whatever onnx raises on data that do not fit the dims
        text = f"tensor {quote(tensor.name)} is damaged: {quote(str(error), 200)}"
        raise CheckpointError(where, text) from None
    if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        return found.astype(np.float32)
    return found.astype(np.int64) if tensor.data_type in INTEGERS else found


def attributes_of(node: NodeProto, where: str) -> dict[str, Any]:
    """
    The attributes of a node as Python's numbers, texts and tuples, and NumPy's arrays.
    """
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        match attribute.type:
            case AttributeProto.INT:
                found[attribute.name] = int(attribute.i)
            case AttributeProto.FLOAT:
                found[attribute.name] = float(attribute.f)
            case AttributeProto.STRING:
                found[attribute.name] = attribute.s.decode("utf-8", "replace")
            case AttributeProto.INTS:
                found[attribute.name] = tuple(map(int, attribute.ints))
            case AttributeProto.FLOATS:
                found[attribute.name] = tuple(map(float, attribute.floats))
            case AttributeProto.STRINGS:
                found[attribute.name] = tuple(text.decode("utf-8", "replace") for text in attribute.strings)
            case AttributeProto.TENSOR:
                found[attribute.name] = array_of(attribute.t, where)
    return found


def inputs_of(graph: GraphProto) -> list[ValueInfoProto]:
    """
    What a caller gives: an input with an initializer has that as its default, and is a constant here.
    """
    known = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in known]


def kind_of_type(number: int) -> DType | None:
    """
    What values of a type of TensorProto are in a general model; None if they are not compiled.
    """
    if number in FLOATS:
        return DType.FLOAT32
    if number in INTEGERS:
        return DType.INT64
    return DType.BOOL if number == TensorProto.BOOL else None
