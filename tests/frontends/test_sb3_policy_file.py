"""
A policy.pth alone: what names and shapes tell, what options say, what is assumed, and what is refused.
"""

import numpy as np
import pytest
import torch
from torch import nn

from compiler.errors import BuildError, CheckpointError, UnsupportedError
from compiler.ir import Discrete
from tests.frontends.checkpoints import bare_file, file_of, refusal
from tests.golden.agents import make, model_of

SHAPE = "the file does not say the shape of an observation: assumed a Box(4,), without bounds"
TANH = "the file does not say the activation between layers: assumed Tanh, SB3's default for ActorCriticPolicy"
EXPLN = "the file does not say how standard deviations are made of log_std: assumed use_expln=False, SB3's default"
BOUNDS = "the file does not say the bounds of the actions"


def strict_findings(path, **options):
    return refusal(path, UnsupportedError, strict=True, **options)


# What is assumed, and refused under strict.


def test_a_discrete_actor_critic_needs_four_assumptions(tmp_path):
    path = bare_file(tmp_path, "ppo_default")
    model = model_of(path)
    assert model.origin.assumptions == (
        SHAPE,
        "the file does not say the kind of the actions: assumed Discrete(2)",
        "the file does not say whether the policy takes action masks: assumed that it does not",
        TANH,
    )
    assert model.policy.kind == "ActorCriticPolicy"
    assert model.policy.action_space == Discrete(2)
    space = model.policy.observation_space
    assert (space.shape, space.dtype) == ((4,), "float32")
    assert np.isneginf(space.low).all()
    assert np.isposinf(space.high).all()
    assert strict_findings(path) == [
        "the file does not say the shape of an observation; pass --observation-shape",
        "the file does not say the kind of the actions; pass --action-kind",
        "the file does not say whether the policy takes action masks; pass --masked or --no-masked",
        "the file does not say the activation between layers; pass --activation",
    ]
    assert (model.origin.format, model.origin.versions) == ("torch-state-dict", ())


def test_options_replace_assumptions(tmp_path):
    options = {"observation_shape": (2, 2), "action_kind": "discrete", "activation": "ELU", "masked": False}
    model = model_of(bare_file(tmp_path, "ppo_default"), strict=True, **options)
    assert model.origin.assumptions == ()
    assert model.tensors["observation"].shape == ("batch", 2, 2)
    assert model.nodes[2].op == "elu"


def test_clipped_actions_are_not_clipped_without_bounds(tmp_path):
    path = bare_file(tmp_path, "ppo_asymmetric")
    model = model_of(path)
    assert model.origin.assumptions == (SHAPE, f"{BOUNDS}: assumed none: actions are not clipped", TANH)
    assert model.nodes[6].op == "clip"
    assert np.isinf(model.tensors["action_space.low"].data).all()
    assert f"{BOUNDS}; pass --action-low and --action-high" in strict_findings(path)
    given = model_of(path, action_low=(-1.0,), action_high=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(given.tensors["action_space.low"].data, [-1, -1, -1])
    np.testing.assert_array_equal(given.tensors["action_space.high"].data, [1, 2, 3])


@pytest.mark.parametrize("name", ["sac_default", "td3_default"])
def test_squashed_actions_need_bounds(name, tmp_path):
    path = bare_file(tmp_path, name)
    (finding,) = refusal(path, UnsupportedError)
    rescaled = "to which the output of tanh is rescaled; pass --action-low and --action-high"
    assert finding == f"{BOUNDS}, {rescaled}"
    relu = "the file does not say the activation between layers: assumed ReLU, SB3's default"
    kind = {"sac_default": "SACPolicy", "td3_default": "TD3Policy"}[name]
    model = model_of(path, action_low=(-1.0,), action_high=(1.0,))
    assert model.origin.assumptions == (SHAPE, f"{relu} for {kind}")
    assert model.policy.kind == kind


def test_squash_output_of_gsde_is_assumed_false(tmp_path):
    path = bare_file(tmp_path, "ppo_squashed")
    squash = "the file does not say whether the mean is squashed"
    model = model_of(path, action_low=(-1.0,), action_high=(1.0,))
    assert model.origin.assumptions == (SHAPE, TANH, f"{squash}: assumed squash_output=False, SB3's default", EXPLN)
    assert f"{squash}; pass --squash-output" in strict_findings(path)
    squashed = model_of(path, action_low=(-1.0,), action_high=(1.0,), squash_output=True)
    assert [node.op for node in squashed.nodes][5:8] == ["linear", "tanh", "rescale"]
    (finding,) = refusal(path, UnsupportedError, squash_output=True)
    assert "to which the output of tanh is rescaled" in finding


def test_clip_mean_is_assumed_where_there_is_one(tmp_path):
    path = bare_file(tmp_path, "sac_clipped_mean")
    bounds = {"action_low": (-1.0,), "action_high": (1.0,)}
    model = model_of(path, **bounds)
    assert model.origin.assumptions[-2:] == ("the file does not say clip_mean: assumed 2.0, SB3's default", EXPLN)
    assert "the file does not say clip_mean; pass --clip-mean" in strict_findings(path, **bounds)
    other = model_of(path, clip_mean=0.5, **bounds)
    assert other.nodes[6].attributes == {"min_val": -0.5, "max_val": 0.5}
    for value in (0.0, -1.0, np.inf, np.nan):
        (finding,) = refusal(path, BuildError, clip_mean=value, **bounds)
        assert finding == f"--clip-mean {value} contradicts the tensors"
    unclipped = bare_file(tmp_path, "sac_unclipped")
    assert not any("clip_mean" in text for text in model_of(unclipped, **bounds).origin.assumptions)
    (finding,) = refusal(unclipped, BuildError, clip_mean=0.5, **bounds)
    assert finding == "--clip-mean 0.5 contradicts the tensors"


def test_q_networks_are_known_to_be_discrete(tmp_path):
    path = bare_file(tmp_path, "dqn_default")
    model = model_of(path)
    assert model.policy.action_space == Discrete(3)
    assert model.origin.assumptions[2:] == (
        "the file does not say how often a drawn action is random: "
        "assumed 0.05, SB3's default of exploration_final_eps",
    )
    assert model.policy.sampling.epsilon == 0.05
    assert model_of(path, action_kind="discrete").nodes == model.nodes
    assert model_of(path, exploration_rate=0.3).policy.sampling.epsilon == 0.3


@pytest.mark.parametrize(
    ("name", "inputs", "known"),
    [("ppo_no_layers", 15, {"masked": False}), ("dqn_no_layers", 4, {"exploration_rate": 0})],
)
def test_a_single_layer_needs_no_activation(name, inputs, known, tmp_path):
    options = {"observation_shape": (inputs,), "action_kind": "discrete", **known}
    assert model_of(bare_file(tmp_path, name), strict=True, **options).origin.assumptions == ()


def test_images_are_asked_for(tmp_path):
    path = bare_file(tmp_path, "ppo_image")
    images = "the file does not say whether observations are images"
    known = {"activation": "Tanh", "action_kind": "discrete", "observation_shape": (3, 8, 6), "masked": False}
    model = model_of(path, **known)
    assert model.origin.assumptions == (f"{images}: assumed float32, no images",)
    assert strict_findings(path, **known) == [f"{images}; pass --observation-dtype"]

    known["observation_dtype"] = "uint8"
    normalised = "the file does not say whether images were normalised"
    model = model_of(path, **known)
    assert model.origin.assumptions == (f"{normalised}: assumed divided by 255, SB3's default",)
    assert model.nodes[0].op == "divide"
    assert strict_findings(path, **known) == [f"{normalised}; pass --normalize-images"]
    assert model_of(path, strict=True, normalize_images=False, **known).nodes[0].op == "flatten"


@pytest.mark.parametrize(("dtype", "low", "high"), [("int16", -32768, 32767), ("bool", False, True), ("uint8", 0, 255)])
def test_other_dtypes_have_their_widest_bounds(dtype, low, high, tmp_path):
    options = {"observation_shape": (4,), "observation_dtype": dtype}
    space = model_of(bare_file(tmp_path, "ppo_default"), **options).policy.observation_space
    assert space.dtype == dtype
    assert (space.low == low).all()
    assert (space.high == high).all()


# What is refused.


ONE = {"action_low": (-1.0,), "action_high": (1.0,)}


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("ppo_default", {"observation_shape": (5,)}, "--observation-shape (5,) does not fit the 4 inputs"),
        ("ppo_default", {"observation_shape": ()}, "does not fit"),
        ("ppo_default", {"observation_shape": (-2, -2)}, "does not fit"),
        ("ppo_default", {"observation_shape": (4, 1, 1, 1, 1, 1, 1, 1)}, "does not fit"),
        ("ppo_default", {"observation_dtype": "object"}, "--observation-dtype must be one of bool, int8"),
        ("ppo_default", {"action_kind": "box"}, "contradicts the tensors of ActorCriticPolicy with Discrete actions"),
        ("ppo_default", {"action_low": (0.0,)}, "--action-low given for ActorCriticPolicy with Discrete actions"),
        ("ppo_default", {"squash_output": True}, "--squash-output True contradicts the tensors"),
        ("ppo_default", {"clip_mean": 1.0}, "--clip-mean 1.0 contradicts the tensors"),
        ("ppo_default", {"activation": "swish"}, "activation must be one of"),
        ("ppo_box", {"action_kind": "discrete"}, "contradicts the tensors of ActorCriticPolicy with Box actions"),
        ("ppo_box", {"action_low": (0.0,)}, "belong together; one of them is missing"),
        ("ppo_box", {"action_low": (0.0, 1.0), "action_high": (2.0,)}, "has 2 values; there are 6 actions"),
        ("ppo_box", {"action_low": (3.0,), "action_high": (2.0,)}, "--action-low is above --action-high"),
        ("ppo_box", {"action_low": (np.nan,), "action_high": (2.0,)}, "--action-low is NaN"),
        ("ppo_box", {"squash_output": True, **ONE}, "the tensors, which are those of ActorCriticPolicy without gSDE"),
        ("ppo_default", {"action_kind": "multi_discrete"}, "--action-sizes is needed: the number of values of each"),
        (
            "ppo_default",
            {"action_kind": "multi_discrete", "action_sizes": (3,)},
            "does not fit the tensors, which have 2",
        ),
        ("ppo_default", {"action_sizes": (1, 1)}, "--action-sizes (1, 1) does not fit"),
        ("ppo_default", {"observation_kind": "multi_discrete"}, "--observation-sizes is needed"),
        ("ppo_default", {"observation_kind": "discrete", "observation_sizes": (3,)}, "which have 4 values together"),
        ("ppo_default", {"use_expln": True}, "--use-expln contradicts the tensors"),
        ("ppo_default", {"quantiles": 3}, "--quantiles contradicts the tensors, which are not those of QRDQN"),
        ("ppo_default", {"batch_norm_eps": 0.1}, "--batch-norm-eps 0.1 contradicts the tensors"),
        ("ppo_default", {"exploration_rate": 0.1}, "--exploration-rate contradicts the tensors of ActorCriticPolicy"),
        ("ppo_box", {"masked": True, **ONE}, "--masked contradicts the tensors, which are those of ActorCriticPolicy"),
        ("dqn_default", {"exploration_rate": 1.5}, "--exploration-rate 1.5 is not between 0 and 1"),
        ("qrdqn_default", {"quantiles": 4}, "--quantiles 4 does not divide the 75 outputs of the last layer"),
        ("crossq_default", {"batch_norm_eps": -1.0, **ONE}, "--batch-norm-eps -1.0 contradicts the tensors"),
        ("dqn_cnn", {"observation_shape": (4, 36)}, "--observation-shape (4, 36) does not fit the policy, which needs"),
        ("dqn_cnn", {"observation_shape": (4, 84, 84)}, "with 128 features after the convolutions"),
        ("dqn_cnn", {"observation_kind": "discrete"}, "contradicts the tensors of a NatureCNN"),
        (
            "ppo_default",
            {"masked": True, "action_kind": "box"},
            "--action-kind box contradicts the tensors of Maskable",
        ),
        ("dqn_default", {"action_kind": "box"}, "contradicts the tensors of DQNPolicy with Discrete actions"),
        ("dqn_default", {"action_high": (1.0,)}, "--action-high given for DQNPolicy"),
        ("td3_default", {"action_kind": "discrete"}, "contradicts the tensors of TD3Policy with Box actions"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, text, tmp_path):
    with pytest.raises(BuildError) as error:
        model_of(bare_file(tmp_path, name), **options)
    assert text in str(error.value)


def test_all_options_that_do_not_fit_are_reported_at_once(tmp_path):
    options = {"observation_shape": (5,), "action_kind": "box", "activation": "swish", "squash_output": True}
    assert len(refusal(bare_file(tmp_path, "ppo_default"), BuildError, **options)) == 4


def test_squashed_bounds_must_be_finite(tmp_path):
    with pytest.raises(CheckpointError, match="has an infinite bound"):
        model_of(bare_file(tmp_path, "td3_default"), action_low=(-np.inf,), action_high=(1.0,))


def test_the_tensors_of_something_else_are_refused(tmp_path):
    path = file_of(tmp_path, nn.Linear(2, 3).state_dict())
    with pytest.raises(
        CheckpointError, match=r"not those of a Stable-Baselines3 policy; the first are 'weight', 'bias'"
    ):
        model_of(path)


def test_a_policy_without_layers_is_refused(tmp_path):
    path = file_of(tmp_path, {"value_net.weight": torch.ones(1, 4)})
    with pytest.raises(CheckpointError, match="are missing or not matrices"):
        model_of(path)
    path = file_of(
        tmp_path, {"mlp_extractor.policy_net.0.weight": torch.ones(4), "action_net.weight": torch.ones(2, 4)}
    )
    with pytest.raises(CheckpointError, match="are missing or not matrices"):
        model_of(path)


def test_pickled_modules_are_refused(tmp_path):
    path = tmp_path / "policy.pth"
    torch.save(make("ppo_default").policy, path)
    with pytest.raises(CheckpointError, match="ActorCriticPolicy"):
        model_of(path)
