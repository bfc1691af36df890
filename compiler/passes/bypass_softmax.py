"""
Takes the largest logit instead of the largest probability.
"""

from dataclasses import replace

from compiler.ir import Model, Node
from compiler.options import BuildOptions
from compiler.passes.merge_masks import same_choices


def bypass_softmax(model: Model, options: BuildOptions) -> Model:
    """
    Turns argmax(softmax(x)) into argmax(x), where both mean the same choices.

    Softmax keeps the order of its inputs, so the two differ only where two inputs are within rounding of each other.
    And where one is NaN or infinite, which makes all probabilities NaN: nothing is changed if that is to be answered.
    """
    if options.nonfinite == "propagate":
        return model
    softmaxes = {
        node.outputs[0]: node for node in model.nodes if node.op == "softmax" and node.attributes["scale"] == 1.0
    }

    def bypass(node: Node) -> Node:
        softmax = softmaxes.get(node.inputs[0]) if node.op == "argmax" else None
        return replace(node, inputs=softmax.inputs) if softmax and same_choices(model, softmax, node) else node

    return model.with_graph(tuple(bypass(node) for node in model.nodes), model.tensors)
