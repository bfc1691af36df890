"""
The bare network in the forms that the peers take.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.network import FORBIDDEN, Convolution, Floats, Layer, Network, Recurrent

TORCH_GATES, ONNX_GATES = "ifgo", "iofg"
"""The orders in which the gates of an LSTM lie side by side: input, forget, output, and the cell's new content g."""

Dimensions = Sequence[int | str]


def onnx_model(network: Network, shape: tuple[int, ...]) -> bytes:
    """
    The network as an ONNX file: input `x` (batch, ...), for masked ones also `mask` (batch, choices), output `action`.

    Args:
        network: what to compute.
        shape: of one observation.

    Raises:
        ImportError: onnx is missing.
    """
    graph = _Graph()
    graph.receive("x", np.float32, ["batch", *shape])
    _append_network(graph, network, "x", image=len(shape) > 1)
    return graph.file()


def recurrent_onnx_model(recurrent: Recurrent) -> bytes:
    """
    One step of a recurrent network as an ONNX file, the batch of observations the only one of a sequence.

    Inputs: `x` (1, batch, features), and the states `h` and `c`, (1, batch, units). Outputs: `action`, `next_h`,
    `next_c`.

    Raises:
        ImportError: onnx is missing.
    """
    graph, units = _Graph(), recurrent.units
    layers = (recurrent.entering, recurrent.feedback)
    graph.receive("x", np.float32, [1, "batch", recurrent.entering.weight.shape[1]])
    for name in ("h", "c"):
        graph.receive(name, np.float32, [1, "batch", units])
    weights = [graph.constant(f"gates{number}", _gates(layer.weight)) for number, layer in enumerate(layers)]
    bias = graph.constant("gates", np.concatenate([_gates(layer.bias) for layer in layers], axis=1))
    graph.append("LSTM", ["x", *weights, bias, "", "h", "c"], ["", "next_h", "next_c"], hidden_size=units)
    _append_network(graph, recurrent.network, graph.append("Flatten", ["next_h"], ["latent"], axis=2))
    for name in ("next_h", "next_c"):
        graph.give(name, np.float32, [1, "batch", units])
    return graph.file()


def _gates(values: Floats) -> Floats:
    """
    The weight or the bias of an LSTM in ONNX's order of gates, with an axis of one direction in front.
    """
    blocks = dict(zip(TORCH_GATES, np.split(values, len(TORCH_GATES)), strict=True))
    return np.concatenate([blocks[gate] for gate in ONNX_GATES])[np.newaxis]


def _append_network(graph: "_Graph", network: Network, last: str, image: bool = False) -> None:
    for number, layer in enumerate(network.layers):
        bias = graph.constant(f"bias{number}", layer.bias)
        if isinstance(layer, Convolution):
            weight, strides = graph.constant(f"weight{number}", layer.weight), [layer.stride, layer.stride]
            last = graph.append("Conv", [last, weight, bias], [f"layer{number}"], strides=strides)
        else:
            last, image = graph.append("Flatten", [last], [f"flat{number}"]) if image else last, False
            weight = graph.constant(f"weight{number}", layer.weight.T)
            last = graph.append("Gemm", [last, weight, bias], [f"layer{number}"])
        if layer.activation:
            last = graph.append(layer.activation.capitalize(), [last], [f"active{number}"])
    _append_action(graph, network, last)


def _append_action(graph: "_Graph", network: Network, last: str) -> None:
    """
    The way from the last layer to the action.
    """
    outputs = network.layers[-1].bias.size
    if network.masked:
        graph.receive("mask", np.bool_, ["batch", outputs])
        last = graph.append("Where", ["mask", last, graph.constant("forbidden", FORBIDDEN)], ["allowed"])
    if network.low is None or network.high is None:
        graph.append("ArgMax", [last], ["action"], axis=1, keepdims=0)
        graph.give("action", np.int64, ["batch"])
        return
    if network.clipped:
        last = graph.append("Max", [last, graph.constant("low", network.low)], ["bounded"])
        graph.append("Min", [last, graph.constant("high", network.high)], ["action"])
    else:
        half = np.float32(0.5) * (network.high - network.low)
        last = graph.append("Mul", [last, graph.constant("half", half)], ["scaled"])
        graph.append("Add", [last, graph.constant("middle", network.low + half)], ["action"])
    graph.give("action", np.float32, ["batch", outputs])


class _Graph:
    """
    An ONNX graph under construction.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def constant(self, name: str, value: NDArray[np.float32] | np.float32) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.asarray(value, np.float32, order="C"), name))
        return name

    def append(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        """
        A node; returns its first output.
        """
        from onnx import helper

        self._nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def receive(self, name: str, dtype: type[np.generic], shape: Dimensions) -> None:
        self._inputs.append(self._declared(name, dtype, shape))

    def give(self, name: str, dtype: type[np.generic], shape: Dimensions) -> None:
        self._outputs.append(self._declared(name, dtype, shape))

    def file(self) -> bytes:
        """
        The graph as a checked file.
        """
        import onnx
        from onnx import helper

        graph = helper.make_graph(self._nodes, "network", self._inputs, self._outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data

    @staticmethod
    def _declared(name: str, dtype: type[np.generic], shape: Dimensions) -> Any:
        from onnx import helper

        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def torch_module(network: Network) -> Any:
    """
    The network as a torch module in evaluation mode.

    Raises:
        ImportError: torch is missing.
    """
    import torch

    class Head(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            if network.low is not None and network.high is not None:
                self.register_buffer("low", torch.from_numpy(network.low.copy()))
                self.register_buffer("width", torch.from_numpy(network.high - network.low))

        def forward(self, x: Any) -> Any:
            if network.low is None:
                return x.argmax(dim=1)
            if network.clipped:
                return x.clamp(self.low, self.low + self.width)
            return self.low + 0.5 * (x + 1.0) * self.width

    modules: list[Any] = []
    image = isinstance(network.layers[0], Convolution)
    for layer in network.layers:
        if image and isinstance(layer, Layer):
            modules.append(torch.nn.Flatten())
            image = False
        module = _torch_layer(layer)
        module.weight.data = torch.from_numpy(layer.weight.copy())
        module.bias.data = torch.from_numpy(layer.bias.copy())
        modules.append(module)
        if layer.activation:
            modules.append({"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[layer.activation]())
    return torch.nn.Sequential(*modules, Head()).eval().requires_grad_(False)


def _torch_layer(layer: Layer | Convolution) -> Any:
    import torch

    outputs, inputs, *window = layer.weight.shape
    if isinstance(layer, Convolution):
        return torch.nn.Conv2d(inputs, outputs, window, layer.stride)
    return torch.nn.Linear(inputs, outputs)
