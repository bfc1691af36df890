"""
Single ops with a dynamic batch and weights in the file, as exporters write them, compared with onnxruntime.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.errors import UnsupportedError
from compiler.frontends.onnx_file import read_onnx
from compiler.ir import DType
from compiler.ops.indices import whole_numbers
from compiler.options import BuildOptions
from tests.frontends.onnx_files import compare, one_node, with_output_shapes

RANDOM = np.random.default_rng(0)


def weights(*dims):
    return RANDOM.standard_normal(dims, dtype=np.float32)


def whole(*values):
    return np.array(values, np.int64)


def resize(mode, coordinates, scales, nearest="floor", **has):
    given = {"roi": None, "scales": np.array(scales, np.float32)}
    others = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest, **has}
    return "Resize", given, [None, 3, 5, 7], {"mode": mode, **others}


CASES = {
    "gemm": ("Gemm", {"w": weights(4, 3), "b": weights(3)}, [None, 4], {"alpha": 0.5, "beta": 2.0}),
    "gemm_turned": ("Gemm", {"w": weights(3, 4), "b": weights(1, 3)}, [None, 4], {"transB": 1}),
    "gemm_number": ("Gemm", {"w": weights(3, 4), "b": weights(1)}, [None, 4], {"transB": 1}),
    "matmul": ("MatMul", {"w": weights(4, 3)}, [None, 5, 4], {}),
    "matmul_vector": ("MatMul", {"w": weights(4)}, [None, 5, 4], {}),
    "matmul_many": ("MatMul", {"w": weights(2, 4, 3)}, [None, 2, 5, 4], {}),
    "conv_same": ("Conv", {"w": weights(6, 2, 4, 3), "b": weights(6)}, [None, 4, 7, 9],
                  {"auto_pad": "SAME_UPPER", "group": 2, "strides": [2, 1]}),
    "conv_uneven": ("Conv", {"w": weights(3, 2, 3, 3)}, [None, 2, 7, 9], {"pads": [0, 1, 2, 0]}),
    "conv_line": ("Conv", {"w": weights(3, 2, 3)}, [None, 2, 9], {"pads": [1, 1], "dilations": [2]}),
    "transposed": ("ConvTranspose", {"w": weights(2, 3, 3, 3), "b": weights(3)}, [None, 2, 4, 5],
                   {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}),
    "transposed_uneven": ("ConvTranspose", {"w": weights(2, 3, 3, 3), "b": weights(3)}, [None, 2, 4, 5],
                          {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
    "transposed_line": ("ConvTranspose", {"w": weights(4, 3, 4)}, [None, 4, 6], {"strides": [2], "group": 2}),
    "max_pool": ("MaxPool", {}, [None, 2, 7, 8], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    "max_pool_uneven": ("MaxPool", {}, [None, 2, 7, 8], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}),
    "average": ("AveragePool", {}, [None, 2, 7, 8], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average_uneven": ("AveragePool", {}, [None, 2, 7, 8], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}),
    "average_counted": ("AveragePool", {}, [None, 2, 9], {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    "batch_norm": ("BatchNormalization", {"a": weights(3), "b": weights(3), "c": weights(3), "d": weights(3) ** 2},
                   [None, 3, 5], {"epsilon": 1e-3}),
    "layer_norm": ("LayerNormalization", {"a": weights(3, 5), "b": weights(3, 5)}, [None, 4, 3, 5], {"axis": -2}),
    "instance_norm": ("InstanceNormalization", {"a": weights(3), "b": weights(3)}, [None, 3, 5, 5], {}),
    "prelu": ("PRelu", {"a": weights(3, 1, 1)}, [None, 3, 5, 5], {}),
    "clip_low": ("Clip", {"low": np.float32(-0.5)}, [None, 6], {}),
    "clip_high": ("Clip", {"low": None, "high": np.float32(0.5)}, [None, 6], {}),
    "pad": ("Pad", {"p": whole(0, 1, 0, 0, -1, 2), "v": np.float32(3)}, [None, 4, 5], {}),
    "pad_reflect": ("Pad", {"p": whole(0, 0, 2, 0, 0, 3)}, [None, 4, 5], {"mode": "reflect"}),
    "slice_back": ("Slice", {"a": whole(-1, 1), "b": whole(-9, 9), "c": whole(1, 2), "d": whole(-2, 2)},
                   [None, 6, 5], {}),
    "gather_some": ("Gather", {"i": whole(3, -1, 0, 0)}, [None, 5], {"axis": 1}),
    "gather_even": ("Gather", {"i": whole(0, 2, 4)}, [None, 5], {"axis": 1}),
    "gather_one": ("Gather", {"i": np.int64(-2)}, [None, 5, 3], {"axis": 1}),
    "tile": ("Tile", {"r": whole(1, 2, 3)}, [None, 2, 3], {}),
    "expand": ("Expand", {"s": whole(2, 1, 4, 3)}, [None, 1, 3], {}),
    "cumsum": ("CumSum", {"a": np.int64(1)}, [None, 5], {"exclusive": 1, "reverse": 1}),
    "log_sum_exp": ("ReduceLogSumExp", {"a": whole(1, -1)}, [None, 5, 3, 2], {"keepdims": 0}),
    "argmax_last": ("ArgMax", {}, [None, 5], {"axis": 1, "select_last_index": 1}),
    "trilu": ("Trilu", {"k": np.int64(1)}, [None, 4, 5], {"upper": 0}),
    "resize_pytorch": resize("nearest", "asymmetric", [1, 1, 2, 2]),
    "resize_odd": resize("nearest", "asymmetric", [1, 1, 1.7, 0.6]),
    "resize_half": resize("nearest", "half_pixel", [1, 1, 2.5, 3], nearest="round_prefer_floor"),
    "resize_rounded": resize("nearest", "asymmetric", [1, 1, 0.6, 1]),
    "einsum_one": ("Einsum", {}, [None, 3, 4], {"equation": "bij->bj"}),
    "einsum_layer": ("Einsum", {"w": weights(4, 2, 5)}, [None, 3, 4], {"equation": "bti, ihd -> bhtd"}),
    "einsum_outer": ("Einsum", {"w": weights(5)}, [None, 3], {"equation": "bi,j->bji"}),
    "einsum_heads": ("Einsum", {"w": weights(3, 4, 2)}, [None, 3, 4], {"equation": "bhd,hdk"}),
    "resize_linear": resize("linear", "half_pixel", [1, 1, 2, 3]),
    "resize_corners": resize("linear", "align_corners", [1, 1, 2, 3]),
    "resize_linear_down": resize("linear", "pytorch_half_pixel", [1, 1, 0.6, 0.5]),
    "resize_cubic": resize("cubic", "half_pixel", [1, 1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_ops_give_what_onnxruntime_gives(name):
    op, constants, shape, has = CASES[name]
    if name == "expand":
        with pytest.raises(UnsupportedError, match="first dimension"):
            compare(one_node(op, constants, shape, **has).SerializeToString(), [np.zeros((1, *shape[1:]), np.float32)])
        return
    model = one_node(op, constants, shape, **has)
    if op == "ArgMax":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    compare(model.SerializeToString(), [np.zeros((1, *shape[1:]), np.float32)])


def recurrent(op, gates, **has):
    """
    A layer of five steps of three features, both directions, with the batch moved to where ONNX wants it.
    """
    constants = {"w": weights(2, gates * 4, 3), "r": weights(2, gates * 4, 4), "b": weights(2, gates * 8)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(op, ["t", *constants], ["y", "h"], hidden_size=4, direction="bidirectional", **has),
        helper.make_node("Transpose", ["y"], ["steps"], perm=[2, 0, 1, 3]),
        helper.make_node("Transpose", ["h"], ["last"], perm=[1, 0, 2]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, 3])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("steps", "last")]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", given, made, held)
    return with_output_shapes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize(
    ("op", "gates", "has"),
    [
        ("LSTM", 4, {}),
        ("GRU", 3, {"linear_before_reset": 1}),
        ("RNN", 1, {}),
        ("RNN", 1, {"activations": ["Relu", "Tanh"]}),
    ],
)
def test_recurrent_layers_of_two_directions(op, gates, has):
    compare(recurrent(op, gates, **has).SerializeToString(), [np.zeros((1, 5, 3), np.float32)])


@pytest.mark.parametrize(
    ("op", "gates", "has", "text"),
    [
        ("GRU", 3, {}, "linear_before_reset=1"),
        ("LSTM", 4, {"clip": 1.0}, "without clip"),
        ("LSTM", 4, {"input_forget": 1}, "without input_forget"),
        ("RNN", 1, {"activations": ["Sigmoid", "Tanh"]}, "activations Tanh and Relu"),
        ("LSTM", 4, {"activations": ["HardSigmoid", "Tanh", "Tanh"] * 2}, "is compiled with the activations"),
    ],
)
def test_recurrent_layers_that_no_row_computes(op, gates, has, text):
    data = recurrent(op, gates, **has).SerializeToString()
    with pytest.raises(UnsupportedError, match=text):
        read_onnx(memoryview(data), Path("x.onnx"), BuildOptions())


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("shape", "fused"), [((3,), True), ((1, 1, 3), False), ((1,), False)])
def test_a_bias_that_is_added_joins_its_layer(shape, fused, swapped):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["b", "p"] if swapped else ["p", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, 4])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(weights(4, 3), "w"), numpy_helper.from_array(weights(*shape), "b")]
    graph = helper.make_graph(nodes, "graph", given, made, held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = compare(with_output_shapes(proto).SerializeToString(), [np.zeros((1, 5, 4), np.float32)])
    assert ("plus" not in {node.op for node in model.nodes}) == fused


@pytest.mark.parametrize("largest", [0, 1])
def test_orders(largest):
    model = one_node("TopK", {"k": whole(3)}, [None, 5, 4], outputs=2, axis=1, largest=largest)
    compare(model.SerializeToString(), [weights(2, 5, 4)])
    model = one_node("TopK", {"k": whole(70)}, [None, 80], outputs=2, largest=largest)
    compare(model.SerializeToString(), [weights(2, 80)])


@pytest.mark.parametrize("first", ["batch", 1])
def test_inputs_of_bytes(first):
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "filters"], ["seen"]),
        helper.make_node("Cast", ["letters"], ["indices"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "indices"], ["read"]),
    ]
    shapes = {"image": [first, 2, 4, 5], "letters": [first, 3]}
    given = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in shapes.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("seen", "read")]
    held = [numpy_helper.from_array(weights(3, 2, 2, 2), "filters"), numpy_helper.from_array(weights(200, 2), "table")]
    graph = helper.make_graph(nodes, "graph", given, made, held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    examples = [np.full((1, 2, 4, 5), 255, np.uint8), np.full((1, 3), 199, np.uint8)]
    model = compare(with_output_shapes(proto).SerializeToString(), examples)
    assert [model.tensors[name].dtype for name in model.inputs] == [DType.UINT8, DType.UINT8]
    assert whole_numbers(model, "letters") == (0, 199)


@pytest.mark.parametrize("op", ["Atan", "Asin", "Acos"])
def test_arcs(op):
    compare(one_node(op, {}, [None, 6]).SerializeToString(), [np.tanh(weights(3, 6))])


def file_of(nodes, held, first="batch", outputs=("y",), functions=(), kind=TensorProto.FLOAT, version=17):
    """
    A file of several nodes that takes a vector of 4.
    """
    given = [helper.make_tensor_value_info("x", kind, [first, 4])]
    made = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()]
    opsets = [helper.make_opsetid("", version), *([helper.make_opsetid("own", 1)] if functions else [])]
    graph = helper.make_graph(nodes, "graph", given, made, constants)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def branch(op):
    """
    A branch that reads `h` from outside; both have the same names within.
    """
    result = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
    nodes = [helper.make_node(op, ["h"], ["t"]), helper.make_node("Mul", ["t", "two"], ["r"])]
    return helper.make_graph(nodes, op, [], [result], [numpy_helper.from_array(np.float32(2), "two")])


@pytest.mark.parametrize("size", [4, 5])
def test_branches_that_sizes_choose(size):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h0"]),
        helper.make_node("Add", ["h0", "b"], ["h"]),
        helper.make_node("Shape", ["h"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Equal", ["length", "size"], ["same"]),
        helper.make_node("If", ["same"], ["i"], then_branch=branch("Tanh"), else_branch=branch("Relu")),
        helper.make_node("If", ["same"], ["j"], then_branch=branch("Relu"), else_branch=branch("Tanh")),
        helper.make_node("Sub", ["i", "j"], ["y"]),
    ]
    held = {"w": weights(4, 4), "b": weights(4), "one": np.int64(1), "size": np.int64(size)}
    compare(with_output_shapes(file_of(nodes, held)).SerializeToString(), [np.zeros((1, 4), np.float32)])


def test_functions_of_the_file():
    body = [helper.make_node("MatMul", ["a", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["r"])]
    function = helper.make_function("own", "Layer", ["a", "w", "b"], ["r"], body, [helper.make_opsetid("", 17)])
    nodes = [
        helper.make_node("Layer", ["x", "w", "b"], ["h"], domain="own"),
        helper.make_node("Layer", ["h", "w", "b"], ["y"], domain="own"),
    ]
    proto = file_of(nodes, {"w": weights(4, 4), "b": weights(4)}, functions=[function])
    compare(proto.SerializeToString(), [np.zeros((1, 4), np.float32)])


def test_outputs_without_shapes_and_sizes_below_zero():
    proto = file_of([helper.make_node("Relu", ["x"], ["y"])], {}, first=-1)
    assert compare(proto.SerializeToString(), [np.zeros((1, 4), np.float32)]).batched
    proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=-1)
    proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=4)
    assert compare(proto.SerializeToString(), [np.zeros((1, 4), np.float32)]).batched


def test_outputs_that_are_constant_are_not_asked_for():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Identity", ["three"], ["version"])]
    proto = file_of(nodes, {"three": np.array([3], np.float32)}, outputs=("version", "y"))
    model = compare(with_output_shapes(proto).SerializeToString(), [np.zeros((1, 4), np.float32)])
    assert [output.name for output in model.outputs] == ["y"]


@pytest.mark.parametrize("version", [7, 9, 10, 11, 12])
def test_old_opsets(version):
    scaling: tuple[str, dict[str, Any]] = ("Upsample" if version < 10 else "Resize", {"mode": "linear"})
    inputs = ["image", "roi", "scales"] if version > 10 else ["image", "scales"]
    if version == 7:
        inputs, scaling[1]["scales"] = ["image"], [1.0, 1.0, 2.0, 2.0]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["wide"], transB=1),
        helper.make_node("Unsqueeze", ["wide"], ["two"], axes=[1, 2]),
        helper.make_node("Reshape", ["two", "shape"], ["image"]),
        helper.make_node(scaling[0], inputs, ["large"], **scaling[1]),
        helper.make_node("ReduceSum", ["large"], ["sums"], axes=[3], keepdims=0),
        helper.make_node("Softmax", ["sums"], ["soft"], axis=1),
        helper.make_node("Squeeze", ["soft"], ["y"], axes=[1]),
    ]
    held = {"w": weights(6, 4), "b": weights(6), "shape": whole(-1, 1, 2, 3), "roi": weights(0),
            "scales": np.array([1, 1, 2, 2], np.float32)}  # fmt: skip
    proto = file_of(nodes, {name: held[name] for node in nodes for name in node.input if name in held}, version=version)
    model = compare(proto.SerializeToString(), [np.zeros((1, 4), np.float32)])
    assert dict(model.origin.versions)["onnx opset"] == str(version)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT])
def test_halves_are_computed_as_floats(kind):
    half = TensorProto.FLOAT16 if kind == TensorProto.FLOAT else kind
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=half),
        helper.make_node("MatMul", ["h", "w"], ["m"]),
        helper.make_node("Constant", [], ["c"], value=helper.make_tensor("c", half, [1], [0.3])),
        helper.make_node("Add", ["m", "c"], ["s"]),
        helper.make_node("Cast", ["s"], ["y"], to=kind),
    ]
    proto = file_of(nodes, {}, kind=kind)
    proto.graph.initializer.append(helper.make_tensor("w", half, [4, 3], weights(12)))
    compare(proto.SerializeToString(), [np.zeros((1, 4), np.float32)])
