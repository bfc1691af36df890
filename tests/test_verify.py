"""
Verification accepts what float32 may do, and finds what it must not.
"""

import re
import types
from dataclasses import replace

import numpy as np
import pytest

import compiler
from compiler import codegen, modelfile
from compiler.errors import UnsupportedError, VerificationError
from compiler.ir import Dict, Discrete, Policy
from compiler.modelfile import encode
from compiler.options import BuildOptions
from compiler.pipeline import run_passes
from compiler.tolerances import ACTION_RELATIVE, SCORE_RELATIVE
from compiler.verify import Verification, verify
from compiler.verify.answers import answers
from compiler.verify.cases import Cases
from compiler.verify_package import verify_package
from tests import stand_in

OPTIONS = BuildOptions(verify_observations=60)


def predictor_of(model, options=OPTIONS, *changes):
    """
    The stand-in predictor of a model, after text replacements, each of which must hit.
    """
    text = stand_in.render(model, encode(model), options, "agent")["__init__.py"]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    module = types.ModuleType("agent")
    exec(text, vars(module))
    return module


def verified(source, *changes, options=OPTIONS, compiled=None):
    compiled = compiled or run_passes(source, options)
    return verify(source, compiled, predictor_of(compiled, options, *changes), options)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("nonfinite", ["raise", "propagate"])
def test_a_right_predictor_passes(discrete, activation, nonfinite):
    options = BuildOptions(verify_observations=300, nonfinite=nonfinite)
    found = verified(stand_in.policy(discrete=discrete, activation=activation), options=options)
    assert found.observations >= 300 + 40
    assert found.refused == (15 if nonfinite == "raise" else 0)
    assert found.near_ties == 0
    assert found.ill_conditioned < found.observations / 10
    assert 0 < found.score_error < SCORE_RELATIVE
    assert (found.action_error == 0) is discrete
    assert found.action_error < ACTION_RELATIVE


def test_the_manifest_says_only_what_no_machine_changes():
    found = Verification(100, 1.5e-6, 2.5e-6, 1, 2, 3, 4)
    assert found.to_manifest() == {"observations": 100, "action_error_below": 1e-5, "score_error_below": 1e-4}
    assert found.to_json()["score_error"] == 2.5e-6


def test_a_missing_activation_is_found_and_named():
    with pytest.raises(VerificationError) as caught:
        verified(stand_in.policy(), ("np.tanh(values['pi.1'] @", "(values['pi.1'] @"))
    text = str(caught.value)
    assert caught.value.where == "agent.zip"
    assert "scores: found [" in text
    assert "first layer that differs: 'pi.2' (dense): element " in text
    assert "of 8 elements differ" in text
    assert "asked in a batch of 1: [" in text


def test_an_activation_that_is_near_is_found():
    # x / sqrt(1 + x²) looks like tanh and chooses the same action nearly always.
    change = ("np.tanh(x @", "(lambda v: v / np.sqrt(1 + v * v))(x @")
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.0' \(dense\)"):
        verified(stand_in.policy(), change)


def test_a_changed_weight_is_found():
    source = stand_in.policy()
    compiled = run_passes(source, OPTIONS)
    weight = compiled.tensors["pi.2.weight"]
    data = np.array(weight.data)
    data[0, 3, 5] *= 1.01
    tensors = {**compiled.tensors, weight.name: replace(weight, data=data)}
    tampered = replace(compiled, tensors=tensors)
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.2' \(dense\): element 5 is"):
        verify(source, compiled, predictor_of(tampered), OPTIONS)


def test_a_pass_that_changes_the_model_is_named_as_such():
    source = stand_in.policy()
    compiled = run_passes(source, OPTIONS)
    bias = compiled.tensors["pi.2.bias"]
    wrong = replace(compiled, tensors={**compiled.tensors, bias.name: replace(bias, data=np.asarray(bias.data) + 1)})
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.2' \(dense\): a pass has changed it"):
        verified(source, compiled=wrong)


def test_an_error_in_batches_alone_is_told_apart():
    # Rows after the 32nd of a batch are computed wrongly, as by a kernel that forgets its tail.
    last = ("values['action_net'] = ", "values['pi.3'][32:] += 1\n    values['action_net'] = ")
    with pytest.raises(VerificationError) as caught:
        verified(stand_in.policy(), last)
    assert "in a batch of 33" in str(caught.value)
    assert "every layer is right for this observation alone" in str(caught.value)


@pytest.mark.parametrize(
    ("discrete", "change", "message"),
    [
        (True, ("return action.item() if True else action", "return action"), "act returned ndarray, expected int"),
        (False, ("return action.item() if False else action", "return list(action)"), "act returned list"),
        (False, ("return action.item() if False else action", "return action + 1"), "action: found"),
        (True, ("axis=1)", "axis=1).astype(np.int32)"), r"predict returned int32\(1,\), expected int64\(1,\)"),
        (True, ("np.asarray(action[0])", "action[:1]"), r"predict returned int64\(1,\), expected int64\(\)"),
        (True, ("np.asarray(action[0])", "np.int64(action[0])"), "predict returned int64, expected numpy.ndarray"),
        (True, ("else action), None", "else action), ()"), "predict returned the state"),
        (True, ("return values[0] if", "return values if"), "scores returned float32"),
        (True, ("return values[0] if single else values", "return values.astype(float)"), "scores returned float64"),
        (True, ("argmax(", "argmin("), "action: found"),
        (False, ("np.clip(", "np.minimum(3, *"), "the predictor raised TypeError"),
    ],
)
def test_wrong_results_are_named(discrete, change, message):
    with pytest.raises(VerificationError, match=message):
        verified(stand_in.policy(discrete=discrete), change)


def test_a_forgotten_clip_is_found():
    with pytest.raises(VerificationError, match=r"action: found .* expected"):
        verified(stand_in.policy(discrete=False), ("np.clip(", "(lambda v, low, high: v)("))


def test_layers_that_cannot_be_computed_do_not_hide_the_finding():
    changes = ("argmax(", "argmin("), ("def layers(observation):\n", "def layers(observation):\n    raise OSError(1)\n")
    with pytest.raises(VerificationError) as caught:
        verified(stand_in.policy(), *changes)
    assert "action: found" in str(caught.value)
    assert "its layers can't be computed: OSError" in str(caught.value)


def test_missing_layers_and_sizes_are_named():
    wrong = ("argmax(", "argmin(")
    lacking = ("return compute(x)\n", "return {}\n")
    with pytest.raises(VerificationError, match=r"'pi\.0' \(dense\): the predictor's layers\(\) lack it"):
        verified(stand_in.policy(), wrong, lacking)
    short = ("return compute(x)\n", "return {name: value[..., :2] for name, value in compute(x).items()}\n")
    with pytest.raises(VerificationError, match="2 values, expected 8"):
        verified(stand_in.policy(), wrong, short)


def test_a_predictor_that_is_not_deterministic_is_found():
    noise = (
        "    return values\n\n\ndef predict",
        "    values['action_net'] += np.random.rand() * 1e-6\n    return values\n\n\ndef predict",
    )
    with pytest.raises(VerificationError, match="the same observations gave other scores"):
        verified(stand_in.policy(), noise)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('raise ValueError("not finite")', "pass"), "predict must raise ValueError for an observation with NaN"),
        (('raise ValueError("not finite")', "raise OSError(1)"), "but raised OSError"),
        (("not np.isfinite(array).all()", "np.isnan(array).any()"), "with infinity in one element"),
        (
            ("not np.isfinite(array).all()", "not np.isfinite(np.atleast_2d(array)[:1]).all()"),
            "predict in a batch must raise",
        ),
    ],
)
def test_nonfinite_observations_must_be_refused(change, message):
    with pytest.raises(VerificationError, match=message):
        verified(stand_in.policy(), change)


def test_propagated_nan_must_be_that_of_the_reference():
    options = BuildOptions(verify_observations=60, nonfinite="propagate")
    change = ("def compute(x):\n", "def compute(x):\n    x = np.nan_to_num(x)\n")
    with pytest.raises(VerificationError, match="NaN in one element"):
        verified(stand_in.policy(), change, options=options)


def test_near_ties_may_go_either_way():
    source = stand_in.policy()
    constants = dict(source.tensors)
    # Two equal rows: the scores of the last two actions are the same, up to rounding.
    for name in ("action_net.weight", "action_net.bias"):
        data = np.array(constants[name].data)
        data[2] = data[1]
        constants[name] = replace(constants[name], data=data)
    tied = replace(source, tensors=constants)
    last = ("np.argmax(values['action_net'], axis=1)", "2 - np.argmax(values['action_net'][:, ::-1], axis=1)")
    found = verified(tied, last)
    assert 0 < found.near_ties < found.observations
    with pytest.raises(VerificationError, match="action: found"):
        verified(source, ("np.argmax(values['action_net'], axis=1)", "2 - np.argmax(values['action_net'], axis=1)"))


def test_an_action_outside_the_space_is_never_a_tie():
    with pytest.raises(VerificationError, match="action: found"):
        verified(stand_in.policy(), ("axis=1)", "axis=1) - 3"))


def test_models_that_cannot_be_compared_are_refused():
    source = stand_in.policy()
    nested = Dict((("outer", Dict((("inner", stand_in.observation_space()),))),))
    other = replace(source, policy=Policy("x", nested, Discrete(3)))
    with pytest.raises(UnsupportedError, match="observations of Dict spaces"):
        verify(other, source, predictor_of(run_passes(source, OPTIONS)), OPTIONS)
    case = Cases({"observation": np.zeros((1, 4), np.float32)}, ("zero",))
    with pytest.raises(UnsupportedError, match="no output for the action"):
        answers(replace(source, outputs=source.outputs[1:]), case, 0)


@pytest.mark.parametrize("nonfinite", ["raise", "propagate"])
def test_a_predictor_may_refuse_what_overflows_where_it_refuses_nan(nonfinite):
    options = BuildOptions(verify_observations=60, nonfinite=nonfinite)
    start = "def compute(x):\n"
    large = "np.isfinite(x).all() and (abs(x) > 1e37).any()"
    strict = (start, f"{start}    if {large}:\n        raise ValueError('large')\n")
    if nonfinite == "raise":
        assert verified(stand_in.policy(), strict, options=options).overflowing == 3
    else:
        with pytest.raises(VerificationError, match="asked alone"):
            verified(stand_in.policy(), strict, options=options)
    crash = (strict[0], strict[1].replace("ValueError", "OSError"))
    with pytest.raises(VerificationError, match=r"raised OSError: 'large'\n  observation \(float32's largest"):
        verified(stand_in.policy(), crash, options=options)


@pytest.mark.slow
def test_a_removed_tanh_is_found_in_compiled_kernels(tmp_path, monkeypatch):
    render = codegen.render

    def render_wrongly(*arguments):
        texts = render(*arguments)
        start = texts["kernels.py"].index("pi.2")
        changed, times = re.subn(r"tanh\(([^()]+)\)", r"(\1)", texts["kernels.py"][start:])
        assert times > 0
        return {**texts, "kernels.py": texts["kernels.py"][:start] + changed}

    monkeypatch.setattr(codegen, "render", render_wrongly)
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.2' \(dense\): element \d is"):
        compiler.build(stand_in.policy(), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_tampered_weights_are_found_in_compiled_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(modelfile, "encode", lambda model: encode(stand_in.with_scaled(model, "pi.2.bias", 1.001)))
    with pytest.raises(VerificationError, match=r"first layer that differs: 'pi\.2' \(dense\): element \d is"):
        compiler.build(stand_in.policy(), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("discrete", "nonfinite"), [(True, "raise"), (False, "propagate")])
def test_compiled_kernels_are_right(tmp_path, discrete, nonfinite):
    found = compiler.build(stand_in.policy(discrete=discrete), out=tmp_path, nonfinite=nonfinite)
    assert found.report.verification.score_error < SCORE_RELATIVE
    assert verify_package(found.path).verification.observations == found.report.verification.observations
