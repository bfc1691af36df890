"""
Averages weights once instead of quantiles again and again.
"""

from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.passes.constants import Constants, uses


def average_quantiles(model: Model, options: BuildOptions) -> Model:
    """
    Turns quantile_mean(linear(x)) into one linear with averaged weights, where nothing else needs the quantiles.

    The weights are averaged in float64 and rounded once. Nothing is changed where infinity is to be answered: quantiles
    of both signs make their mean NaN, averaged weights do not.
    """
    if options.nonfinite == "propagate":
        return model
    constants, count = Constants(model), uses(model)
    means = {node.inputs[0]: node for node in model.nodes if node.op == "quantile_mean" and count[node.inputs[0]] == 1}
    nodes: list[Node] = []
    averaged = set()
    for node in model.nodes:
        mean = means.get(node.outputs[0]) if node.op == "linear" else None
        if mean is not None:
            arrays = [_mean(array, mean.attributes["quantiles"]) for array in constants.data(node)]
            names = constants.replace(node.inputs[1:], arrays, "mean")
            averaged.add(mean.outputs)
            nodes.append(replace(node, inputs=(node.inputs[0], *names), outputs=mean.outputs))
        elif node.outputs not in averaged:
            nodes.append(node)
    return constants.result(nodes)


def _mean(array: Array, quantiles: object) -> Array:
    """
    The mean over the quantiles, which are the outer part of an array's first dimension.
    """
    assert isinstance(quantiles, int)
    parts = array.astype(np.float64).reshape(quantiles, -1, *array.shape[1:])
    mean: Array = parts.mean(axis=0).astype(array.dtype)
    return mean
