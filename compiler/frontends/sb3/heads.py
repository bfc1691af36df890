"""
From the last latent of an actor to its action, the mode of its distribution; and what drawing an action needs besides.

Source: stable_baselines3/common/distributions.py.
"""

import numpy as np

from compiler.errors import quote
from compiler.frontends.sb3 import sequential
from compiler.frontends.sb3.description import Description
from compiler.frontends.sb3.network import Network, Signal
from compiler.ir import ACTION_MASKS, Box, Discrete, DType, MultiBinary, MultiDiscrete, Sampling, Space
from compiler.ops import Array

ACTION_NET = "action_net"
NOISE_LAYERS = "sde_features_extractor"
"""Of SB3 before 1.7."""
EXPLN_EPSILON = np.float32(1e-6)
"""Of `StateDependentNoiseDistribution`."""
LOWEST_LOG_STD, HIGHEST_LOG_STD = -20.0, 2.0
"""Of SAC's actor, and of those of its kin."""


def sizes_of(space: Space) -> tuple[int, ...]:
    """
    The number of values of each choice, as MaskablePPO sees them: a bit is a choice of two.
    """
    match space:
        case Discrete():
            return (space.n,)
        case MultiDiscrete():
            return space.nvec
        case MultiBinary():
            return (2,) * space.shape[0]
    raise TypeError(f"{type(space).__name__} is not made of choices")


def act(network: Network, latent: Signal, features: Signal, description: Description) -> None:
    """
    Adds the action of the PPO family.

    Args:
        network: where to add it.
        latent: what `action_net` reads.
        features: what it was computed from; gSDE's own noise layers of SB3 before 1.7 read them.
        description: the policy's.
    """
    space = description.action_space
    if isinstance(space, Box):
        _bound(network, latent, features, space, description)
    elif isinstance(space, MultiBinary):
        logits = network.linear(latent, ACTION_NET, space.shape[0])
        network.output(logits, "logits", "scores")
        network.output(network.apply(logits, "bernoulli_mode", "action_dist.mode"), "action", "action")
        network.sampling = Sampling("bernoulli")
    else:
        _choose(network, latent, space)


def _choose(network: Network, latent: Signal, space: Space) -> None:
    """
    The most probable choices. The softmax matters: logits that differ by rounding can have equal probabilities.
    """
    sizes = attribute(space)
    logits = network.linear(latent, ACTION_NET, sum(sizes_of(space)))
    network.output(logits, "logits", "scores")
    probabilities = network.apply(logits, "softmax", "action_dist.probs", sizes=sizes)
    network.output(network.apply(probabilities, "argmax", "action_dist.mode", sizes=sizes), "action", "action")
    network.sampling = Sampling("categorical")


def attribute(space: Space) -> tuple[int, ...]:
    """
    The attribute `sizes` of the ops that choose: none where all features are one choice.
    """
    return () if isinstance(space, Discrete) else sizes_of(space)


def choose_masked(network: Network, latent: Signal, space: Space) -> None:
    """
    Adds the action of MaskablePPO. Source: sb3_contrib/common/maskable/distributions.py.
    """
    sizes, total = attribute(space), sum(sizes_of(space))
    logits = network.linear(latent, ACTION_NET, total)
    network.output(logits, "logits", "scores")
    masks = network.declare(ACTION_MASKS, DType.BOOL, (total,))
    normal = network.apply(logits, "log_softmax", "action_dist.logits", sizes=sizes)
    masked = network.apply(normal, "mask", "action_dist.apply_masking", masks)
    probabilities = network.apply(masked, "softmax", "action_dist.probs", sizes=sizes)
    network.output(network.apply(probabilities, "argmax", "action_dist.mode", sizes=sizes), "action", "action")
    network.sampling = Sampling("categorical")


def _bound(network: Network, latent: Signal, features: Signal, space: Box, description: Description) -> None:
    """
    The mean, clipped; or, with squash_output, squashed and rescaled.

    SB3 before 2.2.1 allowed squash_output without gSDE, and then rescaled without a tanh before it; how such a policy
    draws has no name in `SAMPLINGS`.
    """
    mean = network.linear(latent, ACTION_NET, space.low.size)
    network.output(mean, "mean_actions", "scores")
    uses_sde = _uses_sde(network, description)
    if description.squash_output:
        squashed = network.apply(mean, "tanh", "action_dist.mode") if uses_sde else mean
        action = network.within(squashed, space, "rescale", "unscale_action")
    else:
        action = network.within(mean, space, "clip", "clip_action")
    network.output(action, "action", "action")
    log_std = network.tensors.get("log_std")
    if log_std is None:
        return
    if uses_sde:
        noise(network, latent, features, "log_std", space, description)
        network.sampling = Sampling("state_dependent", squash=description.squash_output)
    elif not description.squash_output:
        _constant_std(network, log_std, space)


def _constant_std(network: Network, log_std: Array, space: Box) -> None:
    actions = space.low.size
    if log_std.shape != (actions,) or log_std.dtype != np.float32:
        found = f"{log_std.dtype} of shape {log_std.shape}"
        network.findings.damaged(f"tensor 'log_std' must have {actions} floating elements, found {found}")
        return
    network.output(network.constant("log_std.exp", _exponential(log_std)), "std", "distribution")
    network.sampling = Sampling("gaussian")


def _exponential(logarithm: Array) -> Array:
    with np.errstate(over="ignore"):
        result: Array = np.exp(logarithm)
    return result


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


def noise(network: Network, latent: Signal, features: Signal, key: str, space: Box, description: Description) -> None:
    """
    Marks what gSDE's noise is made of: the latent, and the standard deviations of the matrix that it meets.

    Source: `StateDependentNoiseDistribution.get_std` in stable_baselines3/common/distributions.py.
    """
    if description.noise_layers:
        prefix = f"{key.removesuffix('log_std')}{NOISE_LAYERS}"
        latent = sequential.hidden(network, features, prefix, description.activation)
    log_std, actions = network.tensors[key], space.low.size
    shapes = [(latent.width, 1), (latent.width, actions)]
    if log_std.dtype != np.float32 or (latent.width is not None and log_std.shape not in shapes):
        found = f"{log_std.dtype} of shape {log_std.shape}"
        network.findings.damaged(f"tensor {quote(key)} must have the floating shape {shapes[1]}, found {found}")
        return
    deviations = _expln(log_std) if description.use_expln else _exponential(log_std)
    if not network.findings:
        deviations = np.broadcast_to(deviations, (len(log_std), actions))
    network.output(latent, "latent", "distribution")
    network.output(network.constant(f"{key}.exp", deviations), "noise_std", "distribution")


def _expln(log_std: Array) -> Array:
    """
    The exponential up to zero, and 1 + log1p above it, which grows slowly; in float32, as SB3.
    """
    above = np.log1p(np.maximum(log_std, np.float32(0)) + EXPLN_EPSILON) + np.float32(1)
    result: Array = np.where(log_std > 0, above, _exponential(np.minimum(log_std, np.float32(0))))
    return result.astype(np.float32)


def computed_std(network: Network, latent: Signal, key: str, space: Box) -> None:
    """
    Marks the standard deviations that SAC computes for each observation.
    """
    logarithm = network.linear(latent, key, space.low.size)
    clamped = network.apply(logarithm, "hardtanh", f"{key}.clamp", min_val=LOWEST_LOG_STD, max_val=HIGHEST_LOG_STD)
    network.output(network.apply(clamped, "exp", f"{key}.exp"), "std", "distribution")
    network.sampling = Sampling("gaussian", squash=True)
