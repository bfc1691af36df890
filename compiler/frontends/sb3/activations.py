"""
The activation between layers: from the class (or partial of one) in a checkpoint, or from an option's text, to an op.

SB3 calls `activation_fn()` once for each hidden layer, so that a policy has one activation, with one set of arguments.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from compiler.errors import BuildError, PolicycError, UnsupportedError, quote
from compiler.ir import Attribute
from compiler.readers.numpy_values import as_scalar
from compiler.readers.pickle_machine import Call, Symbol

PARTIAL = "functools.partial"
TORCH = "torch.nn."
REQUIRED = object()
ADVICE = "retrain with one of torch.nn's activations"


@dataclass(frozen=True)
class Activation:
    """
    An op of the op table with its attributes; without an op, the identity.
    """

    text: str = field(compare=False)
    """As torch.nn writes it: `LeakyReLU(negative_slope=0.2)`."""
    op: str
    attributes: Mapping[str, Attribute]

    @property
    def learned(self) -> bool:
        """
        Whether each layer's activation has slopes of its own, in a tensor `SLOT.weight`.
        """
        return self.op == "prelu"


Bound = Mapping[str, object]


def _numbers(bound: Bound) -> Mapping[str, Attribute]:
    """
    Each argument as a float attribute of the same name.
    """
    return {name: _number(name, value) for name, value in bound.items() if name != "inplace"}


def _number(name: str, value: object) -> float:
    try:
        number = float(as_scalar(value, name))
    except OverflowError:
        raise UnsupportedError(name, "is too large for a float") from None
    if math.isnan(number):
        raise UnsupportedError(name, "must be a number, found NaN")
    return number


def _approximation(bound: Bound) -> Mapping[str, Attribute]:
    value = bound["approximate"]
    if value not in ("none", "tanh"):
        raise UnsupportedError("approximate", f"must be none or tanh, found {quote(value)}")
    return {"approximate": str(value)}


def _over_features(scale: float | None) -> Callable[[Bound], Mapping[str, Attribute]]:
    """
    Softmax and its kin: the features of a (batch, features) tensor are dimension 1, which torch takes for None, too.
    """

    def attributes(bound: Bound) -> Mapping[str, Attribute]:
        if bound["dim"] not in (-1, 1, None):
            raise UnsupportedError("dim", f"must be -1 or 1, the features, found {quote(bound['dim'])}")
        return {} if scale is None else {"scale": scale}

    return attributes


def _mean_slope(bound: Bound) -> Mapping[str, Attribute]:
    """
    RReLU in evaluation: a leaky ReLU with the mean of the two bounds.
    """
    numbers = _numbers(bound)
    return {"negative_slope": (float(numbers["lower"]) + float(numbers["upper"])) / 2}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Rule:
    """
    How one class of torch.nn becomes an op: its constructor's parameters in order with their defaults.
    """

    op: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    attributes: Callable[[Bound], Mapping[str, Attribute]] = _numbers


def _none(bound: Bound) -> Mapping[str, Attribute]:
    return {}


_INPLACE = {"inplace": False}
_DROPOUT = Rule("", {"p": 0.5, **_INPLACE}, _none)

RULES: Mapping[str, Rule] = {
    "AlphaDropout": _DROPOUT,
    "CELU": Rule("celu", {"alpha": 1.0, **_INPLACE}),
    "Dropout": _DROPOUT,
    "ELU": Rule("elu", {"alpha": 1.0, **_INPLACE}),
    "FeatureAlphaDropout": _DROPOUT,
    "GELU": Rule("gelu", {"approximate": "none"}, _approximation),
    "Hardshrink": Rule("hardshrink", {"lambd": 0.5}),
    "Hardsigmoid": Rule("hardsigmoid", _INPLACE),
    "Hardswish": Rule("hardswish", _INPLACE),
    "Hardtanh": Rule("hardtanh", {"min_val": -1.0, "max_val": 1.0, **_INPLACE}),
    "Identity": Rule("", {}, _none),
    "LeakyReLU": Rule("leaky_relu", {"negative_slope": 0.01, **_INPLACE}),
    "LogSigmoid": Rule("log_sigmoid"),
    "LogSoftmax": Rule("log_softmax", {"dim": None}, _over_features(None)),
    "Mish": Rule("mish", _INPLACE),
    "PReLU": Rule("prelu", {"num_parameters": 1, "init": 0.25, "device": None, "dtype": None}, _none),
    "RReLU": Rule("leaky_relu", {"lower": 1 / 8, "upper": 1 / 3, **_INPLACE}, _mean_slope),
    "ReLU": Rule("relu", _INPLACE),
    "ReLU6": Rule("hardtanh", _INPLACE, lambda bound: {"min_val": 0.0, "max_val": 6.0}),
    "SELU": Rule("selu", _INPLACE),
    "SiLU": Rule("silu", _INPLACE),
    "Sigmoid": Rule("sigmoid"),
    "Softmax": Rule("softmax", {"dim": None}, _over_features(1.0)),
    "Softmin": Rule("softmax", {"dim": None}, _over_features(-1.0)),
    "Softplus": Rule("softplus", {"beta": 1.0, "threshold": 20.0}),
    "Softshrink": Rule("softshrink", {"lambd": 0.5}),
    "Softsign": Rule("softsign"),
    "Tanh": Rule("tanh"),
    "Tanhshrink": Rule("tanhshrink"),
    "Threshold": Rule("threshold", {"threshold": REQUIRED, "value": REQUIRED, **_INPLACE}),
}

REFUSED = {
    "GLU": "halves the number of features, which no layer of SB3's expects",
    "MultiheadAttention": "has learned parameters and needs three inputs",
    "Softmax2d": "works on images, not on features",
}


def is_known(value: object) -> bool:
    """
    Whether a decoded activation_fn is a class of torch.nn or a partial of one, so that the file says what it computes.
    """
    target = value
    if isinstance(value, Call) and value.function == Symbol("functools", "partial"):
        target = value.arguments[0] if value.arguments else None
    return isinstance(target, Symbol) and target.path.startswith(TORCH)


def from_checkpoint(value: object, where: str) -> Activation:
    """
    The activation of a decoded activation_fn that `is_known`.

    Raises:
        UnsupportedError: it has parameters of its own, isn't an activation, or has arguments that can't be compiled.
    """
    arguments: tuple[object, ...] = ()
    keywords: Mapping[object, object] = {}
    if isinstance(value, Call):
        value, arguments, keywords = _partial(value, where)
    if not isinstance(value, Symbol):
        raise UnsupportedError(where, "expected a class of torch.nn")
    return _activation(value.name, arguments, keywords, where)


def _partial(call: Call, where: str) -> tuple[object, tuple[object, ...], Mapping[object, object]]:
    """
    Function, arguments and keywords in the state of a pickled partial: (function, arguments, keywords, attributes).
    """
    match call.state:
        case (function, tuple() as arguments, dict() as keywords, _) if (function,) == call.arguments:
            return function, arguments, keywords
        case (function, tuple() as arguments, None, _) if (function,) == call.arguments:
            return function, arguments, {}
    raise UnsupportedError(where, "holds a damaged functools.partial")


def _activation(name: str, arguments: tuple[object, ...], keywords: Mapping[object, object], where: str) -> Activation:
    if name in REFUSED:
        raise UnsupportedError(where, f"torch.nn.{name} {REFUSED[name]}; {ADVICE}")
    if name not in RULES:
        raise UnsupportedError(where, f"torch.nn's {quote(name)} is not an activation that policyc knows; {ADVICE}")
    rule = RULES[name]
    bound = {} if name == "Identity" else _bind(name, rule, arguments, keywords, where)
    try:
        attributes = rule.attributes(bound)
    except PolicycError as error:
        raise UnsupportedError(where, f"torch.nn.{name}: {error}") from None
    given = ", ".join(f"{key}={value!a}" for key, value in attributes.items() if key in bound)
    return Activation(f"{name}({given})" if given else name, rule.op, attributes)


def _bind(
    name: str, rule: Rule, arguments: tuple[object, ...], keywords: Mapping[object, object], where: str
) -> dict[str, object]:
    """
    The constructor's parameters with the arguments given or their defaults.
    """
    given = dict(zip(rule.parameters, arguments, strict=False))
    unknown = [quote(key) for key in keywords if key not in rule.parameters or key in given]
    if len(arguments) > len(rule.parameters) or unknown:
        found = f"unknown arguments {', '.join(unknown)}" if unknown else f"{len(arguments)} arguments"
        expected = ", ".join(rule.parameters) or "none"
        raise UnsupportedError(where, f"torch.nn.{name} has {found}; it takes {expected}")
    bound = {**rule.parameters, **given, **{str(key): value for key, value in keywords.items()}}
    missing = [key for key, value in bound.items() if value is REQUIRED]
    if missing:
        raise UnsupportedError(where, f"torch.nn.{name} needs {', '.join(missing)}")
    return bound


OPTION = re.compile(r"(?:torch\.)?(?:nn\.)?(?P<name>\w+)(?:\((?P<arguments>[^()]*)\))?", re.ASCII)
WORDS: Mapping[str, object] = {"None": None, "True": True, "False": False}
_NAMES = {name.lower(): name for name in (*RULES, *REFUSED)}


def from_option(text: str) -> Activation:
    """
    The activation of the option `activation`: `Tanh`, `relu`, `leaky_relu(0.2)`, `ELU(alpha=0.5)`.

    Raises:
        BuildError: the text is malformed, or no such activation can be compiled.
    """
    match = OPTION.fullmatch(text.strip())
    name = _NAMES.get(match["name"].replace("_", "").lower()) if match else None
    if match is None or name is None:
        known = ", ".join(RULES)
        raise BuildError("options", f"activation must be one of {known}, as in LeakyReLU(0.2); found {quote(text)}")
    arguments: list[object] = []
    keywords: dict[object, object] = {}
    for part in filter(None, (part.strip() for part in (match["arguments"] or "").split(","))):
        key, equals, value = part.rpartition("=")
        if equals:
            keywords[key.strip()] = _literal(value.strip(), text)
        else:
            arguments.append(_literal(part, text))
    try:
        return _activation(name, tuple(arguments), keywords, "activation")
    except UnsupportedError as error:
        raise BuildError("options", str(error)) from None


def _literal(text: str, whole: str) -> object:
    if text in WORDS:
        return WORDS[text]
    if re.fullmatch(r"[-+]?\d{1,18}", text, re.ASCII):
        return int(text)
    try:
        return float(text)
    except ValueError:
        pass
    quoted = re.fullmatch(r"""(?P<mark>['"]?)(?P<word>[a-z]\w*)(?P=mark)""", text, re.ASCII)
    if quoted is None:
        _refuse_literal(text, whole)
    return quoted["word"]


def _refuse_literal(text: str, whole: str) -> NoReturn:
    raise BuildError("options", f"activation {quote(whole)} has the argument {quote(text)}, which is not a number")
