"""
Batches of a general model: which of its layers are worth computing for a block of observations at once.

A layer that multiplies one row by its weights waits for these, again for each observation. In a block, weights that are
loaded meet all observations; everything else is computed observation by observation there too.
"""

from math import prod

from compiler.ir import Model, Node
from compiler.ops import OPS
from compiler.ops.dense import COLUMNS
from compiler.ops.lengths import follows

BLOCK = 8
"""Observations in a block: as many rows as a tile of sums may have in registers."""
LEAST = 5
"""
Observations that are left over by whole blocks and worth one, in which the last is computed several times; fewer are
computed one by one.
"""
LEAST_WEIGHTS = 1 << 12
"""Weights of a layer from which on it is: fewer stay in the nearest cache."""
SHARE = 8
"""Blocks are worth their code where such layers do at least an eighth of the multiply-adds."""
FEW_ROWS = 4
"""Rows up to which a layer over several rows is one of them: more already share what is loaded."""
MOST_WORDS = 1 << 22
"""float32 of workspace, 16 MB, that a block may need."""


def together(model: Model) -> frozenset[str]:
    """
    The first outputs of the nodes that are computed for a block of observations at once.

    Empty if that is not worth it for the model.

    Args:
        model: after all passes.
    """
    if not model.batched or model.policy is not None:
        return frozenset()
    chosen = [node for node in model.nodes if _waits_for_weights(model, node)]
    worth = SHARE * sum(_work(model, node) for node in chosen) >= sum(_work(model, node) for node in model.nodes)
    return frozenset(node.outputs[0] for node in chosen) if worth else frozenset()


def _work(model: Model, node: Node) -> int:
    return OPS[node.op].multiply_adds([model.tensors[name] for name in node.inputs], node.attributes)


def _waits_for_weights(model: Model, node: Node) -> bool:
    rule = RULES.get(node.op)
    weights = sum(model.tensors[name].elements for name in node.inputs if model.tensors[name].data is not None)
    return rule is not None and weights >= LEAST_WEIGHTS and rule(model, node)


def _dense(model: Model, node: Node) -> bool:
    """
    Of the other layout, dot products for few outputs, each weight is loaded beside a value of the input.
    """
    return node.attributes["layout"] == COLUMNS


def _dense_over(model: Model, node: Node) -> bool:
    """
    The rows of all observations must lie one after the other, though each observation begins at a line of the caches.
    """
    source, result = (model.tensors[name] for name in (node.inputs[0], node.outputs[0]))
    fits = not follows(source.shape) and source.elements % LINE == 0 and result.elements % LINE == 0
    return fits and prod(source.fixed_shape[:-1]) <= FEW_ROWS


def _sequence(model: Model, node: Node) -> bool:
    """
    One sequence in an observation; several share weights already.
    """
    return model.tensors[node.inputs[0]].fixed_shape[1] == 1


LINE = 16
"""float32 in a line of the caches."""
RULES = {"dense": _dense, "dense_over": _dense_over, "lstm_steps": _sequence}
"""The ops whose kernels can compute several observations, each with where they do."""
