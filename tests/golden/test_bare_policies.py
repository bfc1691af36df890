"""
A policy.pth alone, with options for what it does not say, and `model.policy.save()` give the model of the zip.
"""

import functools
import zipfile
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from sb3_contrib import ARS, QRDQN, MaskablePPO
from stable_baselines3 import DQN

from compiler.errors import UnsupportedError
from tests.golden.agents import EXPLORATION_RATE, RECIPES, make, model_of, save
from tests.golden.recipes import ACTIVATIONS

KINDS = {"Box": "box", "Discrete": "discrete", "MultiDiscrete": "multi_discrete", "MultiBinary": "multi_binary"}
DICTS = [name for name, recipe in RECIPES.items() if isinstance(recipe.observation_space, Dict)]
ELSEWHERE = [
    name
    for name, recipe in RECIPES.items()
    if (isinstance(recipe.action_space, Box) and recipe.action_space.dtype != np.float32) or name == "ppo_almost_image"
]
"""Bounds of other dtypes, and bytes that are no images, have no option."""
ACTIVE = {f"dqn_{activation}" for activation in ACTIVATIONS}
"""Agents that differ in their activation alone."""
BARE = [name for name in RECIPES if name not in {*DICTS, *ELSEWHERE, *ACTIVE}]
SAVED = [name for name in RECIPES if name not in ACTIVE]


def options_for(name):
    """
    What a bare policy.pth does not say of the agent of a recipe.
    """
    recipe, agent = RECIPES[name], make(name)
    known = {"strict": True, **spaces_of(agent)}
    known["normalize_images"] = recipe.policy.get("normalize_images", True)
    if "activation_fn" in recipe.policy:
        known["activation"] = text_of(recipe.policy["activation_fn"])
    else:
        known["activation"] = "Tanh" if hasattr(agent.policy, "mlp_extractor") else "ReLU"
    policy = agent.policy.actor if hasattr(agent.policy, "actor") else agent.policy
    if recipe.arguments.get("use_sde"):
        known["use_expln"] = recipe.policy.get("use_expln", False)
        if policy is agent.policy:
            known["squash_output"] = policy.squash_output
        elif policy.clip_mean > 0:
            known["clip_mean"] = policy.clip_mean
    if isinstance(agent, DQN | QRDQN):
        known["exploration_rate"] = EXPLORATION_RATE
    if isinstance(agent, QRDQN):
        known["quantiles"] = recipe.policy["n_quantiles"]
    if hasattr(agent.policy, "mlp_extractor") and not hasattr(agent.policy, "log_std"):
        known["masked"] = isinstance(agent, MaskablePPO)
    if any(key.endswith("ra_mean") and key.startswith("actor") for key in agent.policy.state_dict()):
        known["batch_norm_eps"] = recipe.policy.get("batch_norm_eps", 0.001)
    return known


def spaces_of(agent):
    """
    The options that say what the spaces are.
    """
    space, actions = agent.observation_space, agent.action_space
    known: dict[str, Any] = {
        "observation_kind": KINDS[type(space).__name__],
        "action_kind": KINDS[type(actions).__name__],
    }
    if isinstance(space, Box):
        known |= {"observation_shape": space.shape, "observation_dtype": str(space.dtype)}
    elif not isinstance(space, Discrete | MultiDiscrete):
        known["observation_shape"] = space.shape
    elif isinstance(space, MultiDiscrete):
        known["observation_sizes"] = tuple(space.nvec.tolist())
    if isinstance(actions, MultiDiscrete):
        known["action_sizes"] = tuple(actions.nvec.tolist())
    if isinstance(actions, Box):
        known["action_low"] = tuple(actions.low.reshape(-1).tolist())
        known["action_high"] = tuple(actions.high.reshape(-1).tolist())
    return known


def text_of(activation):
    """
    An activation_fn as the option spells it.
    """
    if not isinstance(activation, functools.partial):
        return activation.__name__
    keywords = [f"{name}={value}" for name, value in activation.keywords.items()]
    return f"{activation.func.__name__}({', '.join([*map(str, activation.args), *keywords])})"


def bare_file(name, folder):
    bare = folder / "policy.pth"
    with zipfile.ZipFile(save(name, folder)) as archive:
        bare.write_bytes(archive.read("policy.pth"))
    return bare


@pytest.mark.parametrize("name", BARE)
def test_the_bare_policy_with_its_options_is_the_same_model(name, tmp_path):
    model = model_of(bare_file(name, tmp_path), **options_for(name))
    assert_same(model, model_of(save(name, tmp_path)))
    assert model.origin.assumptions == ()
    assert model.origin.format == "torch-state-dict"


def assert_same(model, whole):
    assert model.nodes == whole.nodes
    assert model.tensors == whole.tensors
    assert (model.inputs, model.states, model.outputs) == (whole.inputs, whole.states, whole.outputs)
    assert model.policy.sampling == whole.policy.sampling


@pytest.mark.parametrize("name", DICTS)
def test_a_bare_policy_of_dict_observations_is_refused(name, tmp_path):
    with pytest.raises(UnsupportedError, match=r"build from the \.zip that model\.save\(\) writes"):
        model_of(bare_file(name, tmp_path))


@pytest.mark.parametrize("name", SAVED)
def test_the_saved_policy_is_the_same_model(name, tmp_path):
    agent = make(name)
    saved = tmp_path / "saved.pth"
    agent.policy.save(str(saved))
    explored = {"exploration_rate": EXPLORATION_RATE} if isinstance(agent, DQN | QRDQN) else {}
    model, whole = model_of(saved, strict=True, **explored), model_of(save(name, tmp_path))
    assert_same(model, whole)
    spaces = (model.policy.observation_space, model.policy.action_space)
    assert spaces == (whole.policy.observation_space, whole.policy.action_space)
    assert model.origin.format == "sb3-policy"
    if not (isinstance(agent, ARS) or "explicit" in name or "flat" in name):
        assert model.policy.kind == whole.policy.kind
