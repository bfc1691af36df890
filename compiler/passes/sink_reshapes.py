"""
Moves reshapes behind what computes element by element, and joins those that then meet.
"""

from dataclasses import replace

from compiler.ir import Model, Node, Tensor
from compiler.ops import OPS
from compiler.options import BuildOptions
from compiler.passes.constants import Constants
from compiler.passes.lower_layers import reshape


def sink_reshapes(model: Model, options: BuildOptions) -> Model:
    """
    Lets an element-wise node follow the layer that computes its input, where only a `reshape` is between them.

    Of reshapes in a row the last remains; one that changes nothing disappears, unless an output has its name.
    """
    if all(node.op != "reshape" for node in model.nodes):
        return model
    return _Sinking(model).result()


class _Sinking:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = Constants(model)
        self.nodes: list[Node] = []
        self.origins: dict[str, str] = {}
        """For each result of a reshape: the tensor that has its elements and that no reshape has made."""
        self.same: dict[str, str] = {}
        """Tensors in whose place another one of the same shape is read."""

    def result(self) -> Model:
        for node in self.model.nodes:
            self._add(replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs)))
        return self.constants.result(self._needed())

    def _add(self, node: Node) -> None:
        source = node.inputs[0]
        origin = self.origins.get(source, source)
        if node.op == "reshape":
            self._reshape(node, origin)
        elif OPS[node.op].elementwise and origin != source:
            self._sink(node, origin)
        else:
            self.nodes.append(node)

    def _reshape(self, node: Node, origin: str) -> None:
        (result,) = node.outputs
        self.origins[result] = origin
        if self._shape(origin) == self._shape(result) and not self.model.is_result(result):
            self.same[result] = origin
            return
        self.nodes.append(replace(node, inputs=(origin,)))

    def _sink(self, node: Node, origin: str) -> None:
        """
        Computes a node with its input's first shape, and reshapes the result.
        """
        (result,) = node.outputs
        early = self.constants.unused(f"{result}:early")
        kind = self.constants.tensors[result]
        self.constants.tensors[early] = Tensor(early, kind.dtype, self._shape(origin))
        self.nodes.append(replace(node, inputs=(origin,), outputs=(early,)))
        self._reshape(reshape(node.name, early, result, kind.shape), early)

    def _shape(self, name: str) -> tuple[int | str, ...]:
        return self.constants.tensors[name].shape

    def _needed(self) -> list[Node]:
        """
        The nodes without reshapes that nothing reads.
        """
        needed = {output.tensor for output in self.model.outputs} | {state.output for state in self.model.states}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.op != "reshape" or not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        return kept[::-1]
