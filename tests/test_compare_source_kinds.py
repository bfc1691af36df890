"""
The comparison with Stable-Baselines3 for every kind of policy: right models pass, wrong masks, states and statistics do
not. The predictors are NumPy's, made of what the frontends read.
"""

import numpy as np
import pytest

pytest.importorskip("sb3_contrib")

from compiler.compare_source import compare_source
from compiler.errors import BuildError, VerificationError
from compiler.verify.cases import finite_cases
from tests.golden.agents import model_of, save
from tests.golden.make_zoo import save as save_trained
from tests.golden.recipes import RECIPES
from tests.numpy_predictor import NumpyPredictor
from tests.test_verify_kinds import ForgetsMasks, ForgetsStarts, ForgetsStates

COUNT = 60
KINDS = {
    "ppo_default": "PPO",
    "ppo_bits": "PPO",
    "a2c_several_choices": "A2C",
    "ppo_squashed": "PPO",
    "ppo_dict": "PPO",
    "ppo_discrete_observation": "PPO",
    "maskable_discrete": "MaskablePPO",
    "maskable_several": "MaskablePPO",
    "maskable_bits": "MaskablePPO",
    "recurrent_discrete": "RecurrentPPO",
    "recurrent_two_layers": "RecurrentPPO",
    "dqn_cnn": "DQN",
    "qrdqn_default": "QRDQN",
    "sac_default": "SAC",
    "sac_dict": "SAC",
    "tqc_default": "TQC",
    "td3_default": "TD3",
    "crossq_default": "CrossQ",
    "ars_default": "ARS",
    "ars_linear": "ARS",
}


def compared(path, kind=NumpyPredictor):
    model = model_of(path)
    return compare_source(kind(model), model, finite_cases(model, COUNT, 3), path, trust=True)


@pytest.mark.parametrize("name", KINDS)
def test_the_model_of_an_agent_is_the_agent(name, tmp_path):
    found = compared(save(name, tmp_path))
    assert found.algorithm == KINDS[name]
    assert found.observations >= 40
    assert 0 < found.score_error < 1e-4
    assert found.near_ties <= 1


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("maskable_discrete", ForgetsMasks, r"action: the predictor gives .*, SB3 .* action_masks \["),
        ("maskable_bits", ForgetsMasks, "action: the predictor gives"),
        ("recurrent_discrete", ForgetsStates, "the predictor gives"),
        ("recurrent_two_layers", ForgetsStarts, "the predictor gives"),
    ],
)
def test_forgotten_masks_and_states_are_found(name, kind, message, tmp_path):
    with pytest.raises(VerificationError, match=f"(?s){message}"):
        compared(save(name, tmp_path), kind)


def test_states_that_go_astray_are_found_step_by_step(tmp_path):
    class Forgets(NumpyPredictor):
        """
        Right for any state that it is given as the first, but returns a wrong one to callers of several steps.
        """

        calls = 0

        def predict(self, observation, state=None, episode_start=None, deterministic=True, *, action_masks=None):
            action, after = super().predict(observation, state, episode_start)
            self.calls += len(action) == 5 if action.ndim else 0
            return action, (after[0], after[1] * 1.5) if self.calls else after

    with pytest.raises(VerificationError, match="asked step by step"):
        compared(save("recurrent_two_layers", tmp_path), Forgets)


@pytest.mark.parametrize("name", ["ppo_box", "sac_dict", "ppo_dict", "a2c_box", "recurrent_two_layers"])
def test_statistics_are_those_of_sb3(name, tmp_path):
    path = save_trained(RECIPES[name], tmp_path)
    statistics = path.with_suffix(".vecnormalize.pkl")
    found = compare_with(path, statistics)
    assert found.score_error < 1e-4


def compare_with(path, statistics, theirs=None):
    model = model_of(path, vecnormalize=str(statistics))
    cases = finite_cases(model, COUNT, 3)
    return compare_source(NumpyPredictor(model), model, cases, path, vecnormalize=theirs or statistics, trust=True)


def test_other_statistics_are_found(tmp_path):
    path = save_trained(RECIPES["ppo_box"], tmp_path)
    other = save_trained(RECIPES["dqn_leaky"], tmp_path).with_suffix(".vecnormalize.pkl")
    with pytest.raises(VerificationError, match="the predictor gives"):
        compare_with(path, path.with_suffix(".vecnormalize.pkl"), other)


def test_statistics_must_be_named(tmp_path):
    path = save_trained(RECIPES["ppo_box"], tmp_path)
    model = model_of(path, vecnormalize=str(path.with_suffix(".vecnormalize.pkl")))
    with pytest.raises(BuildError, match="name that file with --vecnormalize"):
        compare_source(NumpyPredictor(model), model, finite_cases(model, 3, 3), path, trust=True)


def test_the_value_is_that_of_sb3(tmp_path):
    class Wrong(NumpyPredictor):
        def value(self, observation, state=None, episode_start=None):
            return super().value(observation) + np.float32(0.5)

    path = save("ppo_default", tmp_path)
    with pytest.raises(VerificationError, match="value: the predictor gives"):
        compared(path, Wrong)
