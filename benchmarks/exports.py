"""
The bare network in the forms that the peers take.
"""

from typing import Any

import numpy as np

from benchmarks.network import Convolution, Floats, Layer, Network


def onnx_model(network: Network, shape: tuple[int, ...]) -> bytes:
    """
    The network as an ONNX file: input `x` (batch, ...), output `action`.

    Args:
        network: what to compute.
        shape: of one observation.

    Raises:
        ImportError: onnx is missing.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name: str, value: Floats) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def append(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    last, image = "x", len(shape) > 1
    for number, layer in enumerate(network.layers):
        bias = constant(f"bias{number}", layer.bias)
        if isinstance(layer, Convolution):
            weight, strides = constant(f"weight{number}", layer.weight), [layer.stride, layer.stride]
            last = append("Conv", [last, weight, bias], f"layer{number}", strides=strides)
        else:
            last, image = append("Flatten", [last], f"flat{number}") if image else last, False
            last = append("Gemm", [last, constant(f"weight{number}", layer.weight.T), bias], f"layer{number}")
        if layer.activation:
            last = append(layer.activation.capitalize(), [last], f"active{number}")
    kind, result = TensorProto.FLOAT, ["batch", network.layers[-1].bias.size]
    if network.low is None or network.high is None:
        append("ArgMax", [last], "action", axis=1, keepdims=0)
        kind, result = TensorProto.INT64, ["batch"]
    else:
        half = np.float32(0.5) * (network.high - network.low)
        last = append("Mul", [last, constant("half", half)], "scaled")
        append("Add", [last, constant("middle", network.low + half)], "action")
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("action", kind, result)],
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
