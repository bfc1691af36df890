"""
The bare network of a policy, as the peers run it: fully connected layers, then the way from the last to the action.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.pipeline import stages

Floats = NDArray[np.float32]
ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Layer:
    """
    A fully connected layer: weight (outputs, inputs), bias (outputs,), and what follows it.
    """

    weight: Floats
    bias: Floats
    activation: str = ""


@dataclass(frozen=True)
class Network:
    """
    The layers, and bounds that a squashed action is rescaled to; without bounds the action is the largest output.
    """

    layers: tuple[Layer, ...]
    low: Floats | None = None
    high: Floats | None = None

    @property
    def multiply_adds(self) -> int:
        """
        For one observation.
        """
        return sum(layer.weight.size for layer in self.layers)

    def run(self, rows: Floats) -> NDArray[Any]:
        """
        The actions for a batch, in plain NumPy.
        """
        x = rows
        for layer in self.layers:
            x = x @ layer.weight.T + layer.bias
            if layer.activation == "tanh":
                x = np.tanh(x)
            elif layer.activation == "relu":
                x = np.maximum(x, 0)
        if self.low is None or self.high is None:
            return np.asarray(np.argmax(x, axis=1))
        return np.asarray(self.low + np.float32(0.5) * (x + 1) * (self.high - self.low))


def network_of(model: Model) -> Network:
    """
    The network of a model as a frontend read it: a chain of layers that ends in an argmax or in tanh and rescaling.
    """
    chain = dict(stages(model, BuildOptions()))["drop_unused"]
    layers: list[Layer] = []
    low = high = None
    for node in chain.nodes:
        constants = [
            np.asarray(data, np.float32) for name in node.inputs if (data := chain.tensors[name].data) is not None
        ]
        if node.op == "linear":
            weight, bias = constants
            layers.append(Layer(weight, bias))
        elif node.op in ACTIVATIONS:
            layers[-1] = replace(layers[-1], activation=node.op)
        elif node.op == "rescale":
            low, high = constants
        elif node.op not in ("flatten", "argmax"):
            raise ValueError(f"the peers have no {node.op}")
    return Network(tuple(layers), low, high)


def onnx_model(network: Network) -> bytes:
    """
    The network as an ONNX file: input `x` (batch, features), output `action`.

    Raises:
        ImportError: onnx is missing.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: Floats) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    last = "x"
    for number, layer in enumerate(network.layers):
        inputs = [last, constant(f"weight{number}", layer.weight.T), constant(f"bias{number}", layer.bias)]
        last = f"layer{number}"
        nodes.append(helper.make_node("Gemm", inputs, [last]))
        if layer.activation:
            nodes.append(helper.make_node(layer.activation.capitalize(), [last], [f"active{number}"]))
            last = f"active{number}"
    kind, shape = TensorProto.FLOAT, ["batch", network.layers[-1].bias.size]
    if network.low is None or network.high is None:
        nodes.append(helper.make_node("ArgMax", [last], ["action"], axis=1, keepdims=0))
        kind, shape = TensorProto.INT64, ["batch"]
    else:
        half = np.float32(0.5) * (network.high - network.low)
        nodes.append(helper.make_node("Mul", [last, constant("half", half)], ["scaled"]))
        nodes.append(helper.make_node("Add", ["scaled", constant("middle", network.low + half)], ["action"]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", network.layers[0].weight.shape[1]])],
        [helper.make_tensor_value_info("action", kind, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


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
            return self.low + 0.5 * (x + 1.0) * self.width

    modules: list[Any] = []
    for layer in network.layers:
        linear = torch.nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
        linear.weight.data = torch.from_numpy(layer.weight.copy())
        linear.bias.data = torch.from_numpy(layer.bias.copy())
        modules.append(linear)
        if layer.activation:
            modules.append({"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[layer.activation]())
    return torch.nn.Sequential(*modules, Head()).eval().requires_grad_(False)
