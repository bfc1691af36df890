"""
Applies an activation where the layer before it still has its results in registers.
"""

from dataclasses import replace

from compiler.ir import Model, Node
from compiler.ops import OPS
from compiler.options import BuildOptions

LAYERS = ("dense", "dense_over", "lookup", "convolution", "winograd")
"""The ops that take an activation."""
SHORT = ("relu", "leaky_relu", "hardtanh", "threshold", "divide")
"""What a convolution, whose kernel holds a copy for each of its many sums, takes: the rest costs more to compile than a
loop of its own costs to run."""


def fuse_activations(model: Model, options: BuildOptions) -> Model:
    """
    Makes an element-wise node part of the layer before it, if nothing else needs what is between them.
    """
    nodes: list[Node] = []
    tensors = dict(model.tensors)
    places: dict[str, int] = {}
    for node in model.nodes:
        place = places.get(node.inputs[0])
        if place is not None and _fits(nodes[place], node, model):
            attributes = {**nodes[place].attributes, **node.attributes, "activation": node.op}
            nodes[place] = replace(nodes[place], outputs=node.outputs, attributes=attributes)
            del tensors[node.inputs[0]]
        else:
            place = len(nodes)
            nodes.append(node)
        places |= dict.fromkeys(node.outputs, place)
    return model.with_graph(tuple(nodes), tensors)


def _fits(layer: Node, node: Node, model: Model) -> bool:
    between = layer.outputs[0]
    return (
        layer.op in LAYERS
        and not layer.attributes["activation"]
        and OPS[node.op].elementwise
        and (layer.op not in ("convolution", "winograd") or node.op in SHORT)
        and node.inputs == (between,)
        and len(model.consumers(between)) == 1
        and not model.is_result(between)
    )
