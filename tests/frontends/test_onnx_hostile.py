"""
ONNX files that are damaged, that reach out of themselves, or that can't be compiled: each is refused in words.
"""

import contextlib
import random
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from compiler.check import check
from compiler.errors import CheckpointError, PolicycError, UnsupportedError
from compiler.frontends import operations, read
from compiler.frontends.onnx_file import is_onnx, read_onnx
from compiler.options import BuildOptions
from tests.frontends.onnx_files import one_node, with_output_shapes

FLOAT = TensorProto.FLOAT
PATH = Path("stranger.onnx")


def linear() -> ModelProto:
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    return one_node("Gemm", {"weight": weight, "bias": np.ones(3, np.float32)}, ["batch", 4])


def graph_of(
    nodes, inputs=(("x", FLOAT, ["batch", 4]),), outputs=("y",), constants=(), version=20, **others
) -> ModelProto:
    given = [helper.make_tensor_value_info(*each) for each in inputs]
    made = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "graph", given, made, list(constants))
    opsets = [helper.make_opsetid("", version)]
    return with_output_shapes(helper.make_model(graph, opset_imports=opsets, ir_version=10, **others))


def node(op, inputs="x", outputs="y", **has):
    return helper.make_node(op, inputs.split(), outputs.split(), **has)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def read_model(model, **options):
    return check(read_onnx(memoryview(model.SerializeToString()), PATH, BuildOptions(**options)), "test")


def refused(model, kind=UnsupportedError) -> str:
    with pytest.raises(kind) as caught:
        read_model(model)
    assert str(caught.value).isascii()
    return str(caught.value)


def test_the_content_says_what_the_file_is(tmp_path):
    path = tmp_path / "policy.zip"
    path.write_bytes(linear().SerializeToString())
    model = read(path, BuildOptions())
    assert (model.origin.format, model.origin.file, model.name) == ("onnx", "policy.zip", "policy")
    assert (model.inputs, [output.name for output in model.outputs]) == (("x",), ["y0"])
    assert [node.op for node in model.nodes] == ["reshape", "linear_over", "reshape"]


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\xff" * 40, b"hello", b"\x80\x02", b"PK\x03\x04", b"\x08\x0a", b"\x3a\x7f"]
)
def test_other_bytes_are_no_onnx(data):
    assert not is_onnx(memoryview(data))
    with pytest.raises(CheckpointError):
        read_onnx(memoryview(data), PATH, BuildOptions())


def test_a_file_that_ends_early_is_refused():
    data = linear().SerializeToString()
    for size in range(len(data)):
        part = memoryview(data[:size])
        is_onnx(part)
        with pytest.raises(PolicycError):
            read_onnx(part, PATH, BuildOptions())


def test_damaged_bytes_are_refused_or_read_and_never_anything_else():
    data, random_bytes = linear().SerializeToString(), random.Random(5)
    for _ in range(1000):
        damaged = bytearray(data)
        for _ in range(random_bytes.randint(1, 4)):
            damaged[random_bytes.randrange(len(damaged))] = random_bytes.randrange(256)
        with contextlib.suppress(PolicycError):
            check(read_onnx(memoryview(bytes(damaged)), PATH, BuildOptions()), "test")


def test_functions_that_call_themselves_are_refused():
    body = [helper.make_node("Again", ["a"], ["b"], domain="own")]
    function = helper.make_function("own", "Again", ["a"], ["b"], body, [helper.make_opsetid("own", 1)])
    model = graph_of([helper.make_node("Again", ["x"], ["y"], domain="own")], functions=[function])
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert "recursive" in refused(model, CheckpointError)


def test_functions_that_would_be_huge_are_refused():
    opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 20)]

    def doubled(level):
        op = {"op_type": "Relu"} if level == 0 else {"op_type": f"F{level - 1}", "domain": "own"}
        body = [
            helper.make_node(inputs=["a"], outputs=["m"], **op),
            helper.make_node(inputs=["m"], outputs=["b"], **op),
        ]
        return helper.make_function("own", f"F{level}", ["a"], ["b"], body, opsets)

    model = graph_of(
        [helper.make_node("F39", ["x"], ["y"], domain="own")], functions=[doubled(level) for level in range(40)]
    )
    model.opset_import.append(opsets[0])
    assert "nodes when its functions are in their places" in refused(model)


def test_dims_that_the_data_do_not_have_are_refused():
    model = linear()
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    assert "elements are read" in refused(model)
    model.graph.initializer[0].dims[:] = [-1, 3]
    assert "has the dims (-1, 3)" in refused(model)
    model.graph.initializer[0].dims[:] = [4, 2]
    assert "is damaged" in refused(model, CheckpointError)


@pytest.mark.parametrize(
    "model",
    [
        graph_of([node("ConstantOfShape", "s", "c"), node("Add", "x c")], constants=[constant("s", [1 << 30, 4])]),
        graph_of([node("Expand", "c s", "e"), node("Add", "x e")],
                 constants=[constant("c", np.float32(1)), constant("s", [1 << 30, 4])]),
        graph_of([node("Range", "a b c", "r"), node("Cast", "r", "f", to=1), node("Add", "x f")],
                 constants=[constant("a", 0), constant("b", 1 << 40), constant("c", 1)]),
        graph_of([node("Tile", "c s", "e"), node("Add", "x e")],
                 constants=[constant("c", np.ones(4, np.float32)), constant("s", [1 << 40])]),
        graph_of([node("Pad", "c s", "e"), node("Add", "x e")],
                 constants=[constant("c", np.ones(4, np.float32)), constant("s", [0, 1 << 40])]),
    ],
    ids=["ConstantOfShape", "Expand", "Range", "Tile", "Pad"],
)  # fmt: skip
def test_constants_that_would_fill_the_memory_are_refused(model):
    assert "at most 134,217,728 elements" in refused(model)


def test_texts_of_the_file_can_not_forge_messages():
    name = "\x1b[31mNaN\n'; import os #\u202e"
    model = graph_of([helper.make_node("NonZero", [name], ["y"], name=name)], inputs=[(name, FLOAT, ["b", 4])])
    message = refused(model)
    assert "\x1b" not in message
    assert "\n" not in message
    fine = graph_of(
        [helper.make_node("Relu", [name], ["nan"], name=name)], inputs=[(name, FLOAT, ["b", 4])], outputs=["nan"]
    )
    assert read_model(fine).inputs == (name,)


def test_conditions_and_loops_that_are_not_known_are_refused():
    branches = {name: branch_of(op, name) for name, op in (("then_branch", "Relu"), ("else_branch", "Tanh"))}
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m z", "c"), node("If", "c", **branches)]
    model = graph_of(nodes, constants=[constant("z", np.float32(0))])
    assert "(If): its condition depends on the inputs" in refused(model)
    given = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("s", "e")]
    made = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in ("t", "u")]
    body = helper.make_graph([node("Add", "s e", "t"), node("Identity", "t", "u")], "body", given, made)
    model = graph_of([node("Scan", "z x", "f y", body=body, num_scan_inputs=1)],
                     constants=[constant("z", np.zeros(4, np.float32))])  # fmt: skip
    assert "(Scan) runs a graph of its own" in refused(model)


def test_what_a_branch_holds_is_refused_where_it_is_taken(tmp_path):
    branches = {name: branch_of(op, name) for name, op in (("then_branch", "NonZero"), ("else_branch", "Relu"))}
    for known in (True, False):
        model = graph_of([node("If", "c", **branches)], constants=[constant("c", known)])
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        found = operations(path, BuildOptions())
        assert found.supported is not known
        if known:
            assert "node that gives 'then_branch' (NonZero): is not compiled" in refused(model)
            assert "NonZero" in found.operations[0].refusals[0]
        else:
            assert read_model(model).nodes


def branch_of(op, name):
    return helper.make_graph([node(op, "x", name)], name, [], [helper.make_tensor_value_info(name, FLOAT, None)])


def test_deep_graphs_do_not_exhaust_the_stack():
    # By hand, as protobuf writes nothing so deep: an attribute `g` with a graph, in a node, in a graph, ...
    def field(number, content):
        length, size = b"", len(content)
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    graph = b""
    for _ in range(5000):
        graph = field(1, field(5, field(6, graph)))
    data = linear().SerializeToString() + field(7, graph)
    assert is_onnx(memoryview(data))
    with pytest.raises(CheckpointError, match="is no ONNX model"):
        read_onnx(memoryview(data), PATH, BuildOptions())


def test_old_and_future_opsets_say_what_to_do():
    assert "export it anew, with opset 18" in refused(graph_of([node("Relu")], version=6))
    assert "pip install --upgrade onnx" in refused(graph_of([node("Relu")], version=9999))


def test_graphs_that_break_the_rules_of_onnx_are_refused():
    cycle = graph_of([node("Add", "x b", "a"), node("Add", "x a", "b"), node("Relu", "b", "y")])
    assert "no valid ONNX model" in refused(cycle, CheckpointError)
    assert "no valid ONNX model" in refused(graph_of([node("Relu", "nothing")]), CheckpointError)
    assert "no valid ONNX model" in refused(graph_of([node("Relu"), node("Tanh")]), CheckpointError)
    assert "no valid ONNX model" in refused(graph_of([node("Relu", alpha=1.0)]), CheckpointError)


def test_all_missing_ops_are_named_with_the_nearest():
    model = graph_of([node("NonZero", "x", "n"), node("Det", "x", "d"), node("Relu"), node("Compress", "x k", "v")],
                     outputs=["n", "d", "v"], constants=[constant("k", [1])])  # fmt: skip
    message = refused(model)
    assert message.startswith("stranger.onnx: 3 problems")
    assert all(f"({op}) is not compiled" in message for op in ("NonZero", "Det", "Compress"))
    assert "the nearest that is" in refused(graph_of([node("LpPool", kernel_shape=[2])]))


def test_ops_of_other_tools_say_where_they_come_from():
    model = graph_of([node("DynamicQuantizeLinear", "x", "q s z"), node("Cast", "q", "y", to=1)])
    assert "give the file from before its quantisation" in refused(model)
    model = graph_of([helper.make_node("FusedGemm", ["x"], ["y"], domain="com.microsoft")])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "before onnxruntime optimised it" in refused(model)


def test_random_nodes_are_refused():
    assert "draws at random" in refused(graph_of([node("RandomNormalLike")]))


def test_nodes_that_no_output_needs_do_not_matter(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_of([node("Relu"), node("NonZero", "x", "z")]).SerializeToString())
    assert operations(path, BuildOptions()).supported
    assert len(read_model(graph_of([node("Relu"), node("NonZero", "x", "z")])).nodes) == 3


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([("x", FLOAT, ["batch", "length"])], "'length' has no largest length"),
        ([("x", FLOAT, ["batch", "length", "width"])], "one length may be dynamic"),
        ([("x", FLOAT, ["batch", "batch"])], "one length may be dynamic"),
        ([("x", FLOAT, ["batch", "length + 1"])], "one length may be dynamic"),
        ([("x", FLOAT, ["batch", 4]), ("z", FLOAT, [4])], "no dynamic first dimension"),
        ([("x", TensorProto.DOUBLE, ["batch", 4])], "is float64"),
        ([("x", TensorProto.STRING, ["batch", 4])], "type number 8"),
        ([("x", FLOAT, [0, 4])], "dimension 0 is 0"),
    ],
)
def test_inputs_that_are_not_compiled(inputs, text):
    assert text in refused(graph_of([node("Identity")], inputs=inputs))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Softmax", axis=0)],
        [node("ReduceMean", "x", "m"), node("Add", "x m")],
        [node("Transpose", "x", "t", perm=[1, 0]), node("Softmax", "t", "s"), node("Transpose", "s", "y", perm=[1, 0])],
        [node("CumSum", "x zero")],
        [node("Concat", "x x", "c", axis=0), node("Gather", "c zero", "y", axis=0)],
        [node("Transpose", "x", "t", perm=[1, 0]), node("MatMul", "x t")],
    ],
    ids=["softmax", "mean", "transposed", "cumsum", "concat", "gram"],
)
def test_samples_that_meet_are_refused(nodes):
    message = refused(graph_of(nodes, constants=[constant("zero", 0)]))
    assert "batch" in message


def test_outputs_that_are_constant_are_left_out_and_said():
    model = graph_of([node("Shape", "x", "s"), node("Relu")], outputs=["y", "s"])
    found = read_model(model)
    assert [output.name for output in found.outputs] == ["y"]
    assert "the same for every input: 's'" in found.origin.assumptions[0]
    del model.graph.output[0]
    assert "nothing is computed" in refused(model)


def test_weights_that_are_not_finite_need_an_option():
    model = linear()
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[0, 0] = np.inf
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight"))
    assert "'weight' holds NaN or infinity" in refused(model)
    assert read_model(model, allow_nonfinite_weights=True)
    masked = graph_of([node("Add", "x m")], constants=[constant("m", np.array([0, -np.inf, 0, 0], np.float32))])
    assert read_model(masked)


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UnsupportedError, match="pip install onnx"):
        read_onnx(memoryview(b"x"), PATH, BuildOptions())


def test_integers_beyond_what_predictors_keep_are_refused():
    model = graph_of([node("Add", "x big")], inputs=[("x", TensorProto.INT64, ["b", 4])],
                     constants=[constant("big", np.array([1 << 30]))])  # fmt: skip
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert "beyond 16,777,216" in refused(model)


def test_the_version_of_onnx_is_one_that_has_these_rules():
    assert onnx.defs.onnx_opset_version() >= 20
