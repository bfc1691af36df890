"""
PPO, A2C and TRPO: `stable_baselines3.common.policies.ActorCriticPolicy`; and MaskablePPO, which has the same network.

features -> policy_net -> action_net -> the mode of the action's distribution. The value network is translated as well;
a pass drops it.
"""

from collections.abc import Callable

import numpy as np

from compiler.frontends.sb3 import heads, sequential
from compiler.frontends.sb3.description import ALL_ACTIONS, CHOICES, GAUSSIAN_ARGUMENTS, Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.network import Network, Part, Signal

SHARED = "mlp_extractor.shared_net"
"""Layers that actor and critic had in common in SB3 before 1.8."""
POLICY, VALUE = "mlp_extractor.policy_net", "mlp_extractor.value_net"
EXTRACTORS = ("pi_features_extractor", "features_extractor")
"""The actor's; SB3 before 1.7 had one for actor and critic."""
CRITIC_EXTRACTORS = ("vf_features_extractor", "features_extractor")

ARGUMENTS = frozenset({"ortho_init", "share_features_extractor"})


def prefix_of(network: Network, prefixes: tuple[str, ...]) -> str:
    """
    The first key prefix that the checkpoint has, or the first of all where there are neither tensors nor modules.
    """
    return next((prefix for prefix in prefixes if network.has(prefix)), prefixes[0])


def _translate(network: Network, description: Description) -> None:
    """
    Adds actor, action and value.
    """
    _add(network, description, lambda latent, features: heads.act(network, latent, features, description))


def _translate_masked(network: Network, description: Description) -> None:
    """
    Adds actor, the choice among what the masks allow, and value.
    """
    space = description.action_space
    _add(network, description, lambda latent, features: heads.choose_masked(network, latent, space))


def _add(network: Network, description: Description, act: Callable[[Signal, Signal], None]) -> None:
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    actor = prefix_of(network, EXTRACTORS)
    features = extract(network, parts, actor, description.extractor)
    shared = sequential.hidden(network, features, SHARED, description.activation)
    act(sequential.hidden(network, shared, POLICY, description.activation), features)
    if has_value(network):
        critic = critic_features(network, parts, features, description)
        if critic is not features:
            shared = sequential.hidden(network, critic, SHARED, description.activation)
        add_value(network, shared, description)


def has_value(network: Network) -> bool:
    """
    Whether the checkpoint has a value network.
    """
    return any(name.startswith((f"{VALUE}.", "value_net.")) for name in network.tensors)


def critic_features(network: Network, parts: list[Part], features: Signal, description: Description) -> Signal:
    """
    The features that the critic sees: the actor's, unless the critic's extractor has other weights.
    """
    actor, critic = (prefix_of(network, prefixes) for prefixes in (EXTRACTORS, CRITIC_EXTRACTORS))
    if _same(network, actor, critic):
        return features
    return extract(network, parts, critic, description.extractor)


def _same(network: Network, one: str, other: str) -> bool:
    """
    Whether two extractors have equal tensors.
    """
    first, second = (
        {name.removeprefix(prefix): array for name, array in network.tensors.items() if name.startswith(f"{prefix}.")}
        for prefix in (one, other)
    )
    if first.keys() != second.keys():
        return False
    return all(array is second[name] or np.array_equal(array, second[name]) for name, array in first.items())


def add_value(network: Network, features: Signal, description: Description) -> None:
    """
    Adds the critic's estimate, (batch, 1), from what the value network reads.
    """
    latent = sequential.hidden(network, features, VALUE, description.activation)
    network.output(network.linear(latent, "value_net", 1), "value", "value")


FAMILY = Family(
    algorithms=("PPO", "A2C", "TRPO"),
    activation="Tanh",
    action_spaces=ALL_ACTIONS,
    layers=(SHARED, POLICY, heads.ACTION_NET),
    extractors=EXTRACTORS,
    arguments=frozenset({*ARGUMENTS, *GAUSSIAN_ARGUMENTS, "squash_output"}),
    translate=_translate,
    log_std="log_std",
)

MASKED = Family(
    algorithms=("MaskablePPO",),
    activation="Tanh",
    action_spaces=CHOICES,
    layers=FAMILY.layers,
    extractors=EXTRACTORS,
    arguments=ARGUMENTS,
    translate=_translate_masked,
    masked=True,
)
