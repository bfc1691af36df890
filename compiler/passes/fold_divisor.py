"""
Divides weights once instead of images again and again.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from compiler.ir import Model, Node
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.passes.constants import Constants, readers_of


def fold_divisor(model: Model, options: BuildOptions) -> Model:
    """
    Makes the divisor of images part of the weights of the layers that read them: of `conv2d` and `linear`.

    (x / 255) w and x (w / 255) are equal but for rounding: of three factors another one is rounded, by one part in
    2 ** 24 at most either way. Zeros around an image are the same divided or not, NaN and infinity stay what they are.
    A divisor that would push a weight out of the range of normal numbers stays where it is, and so does one whose
    result something else reads too.
    """
    folding = _Folding(model)
    for node in reversed(model.nodes):
        if node.op == "divide":
            folding.fold(node)
    return folding.result()


class _Folding:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = Constants(model)
        self.readers = readers_of(model)
        self.layers: dict[str, Node] = {}
        """The layers with other weights, by their results."""
        self.dropped: dict[str, str] = {}
        """The results of divisions that there are no more, and what was divided."""

    def fold(self, node: Node) -> None:
        """
        Drops one division, if all layers that read its result can take it.
        """
        divisor, result = node.attributes["divisor"], node.outputs[0]
        assert isinstance(divisor, float)
        readers = [*self._layers(result)]
        layers = [self.layers.get(layer.outputs[0], layer) for layer in readers if layer is not None]
        divided = [self._divided(layer, divisor) for layer in layers]
        weights = [weight for weight in divided if weight is not None]
        if not readers or len(weights) < len(readers):
            return
        self.dropped[result] = node.inputs[0]
        for layer, weight in zip(layers, weights, strict=True):
            source, name, bias = layer.inputs
            inputs = (source, *self.constants.replace([name], [weight], "divided"), bias)
            self.layers[layer.outputs[0]] = replace(layer, inputs=inputs)

    def _layers(self, name: str) -> Iterator[Node | None]:
        """
        The layers that read a tensor, flattened or not; None for whatever else needs it.
        """
        if self.model.is_result(name):
            yield None
        for node in self.readers.get(name, []):
            if node.op == "flatten" or node.outputs[0] in self.dropped:
                yield from self._layers(node.outputs[0])
            else:
                yield node if node.op in ("conv2d", "linear") else None

    def _divided(self, layer: Node, divisor: float) -> Array | None:
        """
        The weight over the divisor; None if float32 can't hold all of it.
        """
        weight = self.constants.tensors[layer.inputs[1]].data
        if weight is None:
            return None
        with np.errstate(all="ignore"):
            result: Array = (weight.astype(np.float64) / divisor).astype(np.float32)
        before = np.isfinite(weight) & (weight != 0)
        after = np.isfinite(result) & (np.abs(result) >= np.finfo(np.float32).tiny)
        return result if np.isfinite(divisor) and np.array_equal(before, after) else None

    def result(self) -> Model:
        """
        The model as it is by now.
        """
        nodes = [node for node in self.model.nodes if node.outputs[0] not in self.dropped]
        nodes = [self.layers.get(node.outputs[0], node) for node in nodes]
        return self.constants.result([replace(node, inputs=tuple(map(self._undivided, node.inputs))) for node in nodes])

    def _undivided(self, name: str) -> str:
        while name in self.dropped:
            name = self.dropped[name]
        return name
