"""
The model computed by NumPy in float64, node by node: what "right" means for passes and predictors.
"""

from collections.abc import Mapping

import numpy as np

from compiler.ir import Model
from compiler.ops import OPS, Array


def evaluate(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """
    Every tensor of the model for these inputs.

    Args:
        model: a legal model.
        inputs: an array for each input and each state, first dimension the batch. Floating values are computed in
            float64.

    Returns:
        Tensor name to value: float64 for all floating tensors, int64 for indices.
    """
    given = (*model.inputs, *(state.input for state in model.states))
    with np.errstate(all="ignore"):
        values = {tensor.name: _wide(tensor.data) for tensor in model.constants() if tensor.data is not None}
        values |= {name: _wide(inputs[name]) for name in given}
        for node in model.nodes:
            arguments = [values[name] for name in node.inputs]
            results = OPS[node.op].evaluate(arguments, node.attributes)
            values |= dict(zip(node.outputs, results, strict=True))
    return values


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
