"""
Products whose bias is added by a node of its own, as exporters write linear layers of sequences: one row for both.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from onnx import NodeProto

from compiler.frontends.onnx_file.graph import Value
from compiler.frontends.onnx_file.walking import names_read


def added_biases(nodes: Sequence[NodeProto], values: Mapping[str, Value], kept: set[str]) -> dict[str, tuple[str, str]]:
    """
    Products by a known matrix that only one addition reads, of a known vector.

    Args:
        nodes: the nodes of the graph.
        values: what the file holds, by name.
        kept: the outputs of the graph, which must be what they are.

    Returns:
        By the result of the product, the result of the addition and the name of the bias.
    """
    readers = Counter(name for node in nodes for name in names_read(node))
    products = {
        node.output[0]: values[node.input[1]].shape[1:]
        for node in nodes
        if node.op_type == "MatMul"
        and isinstance(values.get(node.input[1]), np.ndarray)
        and values[node.input[1]].ndim == 2
        and node.output[0] not in kept
        and readers[node.output[0]] == 1
    }
    found = {}
    for node in nodes:
        if node.op_type != "Add":
            continue
        for product, bias in (node.input, reversed(node.input)):
            known = values.get(bias)
            if product in products and isinstance(known, np.ndarray) and known.shape == products[product]:
                found[product] = (node.output[0], bias)
    return found
