"""
Turns the keys of attention into columns: so many at once meet a value of a query.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node, Tensor
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def turn_keys(model: Model, options: BuildOptions) -> Model:
    """
    Puts a `permute` before the keys of each `attention`, or into the one that is there.
    """
    if all(node.op != "attention" or node.attributes["turned"] for node in model.nodes):
        return model
    constants = Constants(model)
    nodes: list[Node] = []
    for node in model.nodes:
        if node.op == "attention" and not node.attributes["turned"]:
            keys = _turned(constants, nodes, node)
            node = replace(
                node,
                inputs=(node.inputs[0], keys, *node.inputs[2:]),
                attributes={**node.attributes, "turned": True},
            )
        nodes.append(node)
    return constants.result(nodes)


def _turned(constants: Constants, nodes: list[Node], node: Node) -> str:
    """
    The name of the keys of a node as columns, which one of the nodes computes if they are no constant.
    """
    model, name = constants.model, node.inputs[1]
    tensor = model.tensors[name]
    if tensor.data is not None:
        data = np.ascontiguousarray(tensor.data.swapaxes(-1, -2))
        return constants.replace([name], [data], "turned")[0]
    rank = len(tensor.shape) - 1
    order = (*range(rank - 2), rank - 1, rank - 2)
    source, before = name, model.producer(name)
    if before is not None and before.op == "permute":
        inner = before.attributes["order"]
        assert isinstance(inner, tuple)
        source, order = before.inputs[0], tuple(int(inner[axis]) for axis in order)
        if len(model.consumers(name)) == 1 and node.inputs.count(name) == 1 and not model.is_result(name):
            nodes.remove(before)
    turned = constants.unused(f"{name}:turned")
    shape = (*tensor.shape[:-2], tensor.shape[-1], tensor.shape[-2])
    constants.tensors[turned] = Tensor(turned, tensor.dtype, shape)
    nodes.append(Node("permute", f"{node.name}:keys", (source,), (turned,), {"order": order}))
    return turned
