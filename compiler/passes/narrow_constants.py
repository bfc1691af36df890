"""
Stores whole numbers and truth values as what kernels compute with.
"""

import numpy as np

from compiler.ir import DType, Model, Node, Tensor
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def narrow_constants(model: Model, options: BuildOptions) -> Model:
    """
    Turns each constant of a general model that is no float32 into one, and a `cast` to what it was.
    """
    if model.policy is not None:
        return model
    constants = Constants(model)
    nodes: list[Node] = []
    read = {name for node in model.nodes for name in node.inputs} | {output.tensor for output in model.outputs}
    for tensor in list(model.constants()):
        if tensor.dtype in (DType.INT64, DType.BOOL) and tensor.name in read:
            assert tensor.data is not None
            stored = constants.unused(f"{tensor.name}:stored")
            constants.tensors[stored] = Tensor.constant(stored, tensor.data.astype(np.float32))
            constants.tensors[tensor.name] = Tensor(tensor.name, tensor.dtype, tensor.shape)
            attributes = {"dtype": tensor.dtype.value}
            nodes.append(Node("cast", f"{tensor.name}:cast", (stored,), (tensor.name,), attributes))
    return constants.result([*nodes, *model.nodes]) if nodes else model
