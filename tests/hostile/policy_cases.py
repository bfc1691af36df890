"""
Rows 16, 17 and 18: sound SB3 zips of policies that cannot be right, or that policyc cannot compile.
"""

import numpy as np

from tests.hostile.assemble import Call, Global
from tests.hostile.case import HostileCase
from tests.hostile.policies import dictionary, discrete, ppo_tensors, sb3_zip, serialized


def spoiled(value: float, *names: str) -> bytes:
    """
    One weight of each named tensor replaced.
    """
    tensors = ppo_tensors()
    for name in names:
        tensors[name].flat[0] = value
    return sb3_zip(tensors)


def reshaped(*missing: str, **shapes: tuple[int, ...]) -> bytes:
    """
    Tensors left out, and others of other shapes; in keywords, `__` stands for the dot.
    """
    tensors = {name: array for name, array in ppo_tensors().items() if name not in missing}
    tensors |= {name.replace("__", "."): np.ones(shape, np.float32) for name, shape in shapes.items()}
    return sb3_zip(tensors)


def unsupported(**arguments: object) -> bytes:
    return sb3_zip(policy_kwargs=serialized(arguments, "dict"))


def observing(space: Call, policy: str = "ActorCriticPolicy") -> bytes:
    """
    PPO's tensors for three features, with another observation space.
    """
    path = Global("stable_baselines3.common.policies", policy, True)
    return sb3_zip(policy_class=serialized(path, "abc.ABCMeta"), observation_space=serialized(space, "space"))


def with_many_parts(count: int) -> bytes:
    return observing(dictionary({f"part{place}": discrete(2) for place in range(count)}), "MultiInputActorCriticPolicy")


def with_many_layers(count: int) -> bytes:
    """
    An LSTM of which each layer has one number.
    """
    path = Global("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy", True)
    tensors = {f"lstm_actor.weight_hh_l{layer}": np.ones((1, 1), np.float32) for layer in range(count)}
    return sb3_zip({**ppo_tensors(), **tensors}, policy_class=serialized(path, "abc.ABCMeta"))


POLICY = "mlp_extractor.policy_net.0"
CASES = {
    # Row 16.
    "nan": HostileCase(16, "ppo.zip", lambda: spoiled(np.nan, f"{POLICY}.weight"), (f"{POLICY}.weight",)),
    "infinity": HostileCase(16, "ppo.zip", lambda: spoiled(np.inf, "action_net.bias"), ("action_net.bias",)),
    "nan-twice": HostileCase(
        16,
        "ppo.zip",
        lambda: spoiled(np.nan, f"{POLICY}.bias", "action_net.weight"),
        (f"{POLICY}.bias", "action_net.weight"),
    ),
    # Row 17.
    "missing-layer": HostileCase(17, "ppo.zip", lambda: reshaped("action_net.weight"), ("action_net.weight",)),
    "wrong-shape": HostileCase(17, "ppo.zip", lambda: reshaped(action_net__weight=(2, 9)), ("action_net",)),
    "zero-dimension": HostileCase(
        17,
        "ppo.zip",
        lambda: reshaped(mlp_extractor__policy_net__0__weight=(0, 3), mlp_extractor__policy_net__0__bias=(0,)),
        (POLICY,),
    ),
    "several": HostileCase(
        17,
        "ppo.zip",
        lambda: reshaped("action_net.weight", mlp_extractor__policy_net__0__weight=(4, 7)),
        ("action_net.weight", POLICY),
    ),
    # Row 18.
    "unknown-activation": HostileCase(
        18,
        "ppo.zip",
        lambda: unsupported(activation_fn=Global("mine", "Swoosh", True)),
        ("activation_fn", "mine.Swoosh"),
    ),
    "several-options": HostileCase(
        18,
        "ppo.zip",
        lambda: unsupported(
            activation_fn=Global("mine", "Swoosh", True), features_extractor_class=Global("mine", "Extractor", True)
        ),
        ("mine.Swoosh", "mine.Extractor"),
    ),
    "unknown-policy": HostileCase(
        18,
        "ppo.zip",
        lambda: sb3_zip(policy_class=serialized(Global("mine", "Policy", True), "abc.ABCMeta")),
        ("mine.Policy",),
    ),
    "unknown-extractor": HostileCase(
        18,
        "ppo.zip",
        lambda: unsupported(features_extractor_class=Global("mine", "Extractor", True)),
        ("features_extractor_class", "mine.Extractor", "whose code is not in the file"),
    ),
    "huge-choice": HostileCase(17, "ppo.zip", lambda: observing(discrete(1 << 60)), (POLICY, f"there are {1 << 60}")),
    "many-parts": HostileCase(18, "ppo.zip", lambda: with_many_parts(2_000), ("2,000 parts",)),
    "many-layers": HostileCase(17, "ppo.zip", lambda: with_many_layers(900), ("lstm_actor.weight_hh_l0", "more")),
    "unknown-space": HostileCase(
        18,
        "ppo.zip",
        lambda: sb3_zip(observation_space=serialized(Call(Global("mine", "Space", True), (), {}, new=True), "mine")),
        ("mine.Space",),
    ),
}
CASES = {name: HostileCase(case.row, case.file, case.make, case.words, "build", "zip") for name, case in CASES.items()}
