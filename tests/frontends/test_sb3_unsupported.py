"""
What a sound SB3 zip may hold that is not compiled: refused by name, everything at once.
"""

import base64
import functools
import importlib

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from torch import nn

from compiler.errors import CheckpointError, UnsupportedError
from compiler.frontends.sb3 import families
from tests.frontends.checkpoints import pickled, refusal, with_arguments, zip_file
from tests.golden.agents import model_of
from tests.golden.recipes import FOUR

COMPILED = (
    "compiled are the policies of PPO, A2C, TRPO, MaskablePPO, RecurrentPPO, DQN, QRDQN, SAC, TQC, CrossQ, TD3, DDPG "
    "and ARS"
)
EXPORT = (
    "only SB3's FlattenExtractor, NatureCNN and CombinedExtractor can be compiled from a file alone; export yours with "
    "torch.export.save(torch.export.export(model.policy.features_extractor, (preprocessed observation,)), "
    '"extractor.pt2") and pass --extractor extractor.pt2'
)


# What is not compiled.


def test_every_class_of_the_tables_exists():
    for path in families.FAMILIES:
        module, _, name = path.rpartition(".")
        found = getattr(__import__(module, fromlist=[name]), name)
        assert (found.__module__, found.__name__) == (module, name)


def test_custom_policies_are_refused_by_name(tmp_path):
    class Custom(ActorCriticPolicy):  # type: ignore[misc]
        pass

    named = {"policy_class": {":serialized:": base64.b64encode(b"\x80\x04cmine\nPolicy\n.").decode()}}
    with pytest.raises(UnsupportedError, match=r"the policy class 'mine\.Policy' is not one of"):
        model_of(zip_file(tmp_path, "ppo_default", fields=named))
    by_value = {"policy_class": pickled(Custom)}
    with pytest.raises(UnsupportedError, match="a policy class of its own"):
        model_of(zip_file(tmp_path, "ppo_default", fields=by_value))


def test_every_policy_of_sb3_and_sb3_contrib_is_in_the_tables():
    modules = (
        *(f"stable_baselines3.{name}.policies" for name in ("ppo", "a2c", "dqn", "sac", "td3")),
        *(
            f"sb3_contrib.{name}.policies"
            for name in ("ppo_mask", "ppo_recurrent", "trpo", "qrdqn", "tqc", "crossq", "ars")
        ),
    )
    found = set()
    for module in modules:
        known = vars(importlib.import_module(module))
        policies = [value for name, value in known.items() if name.endswith("Policy") and name != "BasePolicy"]
        found |= {f"{policy.__module__}.{policy.__name__}" for policy in policies}
    assert len(found) > 20
    assert found <= set(families.POLICIES)


def test_unsupported_things_are_reported_at_once(tmp_path):
    arguments = {"activation_fn": nn.GLU, "flavour": 3, "x\n": 4, "features_extractor_kwargs": {"size": 3}}
    fields = {
        "policy_kwargs": pickled(arguments),
        "observation_space": pickled(gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2))),
        "action_space": pickled(gymnasium.spaces.MultiBinary((2, 2))),
    }
    assert refusal(zip_file(tmp_path, "ppo_default", fields=fields), UnsupportedError) == [
        "action_space: a MultiBinary of shape (2, 2); SB3 takes actions of one dimension",
        "policy_kwargs.activation_fn: torch.nn.GLU halves the number of features, which no layer of SB3's expects; "
        "retrain with one of torch.nn's activations",
        "policy_kwargs.flavour: not an argument of ActorCriticPolicy that is known",
        "policy_kwargs.'x\\n': not an argument of ActorCriticPolicy that is known",
        "policy_kwargs.features_extractor_kwargs.size: not an argument of FlattenExtractor that is known",
        "observation_space: FlattenExtractor does not take Dict observations",
    ]


def test_damage_and_unsupported_things_are_one_error(tmp_path):
    fields = {
        "policy_kwargs": {"normalize_images": "yes", "clip_mean": None, "flavour": 3},
        "action_space": pickled(gymnasium.spaces.Discrete(3)),
    }
    found = refusal(zip_file(tmp_path, "sac_default", fields=fields), CheckpointError)
    assert found == [
        "action_space: Discrete actions; policies of SAC are compiled for Box actions",
        "policy_kwargs.flavour: not an argument of SACPolicy that is known",
        "policy_kwargs.normalize_images: expected true or false, found str 'yes'",
        "policy_kwargs.clip_mean: expected a number, found None",
    ]


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (gymnasium.spaces.Box(-1, 1, (), np.float32), r"a Box of shape \(\), for which SB3's predict fails, too"),
        (gymnasium.spaces.Box(-1, 1, (1,) * 8, np.float32), "a Box of 8 dimensions; at most 7"),
        (gymnasium.spaces.MultiBinary(()), r"a MultiBinary of shape \(\)"),
        (gymnasium.spaces.MultiDiscrete([[2, 2]]), "whose nvec has 2 dimensions"),
        (gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2)), "FlattenExtractor does not take Dict observations"),
        (gymnasium.spaces.Dict(a=gymnasium.spaces.Dict(b=FOUR)), "'a': a Dict in a Dict, which SB3 does not take"),
        (gymnasium.spaces.Dict(a=gymnasium.spaces.Box(0, 1, ())), r"'a': a Box of shape \(\)"),
        (gymnasium.spaces.Tuple(()), "gymnasium.spaces.tuple.Tuple"),
    ],
)
def test_other_observations_are_refused_by_name(space, text, tmp_path):
    path = zip_file(tmp_path, "ppo_default", fields={"observation_space": pickled(space)})
    with pytest.raises(UnsupportedError, match=text):
        model_of(path)


def test_sb3_cannot_predict_for_scalar_observations():
    """
    Why observations of shape () are refused: a policy for them can be made, but not asked.
    """
    space = gymnasium.spaces.Box(-1, 1, (), np.float32)
    policy = ActorCriticPolicy(space, gymnasium.spaces.Discrete(2), lambda _: 0.0)
    with pytest.raises(IndexError):
        policy.predict(np.float32(0.5))


def test_seven_dimensions_are_compiled(tmp_path):
    space = gymnasium.spaces.Box(-1, 1, (1, 1, 2, 1, 2, 1, 1), np.float32)
    model = model_of(zip_file(tmp_path, "ppo_default", fields={"observation_space": pickled(space)}))
    assert model.tensors["observation"].shape == ("batch", 1, 1, 2, 1, 2, 1, 1)


def test_squashing_needs_finite_bounds(tmp_path):
    space = gymnasium.spaces.Box(np.array([-1, -np.inf, 0]), np.array([1, 1, 1]), dtype=np.float64)
    for name in ("sac_clipped_mean", "td3_default", "ppo_squashed"):
        path = zip_file(tmp_path, name, fields={"action_space": pickled(space)})
        assert refusal(path) == ["the action space of a squashed policy has an infinite bound"]


# The features extractor.


def test_custom_extractors_are_refused_by_name(tmp_path):
    class Extractor(FlattenExtractor):  # type: ignore[misc]
        pass

    code = "is a features extractor whose code is not in the file"
    (finding,) = refusal(with_arguments(tmp_path, features_extractor_class=Extractor), UnsupportedError)
    assert finding.startswith("policy_kwargs.features_extractor_class: \"<class 'tests.frontends.test_sb3_unsupported.")
    assert finding.endswith(f"Extractor'>\" {code}; {EXPORT}")
    without_text = {"policy_kwargs": pickled({"features_extractor_class": nn.Linear})}
    (finding,) = refusal(zip_file(tmp_path, "ppo_default", fields=without_text), UnsupportedError)
    named = "policy_kwargs.features_extractor_class: the global 'torch.nn.modules.linear.Linear'"
    assert finding == f"{named} {code}; {EXPORT}"


def test_extractors_take_their_own_observations(tmp_path):
    path = with_arguments(tmp_path, features_extractor_class=NatureCNN)
    (finding,) = refusal(path, UnsupportedError)
    assert finding == "observation_space: NatureCNN takes images (channels, height, width), found a Box of shape (4,)"
    fields = {"observation_space": pickled(gymnasium.spaces.Discrete(4))}
    (finding,) = refusal(zip_file(tmp_path, "dqn_cnn", fields=fields), UnsupportedError)
    assert finding.endswith("(channels, height, width), found Discrete observations")


# The activation.


def test_partials_and_defaults_are_known(tmp_path):
    path = with_arguments(tmp_path, activation_fn=functools.partial(nn.LeakyReLU, negative_slope=0.25))
    assert model_of(path).nodes[2].attributes == {"negative_slope": 0.25}
    assert model_of(with_arguments(tmp_path)).nodes[2].op == "tanh"
    assert model_of(with_arguments(tmp_path, "dqn_default")).nodes[2].op == "relu"


def test_a_lambda_is_refused_by_name_unless_the_user_knows_it(tmp_path):
    path = with_arguments(tmp_path, activation_fn=lambda: nn.ELU(0.5))
    (finding,) = refusal(path, UnsupportedError)
    assert finding.startswith("policy_kwargs.activation_fn: '<function test_a_lambda")
    assert finding.endswith("<lambda>>' can't be known from the file; pass --activation relu|tanh|...")
    model = model_of(path, strict=True, activation="ELU(0.5)")
    assert (model.nodes[2].op, model.nodes[2].attributes) == ("elu", {"alpha": 0.5})


def test_a_custom_activation_is_refused_by_name(tmp_path):
    class Swish(nn.Module):  # type: ignore[misc]
        pass

    (finding,) = refusal(with_arguments(tmp_path, activation_fn=Swish), UnsupportedError)
    assert "Swish" in finding
    without_text = {"policy_kwargs": pickled({"activation_fn": torch.tanh})}
    (finding,) = refusal(zip_file(tmp_path, "ppo_default", fields=without_text), UnsupportedError)
    assert "can't be known from the file" in finding
