"""
That the samples of a batch never meet: what of that can be seen in the graph.

A model is that of one sample. An op that works along the dimension of the batch would give something else for one
sample than for several, and is refused. Where the batch is in a tensor, ONNX's own shape inference says. What can't be
seen here shows when the build compares its predictor with the file's own runtime in batches.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from compiler.frontends.computed import Computed
from compiler.frontends.onnx_file.graph import Given, dims_of
from compiler.frontends.onnx_file.loading import inputs_of

BATCH = "policyc batch"
ONE_AXIS = {"ArgMax": 0, "ArgMin": 0, "Concat": 0, "Gather": 0, "GatherElements": 0, "Hardmax": -1, "Split": 0}
ONE_AXIS |= {"LogSoftmax": -1, "LpNormalization": -1, "Softmax": -1, "TopK": -1}
"""Ops that work along the axis that an attribute names, with its default."""
INNER = {"Conv": 3, "ConvTranspose": 3, "InstanceNormalization": 3, "AveragePool": 2, "MaxPool": 2, "Trilu": 2}
"""How many of the last dims of its first input an op works along; at most those after the first."""


class Batch:
    """
    In which dimension of each tensor the batch is.
    """

    def __init__(self, model: ModelProto, nodes: Sequence[NodeProto]) -> None:
        self.axis: dict[str, int] = {}
        self.shared: set[str] = set()
        named = ModelProto()
        named.CopyFrom(model)
        del named.graph.value_info[:]
        del named.graph.node[:]
        named.graph.node.extend(nodes)
        for value in inputs_of(named.graph):
            value.type.tensor_type.shape.dim[0].dim_param = BATCH
        for value in named.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            found = onnx.shape_inference.infer_shapes(named, data_prop=True)
        except Exception:  # what can't be inferred is not known here, and shows in the build's comparison
            return
        for value in (*found.graph.input, *found.graph.value_info, *found.graph.output):
            sizes = value.type.tensor_type.shape.dim
            axes = [axis for axis, size in enumerate(sizes) if size.dim_param == BATCH]
            if len(axes) == 1:
                self.axis[value.name] = axes[0]
            elif axes:
                self.shared.add(value.name)

    def mixing(self, node: NodeProto, given: Given) -> str | None:
        """
        How a node lets samples meet, in words; None if it can't be seen to.
        """
        if self.shared.intersection(node.output):
            return "relates each sample of the batch to each other"
        for place in range(len(given) if node.op_type == "Concat" else min(1, len(given))):
            value, axis = given[place], self.axis.get(node.input[place])
            if isinstance(value, Computed) and axis in set(_worked(node, given, len(dims_of(value)))):
                return "works along the dimension of the batch"
        return None


def _worked(node: NodeProto, given: Given, rank: int) -> Iterator[int]:
    """
    The dimensions of its input along which a node works.
    """
    has = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type in ONE_AXIS:
        yield (has["axis"].i if "axis" in has else ONE_AXIS[node.op_type]) % max(rank, 1)
    elif node.op_type == "CumSum" and isinstance(given[1], np.ndarray):
        yield int(given[1].reshape(-1)[0]) % max(rank, 1)
    elif node.op_type.startswith("Reduce"):
        axes = list(has["axes"].ints) if "axes" in has else []
        if len(given) > 1 and isinstance(given[1], np.ndarray):
            axes = list(map(int, given[1].reshape(-1)))
        if not axes and "noop_with_empty_axes" in has and has["noop_with_empty_axes"].i:
            return
        yield from (axis % max(rank, 1) for axis in axes or range(rank))
    elif node.op_type in INNER:
        yield from range(max(rank - INNER[node.op_type], 1 if node.op_type != "Trilu" else 0), rank)
    elif node.op_type in ("GRU", "LSTM", "RNN"):
        yield 1 if "layout" in has and has["layout"].i else 0
    elif node.op_type == "LayerNormalization":
        yield from range((has["axis"].i if "axis" in has else -1) % max(rank, 1), rank)
