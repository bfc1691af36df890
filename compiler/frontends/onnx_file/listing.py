"""
All operations of an ONNX graph, those that can't be compiled among them.
"""

import onnx
from onnx import ModelProto

from compiler.errors import UnsupportedError
from compiler.frontends.onnx_file.loading import inputs_of, kind_of_type
from compiler.frontends.onnx_file.program import COMPILED, RANDOM, nearest_to, place_of, tried
from compiler.frontends.onnx_file.walking import needed
from compiler.frontends.operations import Collector, Inventory, without
from compiler.ir import DType


def inventory(model: ModelProto, where: str, form: str) -> Inventory:
    """
    All operations of a graph that an output depends on, and why those can't be compiled that can't.
    """
    found = Collector(form)
    refused: dict[str, str] = {}
    try:
        for result, reason in tried(model, where, _sizes(model)):
            refused[result] = reason
    except UnsupportedError as error:
        found.findings += error.findings
    for node in needed(model.graph.node, [output.name for output in model.graph.output]):
        place = str(place_of(node, set()))
        if node.op_type in COMPILED:
            (reason,) = without(place, [refused.get(node.output[0], "")])
            found.add(node.op_type, place, reason)
        else:
            reason = "draws at random" if node.op_type in RANDOM else "is not compiled"
            found.add(node.op_type, place, reason, nearest_to(node.op_type))
    return found.inventory()


def _sizes(model: ModelProto) -> dict[str, tuple[DType, tuple[int, ...]]]:
    """
    The kinds and sizes of results as onnx infers them for one sample; what it can't infer is left out.
    """
    single = ModelProto()
    single.CopyFrom(model)
    for value in inputs_of(single.graph):
        sizes = value.type.tensor_type.shape.dim
        if sizes and not sizes[0].HasField("dim_value"):
            sizes[0].dim_value = 1
    del single.graph.value_info[:]
    for value in single.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(single)
    except Exception:  # then nothing is known of what is behind a refused node
        return {}
    found = {}
    for value in inferred.graph.value_info:
        tensor = value.type.tensor_type
        kind = kind_of_type(tensor.elem_type)
        if kind is not None and all(size.HasField("dim_value") for size in tensor.shape.dim):
            found[value.name] = (kind, tuple(int(size.dim_value) for size in tensor.shape.dim))
    return found
