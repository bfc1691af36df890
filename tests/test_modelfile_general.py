"""
Models of general rows: through the model file and back, and what the reference makes of them.
"""

import numpy as np
import pytest

from compiler.errors import ModelFileError
from compiler.ir import BATCH, DType, Model, Origin, Output
from compiler.modelfile import decode, encode
from compiler.ops.builder import GraphBuilder
from compiler.ops.reference import evaluate


def model(*, batched: bool) -> Model:
    """
    Rows with attributes of every type, a dimensionless value, and a node with two results.
    """
    builder = GraphBuilder()
    x = builder.input("x", DType.FLOAT32, (BATCH, 1, 2, 4, 4))
    larger = builder.add("upsample_nearest", [x], "larger", size=(6, 6), scales=(1.5, 1.5))
    around = builder.add("surround", [larger], "around", before=(0, 0, 1, 0), after=(0, 0, 0, 1), value=float("-inf"))
    pooled = builder.add("max_pool", [around], "pooled", kernel=(2, 2), stride=(2, 2), ceil=True)
    total = builder.add("reduce_sum", [pooled], "total", axes=(0, 1, 2, 3))
    steps = builder.add("reshape", [x], "steps", shape=(4, 2, 4))
    rng = np.random.default_rng(0)
    shapes = {"h": (2, 3), "c": (2, 3), "weight_ih": (12, 4), "weight_hh": (12, 3), "bias": (12,)}
    given = [builder.constant(name, rng.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()]
    outputs, last = builder.add_all("lstm", [steps, *given], "lstm", reverse=True)
    places = builder.constant("places", np.array([1, 0, 1]))
    taken = builder.add("take", [outputs, places], "taken", axis=1)
    whole = builder.add("cast", [last], "whole", dtype="int64")
    results = [Output(name, name) for name in (builder.add("reshape", [total], "end", shape=()), taken, whole)]
    origin = Origin("net.pt2", "0" * 64, "torch-export")
    return Model("net", tuple(builder.nodes), builder.tensors, ("x",), tuple(results), origin, batched=batched)


@pytest.mark.parametrize("batched", [False, True])
def test_a_model_survives_its_file(batched):
    before = model(batched=batched)
    data = encode(before).data
    after = decode(data, "net.model")
    assert after == before
    assert encode(after).data == data
    inputs = {"x": np.random.default_rng(1).normal(size=(3, 1, 2, 4, 4))}
    one, other = evaluate(before, inputs), evaluate(after, inputs)
    for name, tensor in after.tensors.items():
        samples = () if tensor.data is not None else (3,)
        assert one[name].shape == (*samples, *tensor.fixed_shape)
        np.testing.assert_array_equal(one[name], other[name])


def test_both_results_of_a_node_are_declared():
    whole = model(batched=True)
    nodes = [
        type(node)(node.op, node.name, node.inputs, node.outputs[:1], node.attributes) if node.op == "lstm" else node
        for node in whole.nodes
    ]
    with pytest.raises(ModelFileError, match=r"lstm\) gives float32.*, float32.*, declared are float32"):
        encode(whole.with_graph(tuple(nodes), whole.tensors))
