"""
Takes the largest logit among those that the masks allow.
"""

from dataclasses import replace

from compiler.ir import Model, Node
from compiler.options import BuildOptions


def merge_masks(model: Model, options: BuildOptions) -> Model:
    """
    Turns argmax(mask(log_softmax(x), masks)) into masked_argmax(x, masks).

    log_softmax keeps the order of its inputs, and what it gives is far above the -1e8 of a forbidden choice, unless
    logits lie that far apart. Nothing is changed where NaN and infinity, which make all probabilities NaN, are to be
    answered.
    """
    if options.nonfinite == "propagate":
        return model
    makers = {node.outputs[0]: node for node in model.nodes}

    def merged(node: Node) -> Node:
        mask = makers.get(node.inputs[0])
        if node.op != "argmax" or mask is None or mask.op != "mask":
            return node
        logits, masks = mask.inputs
        normalized = makers.get(logits)
        if normalized is None or normalized.op != "log_softmax" or not same_choices(model, normalized, node):
            return node
        return replace(node, op="masked_argmax", inputs=(*normalized.inputs, masks))

    return model.with_graph(tuple(map(merged, model.nodes)), model.tensors)


def same_choices(model: Model, one: Node, other: Node) -> bool:
    """
    Whether two nodes, which work choice by choice on as many features, mean the same choices.
    """
    whole = (model.tensors[one.inputs[0]].elements,)
    return (one.attributes["sizes"] or whole) == (other.attributes["sizes"] or whole)
