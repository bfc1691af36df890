"""
How frontends put a graph together: constants and nodes by name, shapes inferred, names made unique.
"""

import numpy as np

from compiler.ir import Attribute, DType, Node, Shape, Tensor
from compiler.ops import OPS, Array
from compiler.ops.indices import SAME_VALUES


class GraphBuilder:
    """
    Collects tensors and nodes in the order in which they are added; `nodes` and `tensors` go into a Model.

    Attributes:
        bytes: the tensors that hold the values of inputs of uint8, none of which is below 0.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.bytes: set[str] = set()

    def input(self, name: str, dtype: DType, shape: Shape) -> str:
        """
        Declares a tensor that the caller gives; returns its name.
        """
        if dtype is DType.UINT8:
            self.bytes.add(name)
        return self._declare(Tensor(name, dtype, shape))

    def constant(self, name: str, data: Array) -> str:
        """
        Declares a constant under its name in the checkpoint; returns the name. The same name twice is one constant.
        """
        known = self.tensors.get(name)
        if known is not None and known.data is data:
            return name
        return self._declare(Tensor.constant(name, np.asarray(data)))

    def add(self, op: str, inputs: list[str], name: str, **attributes: Attribute) -> str:
        """
        Adds a node with one result; attributes that are not given have the row's defaults.

        Returns:
            The name of the result's tensor, which is the node's name, made unique.

        Raises:
            UnsupportedError: if the op cannot take these inputs or attributes.
        """
        (result,) = self.add_all(op, inputs, name, **attributes)
        return result

    def add_all(self, op: str, inputs: list[str], name: str, **attributes: Attribute) -> tuple[str, ...]:
        """
        Adds a node with several results; returns the names of their tensors.
        """
        row = OPS[op]
        complete = row.complete(attributes)
        kinds = row.infer([self.tensors[key] for key in inputs], complete)
        results = tuple(self._declare(Tensor(self._unused(name), kind.dtype, kind.shape)) for kind in kinds)
        self.nodes.append(Node(op, name, tuple(inputs), results, complete))
        if op in (*SAME_VALUES, "cast") and inputs[0] in self.bytes:
            self.bytes.update(results)
        return results

    def _declare(self, tensor: Tensor) -> str:
        if tensor.name in self.tensors:
            raise ValueError(f"tensor {tensor.name!r} is declared twice")
        self.tensors[tensor.name] = tensor
        return tensor.name

    def _unused(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self.tensors:
            candidate, number = f"{name}:{number}", number + 1
        return candidate
