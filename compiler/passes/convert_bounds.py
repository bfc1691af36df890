"""
Gives the bounds of actions the dtype that they are computed with.
"""

import numpy as np

from compiler.ir import Model, Tensor
from compiler.ops import Array
from compiler.options import BuildOptions


def convert_bounds(model: Model, options: BuildOptions) -> Model:
    """
    Converts bounds of integers or float16 to the dtype of the action, which NumPy promotes them to.

    Rescaling takes their difference before that, in their own dtype: that of int8 bounds may wrap around. The upper
    bound becomes what leads to the same difference.
    """
    tensors = dict(model.tensors)
    for node in model.nodes:
        if node.op not in ("clip", "rescale"):
            continue
        low, high = (model.tensors[name].data for name in node.inputs[1:])
        dtype = model.tensors[node.outputs[0]].dtype.numpy
        if low is None or high is None or low.dtype == dtype:
            continue
        for name, bound in zip(node.inputs[1:], _converted(node.op, low, high, dtype), strict=True):
            tensors[name] = Tensor.constant(name, bound)
    return model.with_graph(model.nodes, tensors)


def _converted(op: str, low: Array, high: Array, dtype: np.dtype[np.generic]) -> tuple[Array, Array]:
    if op == "clip":
        return low.astype(dtype), high.astype(dtype)
    with np.errstate(over="ignore"):
        width = high - low
    return low.astype(dtype), low.astype(dtype) + width.astype(dtype)
