"""
Every activation of torch.nn that the frontend knows: the op that it becomes computes what the module computes.
"""

import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import activation as torch_activations

from compiler.errors import BuildError, UnsupportedError
from compiler.frontends.sb3 import activations
from compiler.frontends.sb3.activations import REFUSED, RULES, from_checkpoint, from_option
from compiler.ops import OPS
from compiler.readers.pickle_machine import Call, Symbol

WHERE = "agent.zip"
DENSE = np.concatenate(
    [np.linspace(-30, 30, 2401), np.geomspace(1e-300, 1e300, 241), -np.geomspace(1e-300, 1e300, 241)]
)
EXTREME = np.array([0.0, -0.0, 5e-324, -5e-324, 0.5, -0.5, 3.0, -3.0, 6.0, 20.0, 20.1, 1e38, -1e38, 1.7e308, -1.7e308])
SPECIAL = np.array([np.nan, np.inf, -np.inf])
GRID = np.concatenate([DENSE, EXTREME, SPECIAL])

# Text of the option, and the module that it must equal.
CASES = {
    "AlphaDropout": nn.AlphaDropout(),
    "CELU": nn.CELU(),
    "CELU(2.5)": nn.CELU(2.5),
    "CELU(-0.5)": nn.CELU(-0.5),
    "Dropout(0.9)": nn.Dropout(0.9),
    "ELU": nn.ELU(),
    "ELU(alpha=0.3)": nn.ELU(alpha=0.3),
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(),
    "GELU": nn.GELU(),
    "GELU(approximate='tanh')": nn.GELU(approximate="tanh"),
    "Hardshrink": nn.Hardshrink(),
    "Hardshrink(0.1)": nn.Hardshrink(0.1),
    "Hardsigmoid": nn.Hardsigmoid(),
    "Hardswish": nn.Hardswish(),
    "Hardtanh": nn.Hardtanh(),
    "Hardtanh(-0.5, 3)": nn.Hardtanh(-0.5, 3),
    "Hardtanh(max_val=inf)": nn.Hardtanh(max_val=float("inf")),
    "Identity": nn.Identity(),
    "LeakyReLU": nn.LeakyReLU(),
    "LeakyReLU(0.2, True)": nn.LeakyReLU(0.2),
    "LogSigmoid": nn.LogSigmoid(),
    "Mish": nn.Mish(),
    "RReLU": nn.RReLU(),
    "RReLU(0.1, 0.5)": nn.RReLU(0.1, 0.5),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "SELU": nn.SELU(),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "Softplus": nn.Softplus(),
    "Softplus(beta=3, threshold=2)": nn.Softplus(beta=3, threshold=2),
    "Softshrink": nn.Softshrink(),
    "Softshrink(lambd=0)": nn.Softshrink(lambd=0),
    "Softsign": nn.Softsign(),
    "Tanh": nn.Tanh(),
    "Tanhshrink": nn.Tanhshrink(),
    "Threshold(0.5, -7)": nn.Threshold(0.5, -7),
}
# Where a difference of nearly equal numbers is left, its absolute error is that of the numbers.
CANCELLATION = {"GELU(approximate='tanh')": 1e-15, "Tanhshrink": 1e-17, "LogSoftmax(-1)": 1e-15}
OVER_FEATURES = {
    "LogSoftmax(-1)": nn.LogSoftmax(-1),
    "Softmax(dim=1)": nn.Softmax(dim=1),
    "Softmin(dim=-1)": nn.Softmin(dim=-1),
}


def computed(activation, x):
    """
    What the op of an activation gives.
    """
    if not activation.op:
        return x
    with np.errstate(all="ignore"):
        return OPS[activation.op].reference(x, **OPS[activation.op].complete(activation.attributes))


def torch_computed(module, x):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("text", CASES)
def test_the_op_computes_what_the_module_computes(text):
    expected = torch_computed(CASES[text], GRID.copy())
    actual = computed(from_option(text), GRID)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=CANCELLATION.get(text, 1e-300))


@pytest.mark.parametrize("text", OVER_FEATURES)
def test_the_op_computes_over_features_what_the_module_computes(text):
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.standard_normal((50, 9)) * scale for scale in (0.1, 1, 30, 1e4)])
    rows[7, 3] = np.nan
    rows[8, 3] = -np.inf
    actual, expected = computed(from_option(text), rows), torch_computed(OVER_FEATURES[text], rows.copy())
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=CANCELLATION.get(text, 1e-300))


def test_softmax_without_a_dimension_is_over_the_features():
    assert from_option("Softmax") == from_option("Softmax(1)") == from_option("Softmax(None)")


def test_every_rule_is_compared():
    compared = {text.partition("(")[0] for text in (*CASES, *OVER_FEATURES)}
    # The slopes of PReLU are weights: agents with them are compared in tests/golden.
    assert compared == set(RULES) - {"PReLU"}


def test_prelu_has_weights_of_its_own():
    for text in ("PReLU", "prelu(3)", "PReLU(num_parameters=3, init=0.1)"):
        activation = from_option(text)
        assert (activation.op, activation.attributes, activation.learned) == ("prelu", {}, True)
    assert not from_option("LeakyReLU").learned


def test_every_activation_of_torch_is_known_or_refused():
    names = {
        name
        for name, kind in vars(torch_activations).items()
        if inspect.isclass(kind) and issubclass(kind, nn.Module) and kind.__module__ == torch_activations.__name__
    }
    assert names - set(RULES) - set(REFUSED) == set()


@pytest.mark.parametrize("name", sorted(set(RULES) - {"Identity"}))
def test_parameters_and_defaults_are_those_of_torch(name):
    signature = inspect.signature(getattr(nn, name).__init__).parameters
    parameters = {key: value.default for key, value in signature.items() if key != "self"}
    rule = RULES[name].parameters
    assert list(rule) == list(parameters)[: len(rule)]
    for key, default in rule.items():
        expected = activations.REQUIRED if parameters[key] is inspect.Parameter.empty else parameters[key]
        assert default == expected or (name == "Softmax" and key == "dim")


def symbol(name):
    return Symbol(getattr(nn, name).__module__, name)


def partial(function, *arguments, **keywords):
    """
    A functools.partial as the pickle machine leaves it.
    """
    call = Call(Symbol("functools", "partial"), (function,))
    call.state = (function, arguments, keywords or None, None)
    return call


@pytest.mark.parametrize("name", sorted(RULES.keys() - {"Threshold"}))
def test_a_class_is_decoded(name):
    value = symbol(name)
    assert activations.is_known(value)
    assert from_checkpoint(value, WHERE) == from_option(name)


def test_partials_are_decoded():
    assert from_checkpoint(partial(symbol("LeakyReLU"), 0.2), WHERE) == from_option("LeakyReLU(0.2)")
    assert from_checkpoint(partial(symbol("ELU"), alpha=2), WHERE) == from_option("ELU(2.0)")
    assert from_checkpoint(partial(symbol("ReLU"), inplace=True), WHERE) == from_option("ReLU")
    assert from_checkpoint(partial(symbol("Identity"), 54, unused=True), WHERE) == from_option("Identity")
    assert from_checkpoint(partial(symbol("Softmax"), dim=-1), WHERE) == from_option("Softmax(-1)")
    threshold = from_checkpoint(partial(symbol("Threshold"), 0.1, value=20), WHERE)
    assert threshold.attributes == {"threshold": 0.1, "value": 20.0}
    assert threshold.text == "Threshold(threshold=0.1, value=20.0)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (symbol("GLU"), "torch.nn.GLU halves the number of features"),
        (symbol("MultiheadAttention"), "torch.nn.MultiheadAttention has learned parameters"),
        (symbol("Softmax2d"), "torch.nn.Softmax2d works on images"),
        (symbol("LayerNorm"), "'LayerNorm' is not an activation"),
        (Symbol("torch.nn.modules.activation", "x\n"), r"'x\\n' is not an activation"),
        (symbol("Threshold"), "torch.nn.Threshold needs threshold, value"),
        (partial(symbol("PReLU"), slopes=4), "unknown arguments 'slopes'; it takes num_parameters"),
        (partial(symbol("ELU"), 1.0, False, 3), "torch.nn.ELU has 3 arguments; it takes alpha, inplace"),
        (partial(symbol("ELU"), 1.0, alpha=1.0), "unknown arguments 'alpha'"),
        (partial(symbol("ELU"), beta=1.0), "unknown arguments 'beta'; it takes alpha"),
        (partial(symbol("Tanh"), 1.0), "torch.nn.Tanh has 1 arguments; it takes none"),
        (partial(symbol("ELU"), alpha="1"), "torch.nn.ELU: alpha: expected a number"),
        (partial(symbol("ELU"), alpha=float("nan")), "torch.nn.ELU: alpha: must be a number"),
        (partial(symbol("GELU"), "sigmoid"), "torch.nn.GELU: approximate: must be none or tanh, found 'sigmoid'"),
        (partial(symbol("Softmax"), dim=0), "torch.nn.Softmax: dim: must be -1 or 1, the features, found 0"),
    ],
)
def test_what_cannot_be_compiled_is_refused_by_name(value, text):
    assert activations.is_known(value)
    with pytest.raises(UnsupportedError, match=text):
        from_checkpoint(value, WHERE)


def damaged(state):
    call = Call(Symbol("functools", "partial"), (symbol("ReLU"),))
    call.state = state
    return call


@pytest.mark.parametrize(
    "state", [None, (), (symbol("Tanh"), (), {}, None), (symbol("ReLU"), [], {}, None), (symbol("ReLU"), (), 3, None)]
)
def test_a_damaged_partial_is_refused(state):
    with pytest.raises(UnsupportedError, match="damaged"):
        from_checkpoint(damaged(state), WHERE)


@pytest.mark.parametrize(
    "value",
    [
        Symbol("__main__", "Swish"),
        Symbol("torch", "tanh"),
        Symbol("torchvision.nn", "ReLU"),
        Call(Symbol("cloudpickle.cloudpickle", "_make_function"), ()),
        partial(Symbol("__main__", "Swish")),
        partial(partial(symbol("ReLU"))),
        Call(Symbol("functools", "partial"), ()),
        "relu",
        None,
    ],
)
def test_what_the_file_does_not_define_is_not_known(value):
    assert not activations.is_known(value)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("tanh", "Tanh"),
        ("relu", "ReLU"),
        (" leaky_relu( 0.2 ) ", "LeakyReLU(negative_slope=0.2)"),
        ("nn.SiLU()", "SiLU"),
        ("torch.nn.ELU(alpha = 5e-1)", "ELU(0.5)"),
        ("gelu(tanh)", "GELU(approximate='tanh')"),
        ("hardtanh(-2, 2,)", "Hardtanh(min_val=-2.0, max_val=2.0)"),
        ("LeakyReLU(0.01)", "LeakyReLU"),
    ],
)
def test_option_texts_are_read_leniently(text, same):
    assert from_option(text) == from_option(same)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "swish",
        "Tanh(",
        "Tanh)",
        "Tänh",
        "Tanh;Tanh",
        "ELU(__import__('os'))",
        "ELU(alpha=1+1)",
        "ELU(alpha==1)",
        "ELU(x=1)",
        "ELU(1, 2, 3)",
        "GELU(erf)",
        "LeakyReLU(nan)",
        "PReLU(slope=1)",
        "Softmax(0)",
        "Threshold",
    ],
)
def test_other_option_texts_are_refused(text):
    with pytest.raises(BuildError, match="activation"):
        from_option(text)


def test_options_of_different_attributes_differ():
    assert from_option("LeakyReLU(0.2)") != from_option("LeakyReLU")
    assert from_option("ReLU6") == from_option("Hardtanh(0, 6)")
    assert from_option("Identity").op == from_option("Dropout").op == ""
