"""
PPO, A2C and TRPO: `stable_baselines3.common.policies.ActorCriticPolicy`.

features -> policy_net -> action_net -> the mode of the action's distribution. The value network is translated as well;
a pass drops it.
"""

from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.network import Network, Signal
from compiler.ir import Box, Discrete

SHARED = "mlp_extractor.shared_net"
"""Layers that actor and critic had in common in SB3 before 1.8."""
POLICY, VALUE = "mlp_extractor.policy_net", "mlp_extractor.value_net"


def translate(network: Network, description: Description) -> None:
    """
    Adds actor, action and value.
    """
    features = network.features(
        description.observation_space, "pi_features_extractor", normalize_images=description.normalize_images
    )
    shared = network.hidden(features, SHARED, description.activation)
    latent = network.hidden(shared, POLICY, description.activation)
    space = description.action_space
    if isinstance(space, Discrete):
        _choose(network, latent, space)
    else:
        _bound(network, latent, space, description)
    if any(name.startswith((f"{VALUE}.", "value_net.")) for name in network.tensors):
        latent = network.hidden(shared, VALUE, description.activation)
        network.output(network.linear(latent, "value_net", 1), "value", "value")


def _choose(network: Network, latent: Signal, space: Discrete) -> None:
    """
    The most probable action. The softmax matters: logits that differ by rounding can have equal probabilities.
    """
    logits = network.linear(latent, "action_net", space.n)
    network.output(logits, "logits", "scores")
    probabilities = network.apply(logits, "softmax", "action_dist.probs")
    network.output(network.apply(probabilities, "argmax", "action_dist.mode"), "action", "action")


def _bound(network: Network, latent: Signal, space: Box, description: Description) -> None:
    """
    The mean, clipped; or, with squash_output, squashed and rescaled.

    SB3 before 2.2.1 allowed squash_output without gSDE, and then rescaled without a tanh before it.
    """
    mean = network.linear(latent, "action_net", space.low.size)
    network.output(mean, "mean_actions", "scores")
    if description.squash_output:
        squashed = network.apply(mean, "tanh", "action_dist.mode") if _uses_sde(network, description) else mean
        action = network.within(squashed, space, "rescale", "unscale_action")
    else:
        action = network.within(mean, space, "clip", "clip_action")
    network.output(action, "action", "action")


def _uses_sde(network: Network, description: Description) -> bool:
    """
    Whether the distribution is gSDE's, whose log_std is a matrix (features, actions); otherwise it is (actions,).
    """
    log_std = network.tensors.get("log_std")
    if log_std is None:
        return bool(description.use_sde)
    found = log_std.ndim == 2
    if description.use_sde is not None and description.use_sde != found:
        network.findings.damaged(f"use_sde is {description.use_sde}, but log_std has shape {log_std.shape}")
    return found


FAMILY = Family(
    algorithms=("PPO", "A2C", "TRPO"),
    activation="Tanh",
    action_spaces=(Box, Discrete),
    layers=(SHARED, POLICY, "action_net"),
    extractors=("features_extractor", "pi_features_extractor"),
    arguments=frozenset(
        {
            "full_std",
            "log_std_init",
            "ortho_init",
            "sde_net_arch",
            "share_features_extractor",
            "squash_output",
            "use_expln",
            "use_sde",
        }
    ),
    squashed=False,
    translate=translate,
)
