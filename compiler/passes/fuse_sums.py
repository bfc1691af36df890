"""
Adds what a layer's result is added to where the layer still has that in registers.
"""

from dataclasses import replace

from compiler.ir import Model, Node
from compiler.options import BuildOptions


def fuse_sums(model: Model, options: BuildOptions) -> Model:
    """
    Makes a `plus` of two tensors of one shape part of the later of the layers that compute them.

    The layer is then computed where the sum was, since the other tensor may be computed after it.
    """
    nodes: dict[str, Node] = {}
    tensors = dict(model.tensors)
    places = {node.outputs[0]: place for place, node in enumerate(model.nodes)}
    for node in model.nodes:
        takers = [name for name in dict.fromkeys(node.inputs) if _takes(model, node, nodes.get(name), name)]
        if not takers:
            nodes[node.outputs[0]] = node
            continue
        name = max(takers, key=places.__getitem__)
        layer, (added,) = nodes.pop(name), [other for other in node.inputs if other != name]
        nodes[node.outputs[0]] = replace(layer, inputs=(*layer.inputs, added), outputs=node.outputs)
        del tensors[name]
    return model.with_graph(tuple(nodes.values()), tensors) if len(nodes) < len(model.nodes) else model


def _takes(model: Model, node: Node, layer: Node | None, between: str) -> bool:
    """
    Whether a layer, of which `between` is the result, can add the other input of a sum.
    """
    if node.op != "plus" or layer is None or len(set(node.inputs)) != 2 or len(layer.inputs) != 3:
        return False
    if layer.op not in ("dense_over", "convolution", "winograd") or layer.attributes["activation"]:
        return False
    (other,) = (name for name in node.inputs if name != between)
    alike = model.tensors[other].data is None and model.tensors[other].shape == model.tensors[between].shape
    needed = model.is_result(between) or len(model.consumers(between)) != 1
    return alike and not needed and (layer.op != "convolution" or _is_full(model, layer))


def _is_full(model: Model, layer: Node) -> bool:
    """
    Whether the last block of filters is: a kernel that adds reads as far as it writes.
    """
    return model.tensors[layer.inputs[2]].elements == layer.attributes["filters"]
