"""
The bare network of a policy, as the peers run it: layers, then the way from the last to the action.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.ir import Model, Node
from compiler.options import BuildOptions
from compiler.pipeline import stages

Floats = NDArray[np.float32]
ACTIVATIONS = ("tanh", "relu")
AROUND = ("divide", "flatten", "argmax")
"""What peers are spared, or have without being told."""


@dataclass(frozen=True)
class Layer:
    """
    A fully connected layer: weight (outputs, inputs), bias (outputs,), and what follows it.
    """

    weight: Floats
    bias: Floats
    activation: str = ""

    def run(self, x: Floats) -> Floats:
        """
        Before the activation; images are flattened.
        """
        rows = x if x.ndim == 2 else x.reshape(len(x), -1)
        result: Floats = rows @ self.weight.T + self.bias
        return result


@dataclass(frozen=True)
class Convolution:
    """
    A convolution without padding: weight (filters, channels, height, width), bias (filters,), and what follows it.
    """

    weight: Floats
    bias: Floats
    stride: int
    activation: str = ""

    def run(self, x: Floats) -> Floats:
        """
        Before the activation, for images (batch, channels, height, width).
        """
        filters, _, *window = self.weight.shape
        patches = np.lib.stride_tricks.sliding_window_view(x, window, (2, 3))[:, :, :: self.stride, :: self.stride]
        images, _, height, width, *_ = patches.shape
        columns = patches.transpose(0, 2, 3, 1, 4, 5).reshape(images * height * width, -1)
        pixels = (columns @ self.weight.reshape(filters, -1).T + self.bias).reshape(images, height, width, filters)
        return np.asarray(pixels.transpose(0, 3, 1, 2), np.float32)


@dataclass(frozen=True)
class Network:
    """
    The layers, and bounds that a squashed action is rescaled to; without bounds the action is the largest output.
    """

    layers: tuple[Layer | Convolution, ...]
    low: Floats | None = None
    high: Floats | None = None

    def run(self, batch: Floats) -> NDArray[Any]:
        """
        The actions for a batch, in plain NumPy.
        """
        x = batch
        for layer in self.layers:
            x = layer.run(x)
            if layer.activation == "tanh":
                x = np.tanh(x)
            elif layer.activation == "relu":
                x = np.maximum(x, 0)
        if self.low is None or self.high is None:
            return np.asarray(np.argmax(x, axis=1))
        return np.asarray(self.low + np.float32(0.5) * (x + 1) * (self.high - self.low))

    @property
    def multiply_adds(self) -> int:
        """
        For one observation, in fully connected layers.
        """
        return sum(layer.weight.size for layer in self.layers if isinstance(layer, Layer))


def network_of(model: Model) -> Network:
    """
    The network of a model as a frontend read it: a chain of layers that ends in an argmax or in tanh and rescaling.
    """
    chain = dict(stages(model, BuildOptions()))["drop_unused"]
    layers: list[Layer | Convolution] = []
    low = high = None
    for node in _way_to_action(chain):
        constants = [
            np.asarray(data, np.float32) for name in node.inputs if (data := chain.tensors[name].data) is not None
        ]
        if node.op == "linear":
            weight, bias = constants
            layers.append(Layer(weight, bias))
        elif node.op == "conv2d":
            weight, bias = constants
            layers.append(Convolution(weight, bias, _only_stride(node)))
        elif node.op in ACTIVATIONS:
            layers[-1] = replace(layers[-1], activation=node.op)
        elif node.op == "rescale":
            low, high = constants
        elif node.op not in AROUND:
            raise ValueError(f"the peers have no {node.op}")
    return Network(tuple(layers), low, high)


def _way_to_action(model: Model) -> Iterator[Node]:
    """
    The nodes that decide the action, in order: what only draws from a distribution is not among them.
    """
    needed = {output.tensor for output in model.outputs if output.role == "action"}
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    return (node for node in model.nodes if needed.intersection(node.outputs))


def _only_stride(node: Node) -> int:
    """
    The stride of a convolution that has nothing else.
    """
    stride, padding, dilation = (node.attributes[name] for name in ("stride", "padding", "dilation"))
    if not isinstance(stride, tuple) or len(set(stride)) != 1 or padding != (0, 0) or dilation != (1, 1):
        raise ValueError(f"the peers have no convolution with {dict(node.attributes)}")
    return int(stride[0])
