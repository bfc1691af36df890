"""
Activations and other ops that compute each element from that element alone, as PyTorch defines them.

An attribute has the name and default of torch.nn's argument. What torch.nn spells as a special case of another
activation (ReLU6, RReLU in evaluation) is translated to that one by the frontend.
"""

import math
from collections.abc import Callable

import numpy as np

from compiler.ir import Attribute
from compiler.ops.table import Array, Op, same_type

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: Array, beta: float, threshold: float) -> Array:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def sigmoid(x: Array) -> Array:
    """
    The logistic function, without overflow.
    """
    small = np.exp(-np.abs(x))
    result: Array = np.where(x >= 0, 1, small) / (1 + small)
    return result


def _gelu(x: Array, approximate: str) -> Array:
    if approximate == "tanh":
        spread: Array = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    else:
        spread = _erf(x / math.sqrt(2))
    result: Array = 0.5 * x * (1 + spread)
    return result


def _hardtanh(x: Array, min_val: float, max_val: float) -> Array:
    return np.clip(x, min_val, max_val)


def _log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _threshold(x: Array, threshold: float, value: float) -> Array:
    return np.where(x <= threshold, value, x)


def _row(name: str, torch_name: str, reference: Callable[..., Array], **attributes: Attribute | type) -> Op:
    return Op(
        name=name,
        summary=torch_name,
        result=same_type(name),
        reference=reference,
        attributes=attributes,
        template="gelu_{approximate}" if name == "gelu" else name,
        elementwise=True,
    )


ROWS = (
    _row(
        "celu",
        "nn.CELU",
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        alpha=1.0,
    ),
    _row("divide", "x / divisor", lambda x, divisor: x / divisor, divisor=float),
    _row("elu", "nn.ELU", _elu, alpha=1.0),
    _row("exp", "torch.exp", np.exp),
    _row("gelu", "nn.GELU", _gelu, approximate="none"),
    _row("hardshrink", "nn.Hardshrink", lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x), lambd=0.5),
    _row("hardsigmoid", "nn.Hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6),
    _row("hardswish", "nn.Hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6),
    _row("hardtanh", "nn.Hardtanh, nn.ReLU6", _hardtanh, min_val=-1.0, max_val=1.0),
    _row(
        "leaky_relu",
        "nn.LeakyReLU, nn.RReLU",
        lambda x, negative_slope: np.where(x > 0, x, x * negative_slope),
        negative_slope=0.01,
    ),
    _row("log_sigmoid", "nn.LogSigmoid", _log_sigmoid),
    _row("mish", "nn.Mish", lambda x: x * np.tanh(np.logaddexp(0, x))),
    _row("relu", "nn.ReLU", lambda x: np.where(x < 0, 0, x)),
    _row("selu", "nn.SELU", lambda x: SELU_SCALE * _elu(x, SELU_ALPHA)),
    _row("sigmoid", "nn.Sigmoid", sigmoid),
    _row("silu", "nn.SiLU", lambda x: x * sigmoid(x)),
    _row("softplus", "nn.Softplus", _softplus, beta=1.0, threshold=20.0),
    _row(
        "softshrink",
        "nn.Softshrink",
        lambda x, lambd: np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, x * 0)),
        lambd=0.5,
    ),
    _row("softsign", "nn.Softsign", lambda x: x / (1 + np.abs(x))),
    _row("tanh", "nn.Tanh", np.tanh),
    _row("tanhshrink", "nn.Tanhshrink", lambda x: x - np.tanh(x)),
    _row("threshold", "nn.Threshold", _threshold, threshold=float, value=float),
)
