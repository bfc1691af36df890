"""
Damaged layers of every kind: convolutions, LSTMs, BatchRenorm, slopes, quantiles; everything wrong is reported at once.
"""

import gymnasium
import numpy as np
import pytest
import torch

from compiler.errors import CheckpointError, UnsupportedError
from tests.frontends.checkpoints import pickled, refusal, with_arguments, zip_file
from tests.golden.agents import model_of
from tests.golden.recipes import FOUR

CNN = "q_net.features_extractor.cnn"
LATENT = "actor.latent_pi"


def setting(key, shape):
    def change(state):
        state[key] = torch.ones(shape)

    return change


def removing(key):
    def change(state):
        del state[key]

    return change


@pytest.mark.parametrize(
    ("name", "key", "shape", "text"),
    [
        ("dqn_cnn", f"{CNN}.0.weight", (32, 3, 8, 8), f"layer '{CNN}.0' takes 3 channels; there are 4"),
        ("dqn_cnn", f"{CNN}.2.weight", (64, 32, 4), "the weight must be four-dimensional and floating"),
        ("dqn_cnn", f"{CNN}.2.bias", (63,), f"layer '{CNN}.2': the bias must have 64 floating elements"),
        ("dqn_cnn", f"{CNN}.4.weight", (64, 64, 9, 9), f"layer '{CNN}.4': the kernel (9, 9) is larger than the image"),
        ("dqn_cnn", "q_net.features_extractor.linear.0.weight", (512, 64), "takes 64 features; there are 128"),
        ("recurrent_discrete", "lstm_actor.weight_hh_l0", (128, 31), "must have four rows for each column"),
        ("recurrent_discrete", "lstm_actor.weight_ih_l0", (128, 5), "'lstm_actor.ih_l0' takes 5 features; there are 4"),
        ("recurrent_discrete", "lstm_actor.weight_ih_l0", (64, 4), "has 64 rows; its LSTM needs 128"),
        ("recurrent_discrete", "lstm_actor.bias_hh_l0", (127,), "the bias must have 128 floating elements"),
        ("recurrent_two_layers", "lstm_actor.weight_ih_l1", (68, 16), "takes 16 features; there are 17"),
        ("crossq_default", f"{LATENT}.0.ra_mean", (5,), f"tensor '{LATENT}.0.ra_mean' must have 4 floating elements"),
        ("crossq_default", f"{LATENT}.3.scale", (32, 1), f"tensor '{LATENT}.3.scale' must have 32 floating elements"),
        ("ppo_prelu", "mlp_extractor.policy_net.1.weight", (19,), "the slopes must be 1 or 20, found float32"),
        ("qrdqn_default", "quantile_net.quantile_net.4.bias", (74,), "the bias must have 75 floating elements"),
        ("ppo_sde", "log_std", (63, 3), "tensor 'log_std' must have the floating shape (64, 3), found"),
        ("ppo_box", "log_std", (5,), "tensor 'log_std' must have 6 floating elements, found float32 of shape (5,)"),
        ("sac_clipped_mean", "actor.log_std", (16, 2), "must have the floating shape (16, 3)"),
        ("tqc_default", "actor.log_std.weight", (2, 24), "'actor.log_std' has 2 outputs; the action space needs 3"),
        ("maskable_bits", "action_net.weight", (4, 12), "has 4 outputs; the action space needs 8"),
        ("a2c_several_choices", "action_net.weight", (9, 64), "has 9 outputs; the action space needs 10"),
    ],
)  # fmt: skip
def test_tensors_of_another_shape_are_refused(name, key, shape, text, tmp_path):
    found = refusal(zip_file(tmp_path, name, setting(key, shape)))
    assert any(text in finding for finding in found), found


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("dqn_cnn", f"{CNN}.4.weight"),
        ("recurrent_two_layers", "lstm_actor.weight_hh_l1"),
        ("recurrent_discrete", "lstm_actor.weight_ih_l0"),
        ("crossq_default", f"{LATENT}.3.ra_var"),
        ("crossq_default", f"{LATENT}.4.weight"),
        ("ppo_prelu", "mlp_extractor.policy_net.3.weight"),
        ("ppo_dict", "pi_features_extractor.extractors.camera.cnn.2.weight"),
        ("tqc_default", "actor.log_std.weight"),
    ],
)
def test_tensors_that_are_missing_are_named(name, key, tmp_path):
    found = refusal(zip_file(tmp_path, name, removing(key)))
    assert any(key in finding for finding in found), found


def test_quantiles_are_as_many_for_each_action(tmp_path):
    def change(state):
        state["quantile_net.quantile_net.4.weight"] = torch.ones(76, 64)
        state["quantile_net.quantile_net.4.bias"] = torch.ones(76)

    (finding,) = refusal(zip_file(tmp_path, "qrdqn_default", change))[:1]
    assert finding == "the last layer has 76 outputs, not as many for each of 3 actions"
    fields = {"policy_kwargs": {"n_quantiles": 26}}
    (finding,) = refusal(zip_file(tmp_path, "qrdqn_default", fields=fields))
    assert finding == "the last layer has 25 quantiles of 3 actions, not 26"


@pytest.mark.parametrize("key", ["lstm_actor.weight_hr_l0", "lstm_actor.weight_ih_l0_reverse"])
def test_other_lstms_are_refused(key, tmp_path):
    (finding,) = refusal(zip_file(tmp_path, "recurrent_discrete", setting(key, (128, 4))), UnsupportedError)
    assert finding.startswith(f"tensor '{key}': a parameter of an LSTM with projections or of two directions")


def test_arguments_of_the_lstm_are_looked_at(tmp_path):
    known = {"bias": True, "dropout": 0.5, "bidirectional": False, "proj_size": 0}
    assert model_of(with_arguments(tmp_path, "recurrent_discrete", lstm_kwargs=known)).states
    other = {"batch_first": True, "proj_size": 3, "bidirectional": True, "layers": 4}
    assert refusal(with_arguments(tmp_path, "recurrent_discrete", lstm_kwargs=other), UnsupportedError) == [
        "policy_kwargs.lstm_kwargs.batch_first: is not compiled; retrain without it",
        "policy_kwargs.lstm_kwargs.proj_size: is not compiled; retrain without it",
        "policy_kwargs.lstm_kwargs.bidirectional: is not compiled; retrain without it",
        "policy_kwargs.lstm_kwargs.layers: not an argument of nn.LSTM that is known",
    ]
    with pytest.raises(CheckpointError, match="lstm_kwargs: expected a dict"):
        model_of(with_arguments(tmp_path, "recurrent_discrete", lstm_kwargs=[3]))


# The parts of a Dict.


def test_parts_are_in_the_saved_order(tmp_path):
    space = gymnasium.spaces.Dict([("observation", FOUR), ("goal", gymnasium.spaces.Box(-5, 5, (3,)))])
    model = model_of(zip_file(tmp_path, "sac_dict", fields={"observation_space": pickled(space)}))
    assert model.inputs == ("observation.observation", "observation.goal")
    assert model_of(zip_file(tmp_path, "sac_dict")).inputs == ("observation.goal", "observation.observation")
    concat = next(node for node in model.nodes if node.op == "concat")
    widths = [model.tensors[name].shape[1] for name in concat.inputs]
    assert widths == [4, 3]


def test_the_tensors_say_which_part_is_an_image(tmp_path):
    """
    An image that the extractor flattened, as versions of SB3 did that knew `normalize_images` of a CNN policy alone.
    """
    image = gymnasium.spaces.Box(0, 1, (1, 2, 2), np.float32)
    space = gymnasium.spaces.Dict(goal=gymnasium.spaces.Box(-5, 5, (3,)), observation=image)
    fields = {"observation_space": pickled(space), "policy_kwargs": {"normalize_images": False, "net_arch": [12]}}
    model = model_of(zip_file(tmp_path, "sac_dict", fields=fields))
    assert "conv2d" not in {node.op for node in model.nodes}


def test_other_parts_in_an_extractor_are_refused(tmp_path):
    def change(state):
        for prefix in ("features_extractor", "pi_features_extractor"):
            state[f"{prefix}.extractors.radar.0.weight"] = torch.ones(3, 3)

    found = refusal(zip_file(tmp_path, "ppo_dict", change), UnsupportedError)
    assert len(found) == 2
    assert found[1].startswith("the features extractor 'features_extractor' is not SB3's CombinedExtractor (it has ")


def test_a_part_with_a_cnn_must_be_an_image(tmp_path):
    space = gymnasium.spaces.Dict(only=gymnasium.spaces.Box(-1, 1, (7,), np.float32))
    found = refusal(zip_file(tmp_path, "ppo_dict_one_image", fields={"observation_space": pickled(space)}))
    assert "is a NatureCNN, which takes images, found a Box of shape (7,)" in found[0]


def test_too_many_parts_are_refused(tmp_path):
    space = gymnasium.spaces.Dict({f"part{place}": gymnasium.spaces.Discrete(2) for place in range(300)})
    found = refusal(zip_file(tmp_path, "ppo_dict", fields={"observation_space": pickled(space)}), UnsupportedError)
    assert found == ["observation_space: a Dict of 300 parts; at most 256 are compiled"]
    empty = {"observation_space": pickled(gymnasium.spaces.Dict())}
    assert refusal(zip_file(tmp_path, "ppo_dict", fields=empty)) == ["observation_space: a Dict without parts"]


def test_numbers_too_large_for_a_float_are_refused(tmp_path):
    fields = {"policy_kwargs": {"clip_mean": 10**400}, "exploration_rate": 10**400}
    (finding,) = refusal(zip_file(tmp_path, "sac_default", fields=fields))
    assert finding == "policy_kwargs.clip_mean: expected a finite number, found inf"
    (finding,) = refusal(zip_file(tmp_path, "dqn_default", fields={"exploration_rate": 10**400}))
    assert finding == "exploration_rate: expected a finite number, found inf"
