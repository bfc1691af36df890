"""
The bare network of a policy, as the peers run it: layers, then the way from the last to the action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.ir import Model, Node
from compiler.options import BuildOptions
from compiler.pipeline import stages

Floats = NDArray[np.float32]
ACTIVATIONS = ("tanh", "relu")
BOUNDED = ("rescale", "clip")
MASKED = "masked_argmax"
LSTM = ("add", "flatten", "linear", "linear", "lstm_cell", "lstm_hidden", "reset", "reset")
"""What the first LSTM layer of a policy is made of, by name."""
AROUND = ("divide", "flatten", "argmax")
"""What peers are spared, or have without being told."""
FORBIDDEN = np.float32(-1e8)
"""What stands in for the logit of a choice that a mask does not allow, as in sb3-contrib's MaskableCategorical."""


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
    The layers, and the bounds of an action; without bounds the action is the largest output.
    """

    layers: tuple[Layer | Convolution, ...]
    low: Floats | None = None
    high: Floats | None = None
    clipped: bool = False
    """Whether the action is clipped to the bounds; otherwise it was squashed by tanh and is rescaled to them."""
    masked: bool = False
    """Whether a mask says among which outputs the largest is looked for."""

    def run(self, batch: Floats, masks: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """
        The actions for a batch, in plain NumPy.

        Args:
            batch: (batch, ...).
            masks: bool (batch, choices), for masked networks; without them everything is allowed.
        """
        x = self.scores(batch)
        if masks is not None:
            x = np.where(masks, x, FORBIDDEN)
        if self.low is None or self.high is None:
            return np.asarray(np.argmax(x, axis=1))
        if self.clipped:
            return np.asarray(np.clip(x, self.low, self.high))
        return np.asarray(self.low + np.float32(0.5) * (x + 1) * (self.high - self.low))

    def scores(self, batch: Floats) -> Floats:
        """
        What the last layer says, before an action is made of it.
        """
        x = batch
        for layer in self.layers:
            x = layer.run(x)
            if layer.activation == "tanh":
                x = np.tanh(x)
            elif layer.activation == "relu":
                x = np.maximum(x, 0)
        return x

    @property
    def multiply_adds(self) -> int:
        """
        For one observation, in fully connected layers.
        """
        return sum(layer.weight.size for layer in self.layers if isinstance(layer, Layer))


@dataclass(frozen=True)
class Recurrent:
    """
    One LSTM layer and the network after it.

    The gates lie side by side in torch's order: input, forget, cell, output.
    """

    entering: Layer
    """Weight (4 * units, features), bias (4 * units,): what the observation adds to the gates."""
    feedback: Layer
    """Weight (4 * units, units), bias (4 * units,): what the hidden state adds to them."""
    network: Network

    @property
    def units(self) -> int:
        """
        The size of the hidden state, and of the cell state.
        """
        return int(self.feedback.weight.shape[1])


def network_of(model: Model) -> Network:
    """
    The network of a model as a frontend read it: a chain of layers that ends in an argmax, with a mask or without, in
    tanh and rescaling, or in clipping.

    Raises:
        ValueError: the model has something else.
    """
    chain = _simplified(model)
    return _network(chain, _way_to_action(chain))


def recurrent_of(model: Model) -> Recurrent:
    """
    The LSTM of a model as a frontend read it, and the network after it.

    Raises:
        ValueError: the model does not begin with an LSTM layer, or has something else than a network after it.
    """
    chain = _simplified(model)
    nodes = _way_to_action(chain)
    ops = [node.op for node in nodes]
    end = ops.index("lstm_hidden") + 1 if "lstm_hidden" in ops else 0
    if tuple(sorted(ops[:end])) != LSTM:
        raise ValueError(f"the peers begin with an LSTM layer, {model.name} has {' '.join(ops)}")
    linear = [node for node in nodes[:end] if node.op == "linear"]
    # What the observation adds comes first: the hidden state is the one that a beginning episode resets.
    linear.sort(key=lambda node: (before := chain.producer(node.inputs[0])) is not None and before.op == "reset")
    entering, feedback = (_layer(chain, node) for node in linear)
    return Recurrent(entering, feedback, _network(chain, nodes[end:]))


def _simplified(model: Model) -> Model:
    """
    The model before the passes that give it the form our kernels need.
    """
    return dict(stages(model, BuildOptions()))["drop_unused"]


def _network(chain: Model, nodes: Sequence[Node]) -> Network:
    layers: list[Layer | Convolution] = []
    low = high = None
    for node in nodes:
        if node.op == "linear":
            layers.append(_layer(chain, node))
        elif node.op == "conv2d":
            weight, bias = _constants(chain, node)
            layers.append(Convolution(weight, bias, _only_stride(node)))
        elif node.op in ACTIVATIONS:
            layers[-1] = replace(layers[-1], activation=node.op)
        elif node.op in BOUNDED:
            low, high = _constants(chain, node)
        elif node.op not in (*AROUND, MASKED):
            raise ValueError(f"the peers have no {node.op}")
    ops = {node.op for node in nodes}
    return Network(tuple(layers), low, high, clipped="clip" in ops, masked=MASKED in ops)


def _layer(chain: Model, node: Node) -> Layer:
    weight, bias = _constants(chain, node)
    return Layer(weight, bias)


def _constants(chain: Model, node: Node) -> list[Floats]:
    return [np.asarray(data, np.float32) for name in node.inputs if (data := chain.tensors[name].data) is not None]


def _way_to_action(model: Model) -> list[Node]:
    """
    The nodes that decide the action, in order: what only draws from a distribution is not among them.
    """
    needed = {output.tensor for output in model.outputs if output.role == "action"}
    for node in reversed(model.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
    return [node for node in model.nodes if needed.intersection(node.outputs)]


def _only_stride(node: Node) -> int:
    """
    The stride of a convolution that has nothing else.
    """
    stride, padding, dilation = (node.attributes[name] for name in ("stride", "padding", "dilation"))
    if not isinstance(stride, tuple) or len(set(stride)) != 1 or padding != (0, 0) or dilation != (1, 1):
        raise ValueError(f"the peers have no convolution with {dict(node.attributes)}")
    return int(stride[0])
