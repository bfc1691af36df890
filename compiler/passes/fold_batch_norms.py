"""
Normalises weights once instead of features again and again.
"""

from dataclasses import dataclass, replace

import numpy as np

from compiler.ir import Model, Node
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.passes.constants import Constants

LARGEST_OFFSET = 4.0
"""
The largest distance of a mean from 0, in deviations, at which a batch norm becomes part of the layer after it.

Where the mean m is d deviations from 0, that layer's sum of (x - m) w turns into the difference of x w and m w, which
are both about d times as large, and so is what float32 rounds off: up to two of its 24 bits at 4.
"""


def fold_batch_norms(model: Model, options: BuildOptions) -> Model:
    """
    Makes each `batch_norm` part of the `linear` before it, or of all those after it, or else an `affine`.

    What becomes of weights is computed in float64 and rounded once. Folding into the layer before costs no precision.
    Folding into the layers after it does where means are far from 0, see `LARGEST_OFFSET`.
    """
    folding = _Folding(model)
    for node in model.nodes:
        if node.op == "batch_norm":
            folding.fold(node)
    return folding.constants.result([node for node in folding.nodes.values() if node is not None])


@dataclass(frozen=True)
class _Statistics:
    """
    A batch norm as (x - mean) * scale + bias, in float64.
    """

    mean: Array
    scale: Array
    bias: Array
    offset: float
    """The largest distance of a mean from 0, in deviations."""

    @classmethod
    def of(cls, node: Node, constants: Constants) -> "_Statistics":
        mean, variance, scale, bias = (array.astype(np.float64) for array in constants.data(node))
        epsilon = node.attributes["epsilon"]
        assert isinstance(epsilon, float)
        with np.errstate(all="ignore"):
            deviation = np.sqrt(variance + epsilon)
            return cls(mean, scale / deviation, bias, float(np.max(np.abs(mean) / deviation)))


class _Folding:
    """
    The nodes of a model, by what they compute first, while batch norms become part of others or `affine`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = Constants(model)
        self.nodes: dict[str, Node | None] = {node.outputs[0]: node for node in model.nodes}

    def fold(self, node: Node) -> None:
        """
        Takes away or turns one batch norm.
        """
        statistics = _Statistics.of(node, self.constants)
        if not self._fold_back(node, statistics) and not self._fold_ahead(node, statistics):
            arrays = [statistics.mean, statistics.scale, statistics.bias]
            mean, _, scale, bias = node.inputs[1:]
            names = self.constants.replace([mean, scale, bias], [_rounded(array) for array in arrays], "folded")
            self.nodes[node.outputs[0]] = replace(node, op="affine", inputs=(node.inputs[0], *names), attributes={})

    def _fold_back(self, node: Node, statistics: _Statistics) -> bool:
        """
        Scales the outputs of the layer before, if only this batch norm needs them; whether that could be done.
        """
        source, result = node.inputs[0], node.outputs[0]
        layer = self.nodes.get(source)
        if layer is None or layer.op != "linear" or self._readers(source) != [node]:
            return False
        weight, bias = self._arrays(layer)
        with np.errstate(all="ignore"):
            bias = (bias - statistics.mean) * statistics.scale + statistics.bias
            folded = [_rounded(weight * statistics.scale[:, None]), _rounded(bias)]
        if not all(np.isfinite(array).all() for array in folded):
            return False
        names = self.constants.replace(layer.inputs[1:], folded, "folded")
        self.nodes[source] = None
        self.nodes[result] = replace(layer, inputs=(layer.inputs[0], *names), outputs=node.outputs)
        return True

    def _fold_ahead(self, node: Node, statistics: _Statistics) -> bool:
        """
        Scales the inputs of the layers after, if these alone need them; whether that could be done.
        """
        result = node.outputs[0]
        readers = self._readers(result)
        layers = [reader for reader in readers if reader is not None and reader.op == "linear"]
        if not layers or len(layers) < len(readers) or not statistics.offset <= LARGEST_OFFSET:
            return False
        folded = [self._scaled(layer, statistics) for layer in layers]
        if not all(np.isfinite(array).all() for arrays in folded for array in arrays):
            return False
        self.nodes[result] = None
        for layer, arrays in zip(layers, folded, strict=True):
            names = self.constants.replace(layer.inputs[1:], arrays, "folded")
            self.nodes[layer.outputs[0]] = replace(layer, inputs=(node.inputs[0], *names))
        return True

    def _scaled(self, layer: Node, statistics: _Statistics) -> list[Array]:
        weight, bias = self._arrays(layer)
        with np.errstate(all="ignore"):
            shift = weight @ (statistics.bias - statistics.mean * statistics.scale)
            return [_rounded(weight * statistics.scale), _rounded(bias + shift)]

    def _arrays(self, layer: Node) -> list[Array]:
        """
        Weight and bias of a layer as they are by now, in float64.
        """
        found = [self.constants.tensors[name].data for name in layer.inputs[1:]]
        return [data.astype(np.float64) for data in found if data is not None]

    def _readers(self, name: str) -> list[Node | None]:
        """
        The nodes that read a tensor, as they are by now, and None if it is a result.
        """
        found: list[Node | None] = [node for node in self.nodes.values() if node is not None and name in node.inputs]
        return [*found, None] if self.model.is_result(name) else found


def _rounded(array: Array) -> Array:
    with np.errstate(all="ignore"):
        return array.astype(np.float32)
