"""
Moves reshapes behind what computes element by element, and joins those that then meet.
"""

from dataclasses import replace

from compiler.ir import Model, Node, Tensor
from compiler.ops import OPS
from compiler.options import BuildOptions
from compiler.passes.constants import Constants
from compiler.passes.lower_layers import reshape

LAYERS = ("conv", "conv2d", "convolution", "winograd", "pool2d", "linear", "linear_over", "dense", "dense_over")
"""Layers whose results are best combined in the shape that they have: what follows may become part of them."""
TOGETHER = ("plus", "minus", "times", "over", "largest_of", "least_of")
"""Ops of two tensors that compute each element from the elements at its place."""


def sink_reshapes(model: Model, options: BuildOptions) -> Model:
    """
    Lets an element-wise node follow the layer that computes its input, where only a `reshape` is between them.

    One of two tensors of one shape does too; the other tensor is reshaped before it instead.
    Of reshapes in a row the last remains; one that changes nothing disappears.
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
        self.results = model.outputs
        self.computed: set[str] = set()
        self.layered: set[str] = set()
        """The results of layers, and what is made of them element by element."""

    def result(self) -> Model:
        for node in self.model.nodes:
            self._add(replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs)))
        found = self.constants.result(self._needed())
        if self.results == self.model.outputs:
            return found
        kept = {output.tensor for output in self.results}
        renamed = {output.tensor for output in self.model.outputs} - kept
        tensors = {key: tensor for key, tensor in found.tensors.items() if key not in renamed}
        return replace(found, tensors=tensors, outputs=self.results)

    def _add(self, node: Node) -> None:
        source = node.inputs[0]
        origin = self.origins.get(source, source)
        if node.op == "reshape":
            self._reshape(node, origin)
        elif OPS[node.op].elementwise and origin != source:
            self._sink(node, (origin,), origin)
        elif node.op in TOGETHER and (layer := self._layer(node)):
            self._sink(node, tuple(self._as(layer, name) for name in node.inputs), layer)
        else:
            self._keep(node)

    def _layer(self, node: Node) -> str:
        """
        The result of a layer that only reshapes divide from a node of two tensors of one shape; empty without one.
        """
        shapes = [self._shape(name) for name in node.inputs]
        computed = all(self.constants.tensors[name].data is None for name in node.inputs)
        if not computed or any(shape != self._shape(node.outputs[0]) for shape in shapes):
            return ""
        origins = [self.origins.get(name, name) for name in node.inputs]
        layers = [origin for origin in origins if origin in self.layered]
        return layers[0] if layers and not any(name in layers for name in node.inputs) else ""

    def _keep(self, node: Node) -> None:
        self.nodes.append(node)
        self.computed.update(node.outputs)
        follows = OPS[node.op].elementwise or node.op in TOGETHER
        if node.op in LAYERS or (follows and not self.layered.isdisjoint(node.inputs)):
            self.layered.update(node.outputs)

    def _as(self, layer: str, name: str) -> str:
        """
        A tensor with the elements of another and the shape of a layer's result.
        """
        origin, shape = self.origins.get(name, name), self._shape(layer)
        if self._shape(origin) == shape:
            return origin
        early = self.constants.unused(f"{name}:early")
        self.constants.tensors[early] = Tensor(early, self.constants.tensors[name].dtype, shape)
        self._reshape(reshape(name, origin, early, shape), origin)
        return early

    def _reshape(self, node: Node, origin: str) -> None:
        (result,) = node.outputs
        self.origins[result] = origin
        if self._shape(origin) == self._shape(result) and (not self.model.is_result(result) or self._renamed(result)):
            self.same[result] = origin
            return
        self._keep(replace(node, inputs=(origin,)))

    def _renamed(self, result: str) -> bool:
        """
        Lets the output that is a tensor be the tensor that has the same elements, if that is no output and no input.
        """
        origin = self.origins[result]
        computed = origin in self.computed
        taken = any(output.tensor == origin for output in self.results) or self.model.is_result(origin)
        if not computed or taken or any(state.output == result for state in self.model.states):
            return False
        if sum(output.tensor == result for output in self.results) != 1:
            return False
        self.results = tuple(
            replace(output, tensor=origin) if output.tensor == result else output for output in self.results
        )
        return True

    def _sink(self, node: Node, inputs: tuple[str, ...], origin: str) -> None:
        """
        Computes a node with the shape that one of its inputs had first, and reshapes the result.
        """
        (result,) = node.outputs
        early = self.constants.unused(f"{result}:early")
        kind = self.constants.tensors[result]
        self.constants.tensors[early] = Tensor(early, kind.dtype, self._shape(origin))
        self._keep(replace(node, inputs=inputs, outputs=(early,)))
        self._reshape(reshape(node.name, early, result, kind.shape), early)

    def _shape(self, name: str) -> tuple[int | str, ...]:
        return self.constants.tensors[name].shape

    def _needed(self) -> list[Node]:
        """
        The nodes without reshapes that nothing reads.
        """
        needed = {output.tensor for output in self.results} | {state.output for state in self.model.states}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.op != "reshape" or not needed.isdisjoint(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        return kept[::-1]
