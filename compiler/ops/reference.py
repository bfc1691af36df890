"""
The model computed by NumPy in float64, node by node: what "right" means for passes and predictors.
"""

from collections.abc import Collection, Mapping

import numpy as np

from compiler.ir import Model
from compiler.ops import OPS, Array


def evaluate(model: Model, inputs: Mapping[str, Array], wanted: Collection[str] | None = None) -> dict[str, Array]:
    """
    Tensors of the model for these inputs.

    Args:
        model: a legal model.
        inputs: an array for each input and each state, first dimension the batch. Floating values are computed in
            float64.
        wanted: the tensors that are given back, all unless they are named. The others take memory as long as something
            reads them: those of a large model are more than the model.

    Returns:
        Tensor name to value: float64 for all floating tensors, int64 for indices.
    """
    given = (*model.inputs, *(state.input for state in model.states))
    last = {name: number for number, node in enumerate(model.nodes) for name in node.inputs}
    with np.errstate(all="ignore"):
        values = {name: _wide(inputs[name]) for name in given}
        for number, node in enumerate(model.nodes):
            for name in node.inputs:
                if name not in values:
                    values[name] = _constant(model, name)
            arguments = [values[name] for name in node.inputs]
            results = OPS[node.op].evaluate(arguments, node.attributes)
            values |= dict(zip(node.outputs, results, strict=True))
            del arguments
            for name in {*node.inputs, *node.outputs} if wanted is not None else ():
                if last.get(name, number) == number and name not in (wanted or ()):
                    del values[name]
    names = [tensor.name for tensor in model.constants()] if wanted is None else wanted
    return values | {name: _constant(model, name) for name in names if name not in values}


def _constant(model: Model, name: str) -> Array:
    data = model.tensors[name].data
    assert data is not None
    return _wide(data)


def _wide(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array
