"""
ONNX models of half precision with float32 in its place: what predictors compute, and are compared with.
"""

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, numpy_helper

from compiler.frontends.onnx_file.walking import graphs_in, nodes_of, tensors_of

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPED = ("to", "dtype", "output_dtype", "softmax_precision")
"""Attributes that name a type of TensorProto by its number."""


def widened(model: ModelProto) -> ModelProto | None:
    """
    The model with all halves as float32; None if it has none.
    """
    wide = ModelProto()
    wide.CopyFrom(model)
    count = sum(map(_widen_tensor, tensors_of(wide.graph))) + _widen_types(wide.graph)
    for node in nodes_of(wide.graph):
        count += sum(map(_widen_types, graphs_in(node)))
        for attribute in node.attribute:
            if attribute.name in TYPED and attribute.i in HALVES:
                attribute.i = TensorProto.FLOAT
                count += 1
    return wide if count else None


def _widen_tensor(tensor: TensorProto) -> bool:
    """
    Makes float32 of one tensor of halves; whether it was one.
    """
    if tensor.data_type not in HALVES:
        return False
    values = np.asarray(numpy_helper.to_array(tensor)).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def _widen_types(graph: GraphProto) -> int:
    """
    Makes float32 of what a graph takes and gives; how many of these were halves.
    """
    del graph.value_info[:]
    return sum(map(_widen_type, (*graph.input, *graph.output)))


def _widen_type(value: ValueInfoProto) -> bool:
    if value.type.tensor_type.elem_type not in HALVES:
        return False
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    return True
