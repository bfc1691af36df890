"""
Policies on images, made on the spot: convolutions, then fully connected layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.ir import BATCH, Box, Discrete, DType, Model, Origin, Output, Policy
from compiler.ops.builder import GraphBuilder


@dataclass(frozen=True)
class Layer:
    """
    A convolution and the activation after it, empty for none.
    """

    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "relu"


NATURE = (Layer(32, (8, 8), (4, 4)), Layer(64, (4, 4), (2, 2)), Layer(64, (3, 3)))
"""The convolutions of SB3's NatureCNN."""


class ImageGraph(GraphBuilder):
    """
    A builder whose layers have random weights and biases.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def convolution(self, source: str, layer: Layer, name: str) -> str:
        channels = self.tensors[source].fixed_shape[0]
        shape = layer.filters, channels, *layer.kernel
        weight = self.rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        inputs = [source, self._constant(f"{name}.weight", weight), self.bias(name, layer.filters)]
        settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        result = self.add("conv2d", inputs, name, **settings)
        return self.add(layer.activation, [result], f"{name}.{layer.activation}") if layer.activation else result

    def linear(self, source: str, name: str, outputs: int) -> str:
        inputs = self.tensors[source].elements
        weight = self.rng.normal(size=(outputs, inputs)) * np.sqrt(2 / inputs)
        return self.add("linear", [source, self._constant(f"{name}.weight", weight), self.bias(name, outputs)], name)

    def bias(self, name: str, size: int) -> str:
        return self._constant(f"{name}.bias", self.rng.normal(size=size) * 0.1)

    def _constant(self, name: str, values: np.ndarray) -> str:
        return self.constant(name, values.astype(np.float32))


def image_model(graph: ImageGraph, scores: str, shape: Sequence[int]) -> Model:
    """
    The policy on images of `shape` that takes the action with the largest score.
    """
    box = Box(DType.UINT8, np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8))
    action = graph.add("argmax", [scores], "mode")
    return Model(
        name="images",
        nodes=tuple(graph.nodes),
        tensors=graph.tensors,
        inputs=("observation",),
        outputs=(Output("action", action, "action"), Output("q_values", scores, "scores")),
        origin=Origin("images.zip", "0" * 64, "sb3-zip"),
        policy=Policy("CnnPolicy", box, Discrete(graph.tensors[scores].elements)),
    )


def image_policy(
    shape: tuple[int, int, int],
    layers: Sequence[Layer] = NATURE,
    hidden: Sequence[int] = (16,),
    outputs: int = 3,
    *,
    divisor: float = 255.0,
    seed: int = 0,
) -> Model:
    """
    A policy on images (channels, height, width) as a frontend would have it.
    """
    graph = ImageGraph(seed)
    result = graph.add(
        "divide", [graph.input("observation", DType.FLOAT32, (BATCH, *shape))], "scaled", divisor=divisor
    )
    for number, layer in enumerate(layers):
        result = graph.convolution(result, layer, f"cnn.{2 * number}")
    result = graph.add("flatten", [result], "flatten")
    for number, width in enumerate(hidden):
        result = graph.add("relu", [graph.linear(result, f"linear.{number}", width)], f"relu.{number}")
    return image_model(graph, graph.linear(result, "q_net", outputs), shape)
