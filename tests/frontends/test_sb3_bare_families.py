"""
A policy.pth alone of every family: what its tensors tell, what is assumed, and what must be given.
"""

import pytest
import torch
from gymnasium.spaces import Discrete
from sb3_contrib.qrdqn.policies import CnnPolicy, QRDQNPolicy

from compiler import ir
from compiler.errors import UnsupportedError
from tests.frontends.checkpoints import bare_file, file_of, refusal
from tests.golden.agents import model_of
from tests.golden.recipes import FOUR, image

ONE = {"action_low": (-1.0,), "action_high": (1.0,)}


def policy_file(folder, policy, space, **arguments):
    return file_of(folder, policy(space, Discrete(3), lambda _: 0.0, **arguments).state_dict())


def said(model, text):
    return [assumption for assumption in model.origin.assumptions if text in assumption]


def test_two_hundred_quantiles_are_assumed(tmp_path):
    model = model_of(policy_file(tmp_path, QRDQNPolicy, FOUR))
    assert said(model, "the number of quantiles: assumed 200, SB3's default")
    assert said(model, "how often a drawn action is random: assumed 0.01")
    assert model.policy.action_space == ir.Discrete(3)
    (finding,) = refusal(policy_file(tmp_path, QRDQNPolicy, FOUR, n_quantiles=50), UnsupportedError)
    assert finding == "the file does not say how many quantiles the last layer's 150 outputs are; pass --quantiles"


def test_images_of_atari_are_assumed(tmp_path):
    model = model_of(policy_file(tmp_path, CnnPolicy, image(4, 84, 84)))
    assert said(model, "the size of its images: assumed (4, 84, 84), that of SB3's Atari")
    assert said(model, "the dtype of its images: assumed uint8, from 0 to 255")
    assert said(model, "whether images were normalised: assumed divided by 255")
    assert model.policy.kind == "CnnPolicy"
    assert model.policy.observation_space.is_image
    assert model.nodes[0].op == "divide"


def test_images_of_another_size_must_be_given(tmp_path):
    path = policy_file(tmp_path, CnnPolicy, image(1, 36, 44), n_quantiles=200)
    (finding,) = refusal(path, UnsupportedError)
    assert finding == "the file does not say the size of its images; pass --observation-shape"
    model = model_of(path, observation_shape=(1, 36, 44))
    assert model.tensors["observation"].shape == ("batch", 1, 36, 44)
    raw = model_of(path, observation_shape=(1, 36, 44), observation_dtype="float32")
    assert raw.nodes[0].op == "conv2d"


def test_other_observations_are_asked_for(tmp_path):
    path = bare_file(tmp_path, "a2c_several_choices")
    known = {"action_kind": "multi_discrete", "action_sizes": (3, 2, 5), "masked": False}
    sizes = {"observation_kind": "multi_discrete", "observation_sizes": (3, 2, 4)}
    assert model_of(path, **known, **sizes).nodes[0].attributes == {"sizes": (3, 2, 4)}
    assert model_of(path, **known, observation_kind="discrete").nodes[0].attributes == {"sizes": (9,)}
    bits = model_of(path, **known, observation_kind="multi_binary", observation_shape=(3, 3))
    assert bits.tensors["observation"].shape == ("batch", 3, 3)


def test_masks_must_be_asked_for(tmp_path):
    path = bare_file(tmp_path, "maskable_several")
    known = {"action_kind": "multi_discrete", "action_sizes": (3, 2, 5)}
    plain, masked = model_of(path, **known), model_of(path, masked=True, **known)
    assert said(plain, "whether the policy takes action masks: assumed that it does not")
    assert not said(masked, "masks")
    assert (plain.inputs, masked.inputs) == (("observation",), ("observation", "action_masks"))
    assert masked.policy.kind == "MaskableActorCriticPolicy"
    bits = model_of(bare_file(tmp_path, "maskable_bits"), masked=True, action_kind="multi_binary")
    assert bits.policy.action_space == ir.MultiBinary((4,))


def test_batch_norm_eps_is_assumed(tmp_path):
    model = model_of(bare_file(tmp_path, "crossq_default"), **ONE)
    assert said(model, "batch_norm_eps: assumed 0.001, SB3's default")
    epsilons = {node.attributes["epsilon"] for node in model.nodes if node.op == "batch_norm"}
    assert epsilons == {0.001}


def test_slopes_tell_their_activation(tmp_path):
    model = model_of(bare_file(tmp_path, "td3_prelu"), **ONE)
    assert not said(model, "activation")
    assert [node.op for node in model.nodes].count("prelu") == 2


def test_a_tanh_tells_that_ars_squashes(tmp_path):
    path = bare_file(tmp_path, "ars_default")
    with pytest.raises(UnsupportedError, match="the bounds of the actions, to which the output of tanh is rescaled"):
        model_of(path)
    assert [node.op for node in model_of(path, **ONE).nodes][-2:] == ["tanh", "rescale"]
    clipped = model_of(bare_file(tmp_path, "ars_clipped"), action_kind="box", **ONE)
    assert clipped.nodes[-1].op == "clip"
    chosen = model_of(bare_file(tmp_path, "ars_linear"))
    assert said(chosen, "the kind of the actions: assumed Discrete(3)")


def test_states_are_those_of_the_tensors(tmp_path):
    model = model_of(bare_file(tmp_path, "recurrent_two_layers"), **ONE)
    assert [state.name for state in model.states] == ["h.0", "c.0", "h.1", "c.1"]
    assert model.inputs == ("observation", "episode_starts")
    assert model.policy.kind == "RecurrentActorCriticPolicy"
    assert model.output("value")


def test_an_lstm_without_a_matrix_is_refused(tmp_path):
    def change(state):
        state["lstm_actor.weight_ih_l0"] = torch.ones(4)

    found = refusal(bare_file(tmp_path, "recurrent_discrete", change))
    assert found == ["tensor 'lstm_actor.weight_ih_l0' has shape (4,), which is no matrix"]


def test_a_cnn_without_its_layers_is_refused(tmp_path):
    def change(state):
        del state["q_net.features_extractor.linear.0.weight"]

    found = refusal(bare_file(tmp_path, "dqn_cnn", change))
    assert found == ["the layers of 'q_net.features_extractor' are missing or not those of a NatureCNN"]
