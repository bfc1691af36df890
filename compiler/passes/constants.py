"""
What passes that rewrite weights share: constants are replaced in their place, unless others read them too.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from compiler.errors import UnsupportedError, quote
from compiler.ir import Model, Node, Tensor
from compiler.ops import Array


class Constants:
    """
    The tensors of a model while a pass rewrites some of its constants.

    Attributes:
        tensors: all tensors, as they are by now.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.tensors = dict(model.tensors)
        self._uses = uses(model)

    def data(self, node: Node) -> list[Array]:
        """
        The constants that a layer reads after its first input.

        Raises:
            UnsupportedError: if they are computed.
        """
        found = [self.model.tensors[name].data for name in node.inputs[1:]]
        if any(data is None for data in found):
            raise UnsupportedError(node.op, f"layer {quote(node.name)}: weight and bias must be constants")
        return [data for data in found if data is not None]

    def replace(self, names: Sequence[str], arrays: Sequence[Array], suffix: str) -> tuple[str, ...]:
        """
        Puts arrays in the place of constants; those that something else reads too stay, with another beside them.

        Args:
            names: the constants.
            arrays: their new values, of any shape.
            suffix: what a name that is needed beside the old one ends with.

        Returns:
            The names of the new constants.
        """
        new = []
        for name, data in zip(names, arrays, strict=True):
            new.append(name if self._uses[name] <= 1 else self.unused(f"{name}:{suffix}"))
            self.tensors[new[-1]] = Tensor.constant(new[-1], data)
        return tuple(new)

    def unused(self, name: str) -> str:
        """
        The name, or the name with a number, that no tensor has.
        """
        candidate, number = name, 2
        while candidate in self.tensors or candidate in self.model.tensors:
            candidate, number = f"{name}:{number}", number + 1
        return candidate

    def result(self, nodes: Sequence[Node]) -> Model:
        """
        The model with these nodes, without the tensors that only the nodes before had a use for.
        """
        graph = tuple(nodes)
        after = uses(self.model.with_graph(graph, self.tensors))
        computed = {name for node in self.model.nodes for name in node.outputs}
        still = {name for node in graph for name in node.outputs}
        gone = (self._uses.keys() - after.keys() - still - {*self.model.inputs}) | (computed - still)
        return self.model.with_graph(graph, {key: value for key, value in self.tensors.items() if key not in gone})


def readers_of(model: Model) -> dict[str, list[Node]]:
    """
    The nodes that read each tensor, in order.
    """
    found: dict[str, list[Node]] = {}
    for node in model.nodes:
        for name in dict.fromkeys(node.inputs):
            found.setdefault(name, []).append(node)
    return found


def uses(model: Model) -> Counter[str]:
    """
    How often each tensor is read, by nodes, as a result or as a state.
    """
    states = [(state.input, state.output, state.initial) for state in model.states]
    results = [output.tensor for output in model.outputs]
    return Counter(chain(*(node.inputs for node in model.nodes), *states, results))
