"""
The models that the frontend makes compute what SB3 computes: `predict`'s actions, and the scores behind them.
"""

import zipfile

import numpy as np
import pytest
from gymnasium.spaces import Box
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from compiler.ops.reference import evaluate
from tests.golden.agents import RECIPES, make, model_of, observations_for, save, scores_of
from tests.golden.compare import assert_same_actions, assert_same_scores


def answers(model, observations):
    """
    Scores and flat actions of a model, computed in float64 from float32 observations.
    """
    values = evaluate(model, {"observation": observations.astype(np.float32)})
    return values[model.output("scores").tensor], values[model.output("action").tensor]


@pytest.mark.parametrize("name", RECIPES)
def test_the_model_answers_as_sb3_does(name, tmp_path):
    agent = make(name)
    model = model_of(save(name, tmp_path))
    observations = observations_for(agent.observation_space)
    expected_scores = scores_of(agent, observations)
    expected, _ = agent.predict(observations, deterministic=True)

    scores, actions = answers(model, observations)
    assert_same_scores(scores, expected_scores, observations)
    assert_same_actions(agent, actions.reshape(expected.shape), expected, expected_scores, observations)
    action = model.tensors[model.output("action").tensor]
    assert action.dtype == expected.dtype
    assert tuple(model.policy.observation_space.shape) == agent.observation_space.shape
    assert model.origin.assumptions == ()


@pytest.mark.parametrize("name", ["ppo_default", "ppo_image", "ppo_value_alone_has_layers", "trpo_box"])
def test_the_value_is_that_of_sb3(name, tmp_path):
    agent = make(name)
    model = model_of(save(name, tmp_path))
    observations = observations_for(agent.observation_space)
    expected = agent.policy.predict_values(agent.policy.obs_to_tensor(observations)[0]).detach().numpy()
    values = evaluate(model, {"observation": observations.astype(np.float32)})
    assert_same_scores(values[model.output("value").tensor], expected, observations)


def options_for(name):
    """
    What a bare policy.pth does not say of the agent of a recipe.
    """
    recipe, agent = RECIPES[name], make(name)
    space, actions = agent.observation_space, agent.action_space
    known = {
        "strict": True,
        "activation": ACTIVATION.get(name, "ReLU" if isinstance(agent, OffPolicyAlgorithm) else "Tanh"),
        "observation_shape": space.shape,
        "observation_dtype": str(space.dtype),
        "action_kind": type(actions).__name__.lower(),
        "normalize_images": recipe.policy.get("normalize_images", True),
    }
    if isinstance(actions, Box):
        known["action_low"] = tuple(actions.low.reshape(-1).tolist())
        known["action_high"] = tuple(actions.high.reshape(-1).tolist())
    if recipe.arguments.get("use_sde") and not isinstance(agent, OffPolicyAlgorithm):
        known["squash_output"] = agent.policy.squash_output
    if name in CLIPPED:
        known["clip_mean"] = recipe.policy.get("clip_mean", 2.0)
    return known


ACTIVATION = {
    "ppo_uneven": "ELU",
    "trpo_discrete": "SiLU",
    "dqn_leaky": "LeakyReLU(0.3)",
    "a2c_discrete": "ReLU",
    "dqn_image": "Tanh",
    "td3_uneven": "Tanh",
}
CLIPPED = {"sac_clipped_mean", "sac_other_clip", "sac_sde_no_layers"}
BARE = [
    name
    for name, recipe in RECIPES.items()
    if recipe.action_space.dtype in (np.float32, np.int64)
    and not name.startswith("dqn_")
    and name not in ("ppo_integer_bounds", "ppo_scalar_action", "ppo_almost_image")
] + ["dqn_default", "dqn_leaky", "dqn_no_layers", "dqn_image"]


@pytest.mark.parametrize("name", BARE)
def test_the_bare_policy_with_its_options_is_the_same_model(name, tmp_path):
    path = save(name, tmp_path)
    bare = tmp_path / "policy.pth"
    with zipfile.ZipFile(path) as archive:
        bare.write_bytes(archive.read("policy.pth"))
    whole = model_of(path)
    model = model_of(bare, **options_for(name))
    assert model.nodes == whole.nodes
    assert model.tensors == whole.tensors
    assert model.outputs == whole.outputs
    assert model.origin.assumptions == ()


@pytest.mark.parametrize("name", ["ppo_default", "ppo_squashed", "ppo_unshared", "ppo_raw_image", "dqn_leaky"])
def test_the_saved_policy_is_the_same_model(name, tmp_path):
    check_saved(name, tmp_path)


@pytest.mark.parametrize("name", ["sac_default", "sac_other_clip", "sac_unclipped", "td3_uneven", "ddpg_unshared"])
def test_the_saved_off_policy_policy_is_the_same_model(name, tmp_path):
    check_saved(name, tmp_path)


def check_saved(name, folder):
    saved = folder / "saved.pth"
    make(name).policy.save(str(saved))
    model = model_of(saved, strict=True)
    whole = model_of(save(name, folder))
    assert model.nodes == whole.nodes
    assert model.tensors == whole.tensors
    assert model.policy == whole.policy
    assert model.origin.format == "sb3-policy"
