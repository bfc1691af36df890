"""
Looks up the columns of weights that one-hot vectors select, instead of multiplying all of them with 0 or 1.
"""

from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import Model, Node, Tensor
from compiler.ops import Array
from compiler.ops.dense import MOST_CHOICES
from compiler.options import BuildOptions
from compiler.passes.constants import Constants


def look_up_one_hots(model: Model, options: BuildOptions) -> Model:
    """
    Turns linear(one_hot(x)) into lookup(x), also where one-hot vectors are some of the features that are concatenated.

    What else is concatenated goes through a `linear` of its own, to which the rows of the tables are added. One-hot
    vectors of more than `MOST_CHOICES` choices stay, those of anything but a policy's observation, whose range the
    predictor checks, and those whose weights are not finite, of which a product would make NaN.
    """
    looking = _Looking(model)
    for node in model.nodes:
        looking.add(node)
    return model.with_graph(tuple(looking.nodes), looking.constants.tensors)


@dataclass(frozen=True)
class _Part:
    """
    Features that a layer reads: where they begin among all, how many there are, and what computes them.
    """

    name: str
    columns: slice
    one_hot: Node | None
    """None if they are no one-hot vectors that can be looked up."""


class _Looking:
    """
    The nodes and tensors of a model while layers of one-hot vectors are rewritten.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = Constants(model)
        self.nodes: list[Node] = []
        self.makers = {node.outputs[0]: node for node in model.nodes}
        self.joined: dict[tuple[str, ...], str] = {}
        """What has been concatenated already, and the result."""

    def add(self, node: Node) -> None:
        """
        Adds what computes the same as a node: itself, or look-ups.
        """
        parts = self._parts(node.inputs[0]) if node.op == "linear" else []
        one_hots = [part for part in parts if part.one_hot is not None]
        weight = self.model.tensors[node.inputs[1]].data if one_hots else None
        if weight is None or not np.isfinite(weight).all():
            self.nodes.append(node)
            return
        tables = [np.ascontiguousarray(weight[:, part.columns].T) for part in one_hots]
        rest = [part for part in parts if part.one_hot is None]
        if rest:
            kept = np.concatenate([weight[:, part.columns] for part in rest], axis=1)
            names = self.constants.replace(node.inputs[1:2], [kept], "rest")
            result = self._computed(f"{node.outputs[0]}:rest", node.outputs[0])
            inputs = (self._joined([part.name for part in rest]), *names, node.inputs[2])
            self.nodes.append(replace(node, inputs=inputs, outputs=(result,)))
            names = ()
        else:
            result = node.inputs[2]
            names = self.constants.replace(node.inputs[1:2], tables[:1], "table")
        names = (*names, *(self._constant(f"{node.inputs[1]}:table", table) for table in tables[len(names) :]))
        self._look_up(node, one_hots, names, result)

    def _look_up(self, node: Node, one_hots: list[_Part], tables: tuple[str, ...], bias: str) -> None:
        """
        Adds the look-ups of a layer, each of which adds its rows to what those before it gave.
        """
        for number, (part, table) in enumerate(zip(one_hots, tables, strict=True), 1):
            assert part.one_hot is not None
            result = node.outputs[0]
            if number < len(one_hots):
                result = self._computed(f"{result}:{number}", result)
            attributes = {"sizes": part.one_hot.attributes["sizes"], "activation": ""}
            inputs = (part.one_hot.inputs[0], table, bias)
            self.nodes.append(Node("lookup", node.name, inputs, (result,), attributes))
            bias = result

    def _joined(self, names: list[str]) -> str:
        """
        The tensor that has these features side by side.
        """
        if len(names) == 1:
            return names[0]
        key = tuple(names)
        if key not in self.joined:
            first = self.model.tensors[names[0]]
            width = sum(self.model.tensors[name].elements for name in names)
            result = self.constants.unused("concatenated:rest")
            self.constants.tensors[result] = Tensor(result, first.dtype, (first.shape[0], width))
            self.nodes.append(Node("concat", result, key, (result,)))
            self.joined[key] = result
        return self.joined[key]

    def _computed(self, name: str, like: str) -> str:
        """
        Declares a result of the type of another one.
        """
        unused = self.constants.unused(name)
        self.constants.tensors[unused] = replace(self.model.tensors[like], name=unused)
        return unused

    def _constant(self, name: str, data: Array) -> str:
        unused = self.constants.unused(name)
        self.constants.tensors[unused] = Tensor.constant(unused, data)
        return unused

    def _parts(self, name: str) -> list[_Part]:
        """
        What a layer's input is put together of.
        """
        maker = self._maker(name)
        names = maker.inputs if maker is not None and maker.op == "concat" else (name,)
        found, first = [], 0
        for part in names:
            width = self.model.tensors[part].elements
            found.append(_Part(part, slice(first, first + width), self._one_hot(part)))
            first += width
        return found

    def _one_hot(self, name: str) -> Node | None:
        node = self._maker(name)
        if node is None or node.op != "one_hot" or node.inputs[0] not in self.model.inputs:
            return None
        sizes = node.attributes["sizes"]
        assert isinstance(sizes, tuple)
        return node if len(sizes) <= MOST_CHOICES else None

    def _maker(self, name: str) -> Node | None:
        """
        The node that computes features, before they are flattened to the shape that they have.
        """
        node = self.makers.get(name)
        while node is not None and node.op == "flatten" and len(self.model.tensors[node.inputs[0]].shape) == 2:
            node = self.makers.get(node.inputs[0])
        return node
