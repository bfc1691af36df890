"""
Containers of torch.save, and what `model.policy.save()` adds to the tensors.
"""

import pytest
import torch

from compiler.errors import BuildError, CheckpointError, UnsupportedError
from compiler.ir import Box, Discrete
from tests.frontends.checkpoints import bare_file, file_of, refusal, state_of
from tests.golden.agents import make, model_of

SHAPE = "the file does not say the shape of an observation: assumed a Box(4,), without bounds"
TANH = "the file does not say the activation between layers: assumed Tanh, SB3's default for ActorCriticPolicy"
BOUNDS = "the file does not say the bounds of the actions"


# Files.


def test_the_old_stream_of_torch_is_read(tmp_path):
    old = tmp_path / "old.pth"
    torch.save(state_of("dqn_leaky"), old, _use_new_zipfile_serialization=False)
    new = model_of(bare_file(tmp_path, "dqn_leaky"))
    model = model_of(old)
    assert (model.nodes, model.tensors) == (new.nodes, new.tensors)
    assert model.origin.sha256 != new.origin.sha256


def test_the_name_of_the_file_does_not_matter(tmp_path):
    path = bare_file(tmp_path, "dqn_default").rename(tmp_path / "agent.zip")
    assert model_of(path).origin.format == "torch-state-dict"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="can't be opened"):
        model_of(tmp_path / "absent.zip")


# model.policy.save()


def saved_policy(folder, change=lambda content: None, name="ppo_default"):
    """
    What `model.policy.save()` writes, changed.
    """
    policy = make(name).policy
    content = {"state_dict": policy.state_dict(), "data": policy._get_constructor_parameters()}
    change(content)
    return file_of(folder, content)


def test_saved_policies_say_what_they_are(tmp_path):
    model = model_of(saved_policy(tmp_path, name="dqn_leaky"), strict=True, exploration_rate=0.2)
    assert model.policy.action_space == Discrete(6)
    assert isinstance(model.policy.observation_space, Box)
    assert model.nodes[2].attributes == {"negative_slope": 0.3}


def test_saved_policies_without_spaces_are_refused(tmp_path):
    path = saved_policy(
        tmp_path, lambda content: [content["data"].pop(key) for key in ("observation_space", "action_space")]
    )
    assert refusal(path) == ["data has no observation_space", "data has no action_space"]


def test_saved_policies_do_not_say_how_often_they_explore(tmp_path):
    path = saved_policy(tmp_path, name="qrdqn_default")
    (assumption,) = model_of(path).origin.assumptions
    assert assumption.endswith("assumed 0.01, SB3's default of exploration_final_eps")
    (finding,) = refusal(path, UnsupportedError, strict=True)
    assert finding == "the file does not say how often a drawn action is random; pass --exploration-rate"


def test_saved_policies_of_maskable_ppo_are_told_from_those_of_ppo(tmp_path):
    assert model_of(saved_policy(tmp_path, name="maskable_discrete")).inputs == ("observation", "action_masks")
    assert model_of(saved_policy(tmp_path)).inputs == ("observation",)


def test_saved_policies_contradict_options_too(tmp_path):
    with pytest.raises(BuildError, match="--activation ReLU contradicts the file"):
        model_of(saved_policy(tmp_path), activation="ReLU")


def test_arguments_of_other_policies_are_refused(tmp_path):
    path = saved_policy(tmp_path, lambda content: content["data"].update(n_quantiles=5), "td3_default")
    (finding,) = refusal(path, UnsupportedError)
    assert finding == "data.n_quantiles: not an argument of TD3Policy that is known"
