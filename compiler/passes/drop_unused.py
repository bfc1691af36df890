"""
Drops what no output depends on.
"""

from compiler.ir import Model
from compiler.options import BuildOptions


def drop_unused(model: Model, options: BuildOptions) -> Model:
    """
    The model without nodes and constants that lead to no output and no state: value networks, critics, targets.
    """
    needed = {output.tensor for output in model.outputs}
    needed |= {name for state in model.states for name in (state.input, state.output, state.initial)}
    kept = []
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
            needed.update(node.outputs)
    needed.update(model.inputs)
    tensors = {name: tensor for name, tensor in model.tensors.items() if name in needed}
    return model.with_graph(tuple(reversed(kept)), tensors)
