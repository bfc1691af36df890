"""
The agents of the golden tests: every family, kind and space, with the options that a translation can get wrong.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import nn

UNEVEN = [3, 65, 17, 300]
FOUR = Box(-np.inf, np.inf, (4,), np.float32)
TWO_SIDED = Box(-2.0, 2.0, (1,), np.float32)
CNN, DICT, LSTM = "CnnPolicy", "MultiInputPolicy", "MlpLstmPolicy"


@dataclass(frozen=True)
class Recipe:
    """
    How one agent is made.

    Attributes:
        kind: the policy, as SB3 calls it.
        arguments: of the algorithm.
        infinite: replaces the action space by one without bounds, which SB3 saves and loads but does not train with.
    """

    name: str
    algorithm: type
    observation_space: gymnasium.Space = field(default_factory=lambda: FOUR)
    action_space: gymnasium.Space = field(default_factory=lambda: Discrete(3))
    policy: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    kind: str = "MlpPolicy"
    infinite: bool = False


def box(low: Any, high: Any, shape: tuple[int, ...] | None = None, dtype: Any = np.float32) -> Box:
    """
    A Box of one bound for all elements of a shape, or of lists of bounds.
    """
    bounds = (low, high) if shape else (np.array(low, dtype), np.array(high, dtype))
    return Box(*bounds, shape, dtype)


def image(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


SPREAD = box([-1.0, 0.0, -300.0], [0.5, 0.001, 100.0])
SMALL = image(1, 36, 36)
FLOAT_IMAGE = box(-1, 1, (2, 36, 37))
MIXED = Dict(
    OrderedDict(
        vector=FOUR,
        camera=image(3, 36, 40),
        gear=Discrete(3),
        dials=MultiDiscrete([2, 4]),
        switches=MultiBinary(3),
        map=box(-1, 1, (2, 3), np.float64),
    )
)
"""The parts of an observation in an order that is not the alphabet's."""
PLAIN = Dict(goal=box(-5, 5, (3,)), observation=FOUR)
SEVERAL = MultiDiscrete([3, 2, 5])
SDE = {"use_sde": True}
NARROW = {"net_arch": [12]}
PRELU = {"activation_fn": nn.PReLU, "net_arch": [20, 12]}


def prelu(parameters: int) -> functools.partial[nn.Module]:
    return functools.partial(nn.PReLU, num_parameters=parameters)


ESSENTIAL = (
    Recipe("ppo_default", PPO, FOUR, Discrete(2)),
    Recipe("ppo_uneven", PPO, FOUR, Discrete(17), {"net_arch": UNEVEN, "activation_fn": nn.ELU}),
    Recipe("ppo_no_layers", PPO, box(-1, 1, (3, 5)), Discrete(5), {"net_arch": []}),
    Recipe("ppo_box", PPO, FOUR, box(-0.4, 0.4, (6,)), {"net_arch": {"pi": [32, 8], "vf": [7]}}),
    Recipe("ppo_float64_bounds", PPO, box(-1, 1, (2, 3, 4)), box([-1.0, 0.1], [0.3, 2.0], None, np.float64)),
    Recipe("ppo_integer_bounds", PPO, FOUR, box([-3, 0], [5, 1], None, np.int64)),
    Recipe("ppo_image", PPO, image(3, 8, 6), Discrete(4)),
    Recipe("ppo_squashed", PPO, FOUR, SPREAD, {"squash_output": True}, SDE),
    Recipe("a2c_box", A2C, box(-1, 1, (1,)), box(-1, 1, (2, 3))),
    Recipe("trpo_discrete", TRPO, FOUR, Discrete(3), {"activation_fn": nn.SiLU}),
    Recipe("dqn_default", DQN),
    Recipe("dqn_leaky", DQN, FOUR, Discrete(6), {"activation_fn": functools.partial(nn.LeakyReLU, 0.3)}),
    Recipe("sac_default", SAC, FOUR, TWO_SIDED),
    Recipe("sac_clipped_mean", SAC, FOUR, SPREAD, {"net_arch": [16, 16]}, SDE),
    Recipe("sac_float64", SAC, box(-5, 5, (7,), np.float64), box([-1.0, 0.1], [0.3, 2.0], None, np.float64)),
    Recipe("td3_default", TD3, FOUR, SPREAD),
    Recipe("ddpg_default", DDPG, box(-1, 1, (3,)), TWO_SIDED, {"net_arch": [20]}),
    # Images and Dict observations.
    Recipe("dqn_cnn", DQN, image(4, 36, 44), Discrete(6), kind=CNN),
    Recipe("ppo_cnn_unshared", PPO, SMALL, Discrete(3), {"share_features_extractor": False}, kind=CNN),
    Recipe("ppo_dict", PPO, MIXED, SPREAD, {"features_extractor_kwargs": {"cnn_output_dim": 24}}, kind=DICT),
    Recipe("sac_dict", SAC, PLAIN, TWO_SIDED, NARROW, kind=DICT),
    # Choices.
    Recipe("ppo_discrete_observation", PPO, Discrete(7), Discrete(4)),
    Recipe("a2c_several_choices", A2C, MultiDiscrete([3, 2, 4]), SEVERAL),
    Recipe("ppo_bits", PPO, MultiBinary(5), MultiBinary(4)),
    Recipe("maskable_discrete", MaskablePPO, FOUR, Discrete(9)),
    Recipe("maskable_several", MaskablePPO, FOUR, SEVERAL),
    Recipe("maskable_bits", MaskablePPO, box(-1, 1, (6,)), MultiBinary(4), NARROW),
    # States.
    Recipe("recurrent_discrete", RecurrentPPO, FOUR, Discrete(3), {"lstm_hidden_size": 32}, kind=LSTM),
    Recipe(
        "recurrent_two_layers",
        RecurrentPPO,
        box(-1, 1, (5,)),
        SPREAD,
        {"lstm_hidden_size": 17, "n_lstm_layers": 2, "shared_lstm": True, "enable_critic_lstm": False},
        kind=LSTM,
    ),
    # The rest of sb3_contrib.
    Recipe("qrdqn_default", QRDQN, FOUR, Discrete(3), {"n_quantiles": 25}),
    Recipe("tqc_default", TQC, FOUR, SPREAD, {"net_arch": [24, 24]}),
    Recipe("crossq_default", CrossQ, FOUR, SPREAD, {"net_arch": {"pi": [32, 18], "qf": [8]}}),
    Recipe("ars_default", ARS, FOUR, SPREAD),
    Recipe("ars_linear", ARS, FOUR, Discrete(3), kind="LinearPolicy"),
    Recipe("ppo_prelu", PPO, FOUR, Discrete(4), {"activation_fn": prelu(20), "net_arch": [20, 20]}),
)
"""The agents of which predictors are compiled and compared with SB3, all of them by the thorough."""

COMPILED = (
    *("ppo_uneven", "ppo_no_layers", "ppo_float64_bounds", "ppo_integer_bounds", "ppo_image", "ppo_squashed"),
    *("dqn_default", "dqn_cnn", "sac_default", "sac_float64", "qrdqn_default", "crossq_default", "ars_linear"),
    *("ppo_dict", "ppo_discrete_observation", "a2c_several_choices", "ppo_bits"),
    *("maskable_several", "recurrent_discrete"),
)
"""
Those of them that are compiled in every run: one of each kind of space, head and layer.

What the others add is their models, which every run compares with SB3's: test_frontend_against_sb3.py.
"""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": functools.partial(nn.CELU, alpha=0.7),
    "dropout": functools.partial(nn.Dropout, p=0.3),
    "gelu": nn.GELU,
    "gelu_tanh": functools.partial(nn.GELU, approximate="tanh"),
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": functools.partial(nn.Hardtanh, -0.5, 2.0),
    "hardtanh_infinite": functools.partial(nn.Hardtanh, -0.5, float("inf")),
    "identity": nn.Identity,
    "log_sigmoid": nn.LogSigmoid,
    "log_softmax": functools.partial(nn.LogSoftmax, dim=-1),
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "softmax": functools.partial(nn.Softmax, dim=1),
    "softmin": functools.partial(nn.Softmin, dim=-1),
    "softplus": functools.partial(nn.Softplus, beta=2, threshold=3),
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
    "threshold": functools.partial(nn.Threshold, 0.1, -2.0),
}

ACTOR_CRITIC = (
    Recipe("ppo_one_choice", PPO, FOUR, Discrete(1)),
    Recipe("ppo_value_alone_has_layers", PPO, FOUR, Discrete(2), {"net_arch": {"pi": [], "vf": [9]}}),
    Recipe("ppo_float64_space", PPO, box(-1e3, 1e3, (4,), np.float64), Discrete(3)),
    Recipe("ppo_integer_space", PPO, box(-50, 50, (4,), np.int64), Discrete(3)),
    Recipe("ppo_bytes", PPO, Box(0, 255, (9,), np.uint8), Discrete(3)),
    Recipe("ppo_almost_image", PPO, Box(0, 254, (3, 8, 6), np.uint8), Discrete(3)),
    Recipe("ppo_raw_image", PPO, image(3, 8, 6), Discrete(4), {"normalize_images": False}),
    Recipe("ppo_channels_last", PPO, image(8, 6, 3), Discrete(4)),
    Recipe("ppo_unshared", PPO, box(-1, 1, (3, 5)), Discrete(3), {"share_features_extractor": False}),
    Recipe("ppo_scalar_action", PPO, FOUR, Box(np.float32(-0.5), np.float32(0.7), (), np.float32)),
    Recipe("ppo_byte_bounds", PPO, FOUR, box([-1, 0], [1, 2], None, np.int8)),
    Recipe("ppo_asymmetric", PPO, FOUR, SPREAD),
    Recipe("ppo_unbounded", PPO, FOUR, box(-1, 1, (3,)), infinite=True),
    Recipe("ppo_sde", PPO, FOUR, SPREAD, {}, SDE),
    Recipe("ppo_sde_narrow", PPO, FOUR, SPREAD, {"full_std": False, "squash_output": True}, SDE),
    Recipe("ppo_sde_expln", PPO, FOUR, SPREAD, {"use_expln": True, "net_arch": []}, SDE),
    Recipe("a2c_discrete", A2C, FOUR, Discrete(2), {"activation_fn": nn.ReLU}),
    Recipe("trpo_box", TRPO, FOUR, SPREAD),
    Recipe("trpo_several", TRPO, MultiDiscrete([4]), MultiDiscrete([4])),
    Recipe("a2c_bits", A2C, MultiBinary([2, 3]), MultiBinary(1)),
    Recipe("ppo_prelu_single", PPO, FOUR, Discrete(4), PRELU),
    # Images.
    Recipe("ppo_cnn", PPO, image(3, 36, 40), Discrete(4), kind=CNN),
    Recipe("ppo_cnn_channels_last", PPO, image(36, 40, 3), SPREAD, {"net_arch": [9]}, kind=CNN),
    Recipe("ppo_cnn_raw", PPO, SMALL, Discrete(4), {"normalize_images": False}, kind=CNN),
    Recipe("ppo_cnn_float", PPO, FLOAT_IMAGE, Discrete(4), {"normalize_images": False}, kind=CNN),
    Recipe("ppo_cnn_flat", PPO, SMALL, Discrete(4), {"features_extractor_class": FlattenExtractor}, kind=CNN),
    Recipe("a2c_cnn", A2C, SMALL, MultiBinary(3), kind=CNN),
    Recipe("trpo_cnn", TRPO, SMALL, SEVERAL, {"features_extractor_kwargs": {"features_dim": 13}}, kind=CNN),
    Recipe(
        "ppo_explicit_cnn",
        PPO,
        SMALL,
        Discrete(4),
        {"features_extractor_class": NatureCNN, "features_extractor_kwargs": {"features_dim": 21}},
    ),
    # Dict observations.
    Recipe("ppo_dict_raw", PPO, MIXED, Discrete(3), {"normalize_images": False}, kind=DICT),
    Recipe("ppo_dict_unshared", PPO, MIXED, Discrete(3), {"share_features_extractor": False}, kind=DICT),
    Recipe("ppo_dict_one", PPO, Dict(only=Discrete(5)), Discrete(3), kind=DICT),
    Recipe("ppo_dict_one_image", PPO, Dict(only=SMALL), Discrete(3), kind=DICT),
    Recipe("ppo_dict_explicit", PPO, PLAIN, Discrete(3), {"features_extractor_class": CombinedExtractor}, kind=DICT),
    Recipe("a2c_dict_two_images", A2C, Dict(b=SMALL, a=image(2, 37, 36)), SEVERAL, kind=DICT),
    Recipe("trpo_dict", TRPO, PLAIN, MultiBinary(2), kind=DICT),
    Recipe(
        "ppo_dict_float",
        PPO,
        Dict(z=FLOAT_IMAGE, a=FOUR),
        Discrete(3),
        {"features_extractor_kwargs": {"normalized_image": True, "cnn_output_dim": 7}},
        kind=DICT,
    ),
    # Masks.
    Recipe("maskable_one_choice", MaskablePPO, FOUR, Discrete(1)),
    Recipe("maskable_cnn", MaskablePPO, SMALL, Discrete(5), kind=CNN),
    Recipe("maskable_dict", MaskablePPO, MIXED, SEVERAL, {"share_features_extractor": False}, kind=DICT),
    Recipe("maskable_discrete_observation", MaskablePPO, Discrete(6), Discrete(4), {"net_arch": []}),
)

RECURRENT = (
    Recipe("recurrent_default", RecurrentPPO, FOUR, Discrete(3), kind=LSTM),
    Recipe(
        "recurrent_linear_critic",
        RecurrentPPO,
        FOUR,
        SEVERAL,
        {"lstm_hidden_size": 9, "enable_critic_lstm": False, "net_arch": [5]},
        kind=LSTM,
    ),
    Recipe(
        "recurrent_without_bias",
        RecurrentPPO,
        Discrete(6),
        MultiBinary(3),
        {"lstm_hidden_size": 8, "net_arch": [], "lstm_kwargs": {"bias": False, "dropout": 0.2}, "n_lstm_layers": 3},
        kind=LSTM,
    ),
    Recipe("recurrent_sde", RecurrentPPO, FOUR, SPREAD, {"lstm_hidden_size": 8, "net_arch": [7]}, SDE, kind=LSTM),
    Recipe(
        "recurrent_cnn",
        RecurrentPPO,
        SMALL,
        Discrete(4),
        {"lstm_hidden_size": 16, "enable_critic_lstm": False, "share_features_extractor": False},
        kind="CnnLstmPolicy",
    ),
    Recipe(
        "recurrent_dict",
        RecurrentPPO,
        Dict(camera=image(36, 36, 3), gear=Discrete(3), vector=FOUR),
        TWO_SIDED,
        {"lstm_hidden_size": 16},
        kind="MultiInputLstmPolicy",
    ),
)

OFF_POLICY = (
    Recipe("dqn_no_layers", DQN, FOUR, Discrete(3), {"net_arch": []}),
    Recipe("dqn_image", DQN, image(3, 8, 6), Discrete(3), {"activation_fn": nn.Tanh}),
    Recipe("dqn_discrete_observation", DQN, Discrete(5), Discrete(2)),
    Recipe("dqn_dict", DQN, MIXED, Discrete(3), kind=DICT),
    Recipe("qrdqn_cnn", QRDQN, SMALL, Discrete(3), {"n_quantiles": 7}, kind=CNN),
    Recipe("qrdqn_dict", QRDQN, PLAIN, Discrete(2), {"n_quantiles": 1, "net_arch": []}, kind=DICT),
    Recipe("qrdqn_prelu", QRDQN, FOUR, Discrete(2), {"n_quantiles": 10, **PRELU}),
    Recipe("sac_no_layers", SAC, FOUR, SPREAD, {"net_arch": []}),
    Recipe("sac_sde_no_layers", SAC, FOUR, SPREAD, {"net_arch": []}, SDE),
    Recipe("sac_other_clip", SAC, FOUR, SPREAD, {"clip_mean": 0.3, "net_arch": [9]}, SDE),
    Recipe("sac_unclipped", SAC, FOUR, SPREAD, {"clip_mean": 0.0, "net_arch": [9]}, SDE),
    Recipe("sac_expln", SAC, FOUR, SPREAD, {"use_expln": True, "net_arch": [9]}, SDE),
    Recipe("sac_matrix", SAC, box(-1, 1, (2, 3, 4)), box(-1, 3, (2, 3)), {"net_arch": {"pi": [11], "qf": [5]}}),
    Recipe("sac_cnn", SAC, SMALL, SPREAD, {"net_arch": [10], "share_features_extractor": True}, kind=CNN),
    Recipe("sac_mixed_dict", SAC, MIXED, SPREAD, NARROW, kind=DICT),
    Recipe("sac_bits", SAC, MultiBinary(4), TWO_SIDED, NARROW),
    Recipe("tqc_sde", TQC, FOUR, SPREAD, {"net_arch": [8], "n_quantiles": 5}, SDE),
    Recipe("tqc_cnn", TQC, SMALL, TWO_SIDED, NARROW, kind=CNN),
    Recipe("tqc_dict", TQC, PLAIN, TWO_SIDED, NARROW, kind=DICT),
    Recipe("crossq_no_layers", CrossQ, FOUR, SPREAD, {"net_arch": []}),
    Recipe("crossq_sde", CrossQ, FOUR, SPREAD, {"net_arch": [9, 8, 7], "batch_norm_eps": 0.2}, SDE),
    Recipe("crossq_plain", CrossQ, FOUR, SPREAD, {"net_arch": [9], "batch_norm": False}),
    Recipe("crossq_prelu", CrossQ, FOUR, SPREAD, PRELU),
    Recipe("td3_no_layers", TD3, FOUR, SPREAD, {"net_arch": []}),
    Recipe("td3_uneven", TD3, FOUR, box(-1, 1, (2, 3)), {"net_arch": UNEVEN, "activation_fn": nn.Tanh}),
    Recipe("td3_image", TD3, image(3, 8, 6), TWO_SIDED, {"net_arch": [10]}),
    Recipe("td3_cnn", TD3, SMALL, TWO_SIDED, {"net_arch": [10]}, kind=CNN),
    Recipe("td3_dict", TD3, MIXED, SPREAD, {"net_arch": [10], "share_features_extractor": True}, kind=DICT),
    Recipe("td3_prelu", TD3, FOUR, SPREAD, PRELU),
    Recipe("ddpg_unshared", DDPG, FOUR, SPREAD, {"net_arch": [12], "share_features_extractor": False}),
    Recipe("ddpg_dict", DDPG, PLAIN, SPREAD, {"net_arch": [12]}, kind=DICT),
    *(
        Recipe(f"dqn_{name}", DQN, FOUR, Discrete(5), {"activation_fn": activation, "net_arch": [30, 18]})
        for name, activation in ACTIVATIONS.items()
    ),
)

WITHOUT_GRADIENTS = (
    Recipe("ars_clipped", ARS, FOUR, SPREAD, {"squash_output": False, "net_arch": [7], "activation_fn": nn.Tanh}),
    Recipe("ars_without_bias", ARS, box(-1, 1, (2, 3)), Discrete(4), {"with_bias": False, "net_arch": [8]}),
    Recipe("ars_no_layers", ARS, Discrete(4), SPREAD, {"net_arch": []}),
    Recipe("ars_prelu", ARS, FOUR, SPREAD, PRELU),
    Recipe("ars_image", ARS, image(3, 8, 6), Discrete(2)),
    Recipe("ars_linear_box", ARS, FOUR, SPREAD, kind="LinearPolicy"),
    Recipe("ars_linear_squashed", ARS, FOUR, SPREAD, {"squash_output": True, "with_bias": True}, kind="LinearPolicy"),
)

OTHERS = (*ACTOR_CRITIC, *RECURRENT, *OFF_POLICY, *WITHOUT_GRADIENTS)
"""The agents whose predictors `nox -s zoo` alone builds."""

RECIPES = {recipe.name: recipe for recipe in (*ESSENTIAL, *OTHERS)}

SETTINGS: dict[type, dict[str, Any]] = {
    **{key: {"n_steps": 8, "batch_size": 8} for key in (PPO, TRPO, MaskablePPO, RecurrentPPO)},
    **{key: {"buffer_size": 10} for key in (DQN, QRDQN, SAC, TQC, CrossQ, TD3, DDPG)},
    **{key: {} for key in (A2C, ARS)},
}
"""What keeps an algorithm small that is not trained."""
