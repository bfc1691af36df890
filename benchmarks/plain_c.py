"""
A network as a generator of plain C writes it: a function for each layer, loops over constant arrays, `tanhf` of libm.

onnx2c writes such code; it can't be installed from a package registry (PyPI, npm and Debian have none), so this stands
in for it. Loops, the order of the weights as PyTorch exports them, and the functions of libm are the same.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.network import Convolution, Layer, Network

ACTIVATIONS = {"tanh": "tanhf(sum)", "relu": "sum > 0 ? sum : 0", "": "sum"}


def plain_c(network: Network) -> str:
    """
    A file of C with the function `answer`.

    Raises:
        ValueError: the network has convolutions, or a mask.
    """
    layers = [layer for layer in network.layers if not isinstance(layer, Convolution)]
    if len(layers) < len(network.layers) or network.masked:
        raise ValueError("plain C is generated for fully connected layers without masks")
    lines = ["#include <math.h>", "#include <stdint.h>", ""]
    for number, layer in enumerate(layers):
        lines += _layer(number, layer)
    if network.low is not None and network.high is not None:
        lines += [*_array("low", network.low), *_array("high", network.high), ""]
    return "\n".join([*lines, *_answer(network, layers)]) + "\n"


def _layer(number: int, layer: Layer) -> Iterator[str]:
    outputs, inputs = layer.weight.shape
    yield from _array(f"weight{number}", layer.weight)
    yield from _array(f"bias{number}", layer.bias)
    yield f"""
static void layer{number}(const float x[{inputs}], float y[{outputs}]) {{
    for (uint32_t output = 0; output < {outputs}; output++) {{
        float sum = 0;
        for (uint32_t input = 0; input < {inputs}; input++)
            sum += x[input] * weight{number}[output][input];
        sum += bias{number}[output];
        y[output] = {ACTIVATIONS[layer.activation]};
    }}
}}
"""


def _answer(network: Network, layers: list[Layer]) -> Iterator[str]:
    last = len(layers) - 1
    yield "int64_t answer(const void *observation, void *action) {"
    for number, layer in enumerate(layers):
        yield f"    float y{number}[{layer.bias.size}];"
    for number in range(len(layers)):
        yield f"    layer{number}({f'y{number - 1}' if number else 'observation'}, y{number});"
    if network.low is None:
        yield "    int64_t best = 0;"
        yield f"    for (int64_t i = 1; i < {layers[-1].bias.size}; i++)"
        yield f"        best = y{last}[i] > y{last}[best] ? i : best;"
        yield "    *(int64_t *)action = best;"
    else:
        bounded = f"fminf(fmaxf(y{last}[i], low[i]), high[i])"
        rescaled = f"low[i] + 0.5f * (y{last}[i] + 1) * (high[i] - low[i])"
        yield f"    for (int64_t i = 0; i < {layers[-1].bias.size}; i++)"
        yield f"        ((float *)action)[i] = {bounded if network.clipped else rescaled};"
    yield "    return 0;"
    yield "}"


def _array(name: str, values: NDArray[np.float32]) -> Iterator[str]:
    shape = "".join(f"[{size}]" for size in values.shape)
    yield f"static const float {name}{shape} = {{"
    for row in np.atleast_2d(values):
        text = ", ".join(f"{float(value).hex()}f" for value in row)
        yield f"    {{{text}}}," if values.ndim > 1 else f"    {text},"
    yield "};"
