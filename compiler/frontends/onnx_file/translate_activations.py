"""
Activations: a row where its definition is ONNX's, else what it is made of.
"""

import numpy as np

from compiler.frontends.onnx_file.graph import Given, Graph, Has, Value, dims_of
from compiler.frontends.onnx_file.translate_elementwise import Translation, unary

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
SIXTH = float(np.float32(1 / 6))


def _hard_sigmoid(g: Graph, given: Given, has: Has) -> Value:
    alpha, beta = has.get("alpha", 0.2), has.get("beta", 0.5)
    if abs(alpha - SIXTH) < 1e-6 and beta == 0.5:
        return g.add("hardsigmoid", given)
    moved = g.broadcast("plus", g.broadcast("times", given[0], alpha), beta)
    return g.add("hardtanh", [moved], min_val=0.0, max_val=1.0)


def _leaky_relu(g: Graph, given: Given, has: Has) -> Value:
    return g.add("leaky_relu", given, negative_slope=has.get("alpha", 0.01))


def _elu(g: Graph, given: Given, has: Has) -> Value:
    return g.add("elu", given, alpha=has.get("alpha", 1.0))


def _celu(g: Graph, given: Given, has: Has) -> Value:
    return g.add("celu", given, alpha=has.get("alpha", 1.0))


def _selu(g: Graph, given: Given, has: Has) -> Value:
    alpha, gamma = has.get("alpha", SELU_ALPHA), has.get("gamma", SELU_GAMMA)
    if abs(alpha - SELU_ALPHA) < 1e-6 and abs(gamma - SELU_GAMMA) < 1e-6:
        return g.add("selu", given)
    return g.broadcast("times", g.add("elu", given, alpha=alpha), gamma)


def _thresholded_relu(g: Graph, given: Given, has: Has) -> Value:
    return g.add("threshold", given, threshold=has.get("alpha", 1.0), value=0.0)


def _shrink(g: Graph, given: Given, has: Has) -> Value:
    lambd, bias = has.get("lambd", 0.5), has.get("bias", 0.0)
    if bias == lambd and lambd >= 0:
        return g.add("softshrink", given, lambd=lambd)
    if bias == 0 and lambd >= 0:
        return g.add("hardshrink", given, lambd=lambd)
    x = given[0]
    below = g.broadcast("where", g.broadcast("less", x, -lambd), g.broadcast("plus", x, bias), 0.0)
    return g.broadcast("where", g.broadcast("greater", x, lambd), g.broadcast("minus", x, bias), below)


def _prelu(g: Graph, given: Given, has: Has) -> Value:
    x, slope = given
    return g.broadcast("where", g.broadcast("less", x, 0.0), g.broadcast("times", x, slope), x)


def _gelu(g: Graph, given: Given, has: Has) -> Value:
    return g.add("gelu", given, approximate=has.get("approximate", "none"))


def _swish(g: Graph, given: Given, has: Has) -> Value:
    alpha = has.get("alpha", 1.0)
    if alpha == 1:
        return g.add("silu", given)
    return g.broadcast("times", given[0], g.add("sigmoid", [g.broadcast("times", given[0], alpha)]))


def _softplus(g: Graph, given: Given, has: Has) -> Value:
    return g.add("softplus", given)


def _softmax(row: str) -> Translation:
    def translate(g: Graph, given: Given, has: Has) -> Value:
        return g.add(row, given, axis=g.axis(has.get("axis", -1), len(dims_of(given[0]))))

    return translate


TRANSLATIONS: dict[str, Translation] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": unary("hardswish"),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax("log_softmax_over"),
    "Mish": unary("mish"),
    "PRelu": _prelu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": unary("sigmoid"),
    "Softmax": _softmax("softmax_over"),
    "Softplus": _softplus,
    "Softsign": unary("softsign"),
    "Swish": _swish,
    "Tanh": unary("tanh"),
    "ThresholdedRelu": _thresholded_relu,
}
