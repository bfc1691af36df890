"""
Layers of a general model that compute alike: they have one kernel, each called with weights of its own.
"""

import re
from itertools import pairwise

import numpy as np

from compiler import codegen, modelfile
from compiler.ir import BATCH, DType, Model, Origin, Output
from compiler.ops.builder import GraphBuilder
from compiler.options import BuildOptions
from compiler.pipeline import run_passes


def chain(widths: list[int]) -> Model:
    """
    Matrix products, one after the other.
    """
    graph = GraphBuilder()
    value = graph.input("source", DType.FLOAT32, (BATCH, 2, widths[0]))
    for number, (before, after) in enumerate(pairwise(widths)):
        weight = graph.constant(f"w{number}", np.full((after, before), number, np.float32))
        bias = graph.constant(f"b{number}", np.zeros(after, np.float32))
        value = graph.add("linear_over", [value, weight, bias], f"layer{number}")
    outputs = (Output("result", value),)
    return Model("chain", tuple(graph.nodes), graph.tensors, ("source",), outputs, Origin("m.pt2", "0" * 64, "test"))


def kernels_of(model: Model) -> str:
    options = BuildOptions()
    model = run_passes(model, options)
    return codegen.render(model, modelfile.encode(model), options, "chain")["kernels.py"]


def test_layers_of_the_same_shapes_share_a_kernel():
    text = kernels_of(chain([6, 6, 6, 5, 6]))
    assert re.findall(r"^def (layer\w+)", text, re.MULTILINE) == ["layer0", "layer2", "layer3"]
    assert "`layer0` and 1 more" in text
    calls = re.findall(r"^    (layer\d)\(([^)]*\)[^)]*\))", text, re.MULTILINE)
    assert [name for name, _ in calls] == ["layer0", "layer0", "layer2", "layer3"]
    assert len({arguments for _, arguments in calls}) == 4
