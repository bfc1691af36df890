"""
Multiplies the rows of an embedding's table by the matrix that follows it, before anybody asks for one.
"""

import math
from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node, Tensor
from compiler.options import BuildOptions
from compiler.passes.constants import Constants

LARGEST = 1 << 20
"""float32 of a table, 4 MB, beyond which it does not grow: it would no longer be in the caches."""


def fold_embeddings(model: Model, options: BuildOptions) -> Model:
    """
    Makes a `linear_over` part of the table of the `embedding` before it.

    Between them may be what moves whole rows: a `reshape` or a `permute` that keeps the last dimension as it is.
    """
    if all(node.op != "embedding" for node in model.nodes):
        return model
    constants = Constants(model)
    nodes = {node.outputs[0]: node for node in model.nodes}
    for node in model.nodes:
        chain = _chain(constants, nodes, node) if node.op == "linear_over" else None
        if chain is not None:
            _fold(constants, nodes, node, chain)
    return constants.result([nodes[node.outputs[0]] for node in model.nodes if node.outputs[0] in nodes])


def _chain(constants: Constants, nodes: dict[str, Node], linear: Node) -> list[Node] | None:
    """
    The nodes from the embedding to the matrix, as they are by now; None where something else reads what is between.
    """
    chain: list[Node] = []
    model, name, width = constants.model, linear.inputs[0], constants.tensors[linear.inputs[0]].fixed_shape[-1]
    while True:
        node = nodes.get(name)
        if node is None or len(model.consumers(name)) != 1 or model.is_result(name):
            return None
        chain.insert(0, node)
        if node.op == "embedding":
            return chain if _fits(constants, node, linear, width) else None
        source = constants.tensors[node.inputs[0]].fixed_shape
        order = node.attributes.get("order")
        keeps = node.op == "reshape" or (isinstance(order, tuple) and order[-1] == len(order) - 1)
        if node.op not in ("reshape", "permute") or not keeps or source[-1:] != (width,):
            return None
        name = node.inputs[0]


def _fits(constants: Constants, embedding: Node, linear: Node, width: int) -> bool:
    table, weight, bias = (constants.tensors[name] for name in (embedding.inputs[1], *linear.inputs[1:]))
    if any(tensor.data is None for tensor in (table, weight, bias)) or table.fixed_shape[1:] != (width,):
        return False
    size = table.fixed_shape[0] * weight.fixed_shape[0]
    return size <= max(LARGEST, math.prod(table.fixed_shape))


def _fold(constants: Constants, nodes: dict[str, Node], linear: Node, chain: list[Node]) -> None:
    embedding, *moves = chain
    names = (embedding.inputs[1], *linear.inputs[1:])
    table, weight, bias = (np.asarray(constants.tensors[name].data, np.float64) for name in names)
    product = (table @ weight.T + bias).astype(np.float32)
    (folded,) = constants.replace(names[:1], [product], "folded")
    nodes[embedding.outputs[0]] = replace(embedding, inputs=(embedding.inputs[0], folded))
    outputs = product.shape[1]
    for node in chain:
        (name,) = node.outputs
        tensor = constants.tensors[name]
        constants.tensors[name] = Tensor(name, tensor.dtype, (*tensor.shape[:-1], outputs))
    for node in moves:
        if node.op == "reshape":
            shape = constants.tensors[node.outputs[0]].fixed_shape
            nodes[node.outputs[0]] = replace(node, attributes={"shape": shape})
    # The last of the chain gives what the matrix gave, under its name.
    last = nodes.pop(chain[-1].outputs[0])
    constants.tensors[linear.outputs[0]] = replace(constants.tensors[chain[-1].outputs[0]], name=linear.outputs[0])
    nodes[linear.outputs[0]] = replace(last, outputs=linear.outputs)
