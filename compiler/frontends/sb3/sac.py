"""
SAC, `stable_baselines3.sac.policies.SACPolicy`; and TQC and CrossQ of sb3_contrib, whose actors are like SAC's.

The mean of the Gaussian, squashed by tanh and rescaled. CrossQ has BatchRenorm before each layer.
With gSDE the mean is clipped before that, unless clip_mean is 0: `actor.mu` is then a Linear followed by a Hardtanh.
"""

from collections.abc import Iterable

from compiler.frontends.sb3 import heads, sequential
from compiler.frontends.sb3.description import GAUSSIAN_ARGUMENTS, Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.network import Network, Signal
from compiler.ir import Box, Sampling

EXTRACTOR, LATENT, MEAN, LOG_STD = "actor.features_extractor", "actor.latent_pi", "actor.mu", "actor.log_std"
ARGUMENTS = frozenset({*GAUSSIAN_ARGUMENTS, "clip_mean", "n_critics", "share_features_extractor"})


def clips_mean(names: Iterable[str]) -> bool:
    """
    Whether the actor has a Hardtanh after its last layer, by the names of its tensors and modules.
    """
    return not {f"{MEAN}.0.weight", f"{MEAN}.0.bias", f"{MEAN}.0"}.isdisjoint(names)


def _translate(network: Network, description: Description) -> None:
    """
    Adds actor and action.
    """
    space = description.action_space
    assert isinstance(space, Box)
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    features = extract(network, parts, EXTRACTOR, description.extractor)
    latent = _latent(network, features, description)
    mean = _mean(network, latent, space, description)
    network.output(mean, "mean_actions", "scores")
    squashed = network.apply(mean, "tanh", "action_dist.mode")
    action = network.within(squashed, space, "rescale", "unscale_action")
    network.output(action, "action", "action")
    if LOG_STD in network.tensors:
        heads.noise(network, latent, features, LOG_STD, space, description)
        network.sampling = Sampling("state_dependent", squash=True)
    else:
        heads.computed_std(network, latent, LOG_STD, space)


def _latent(network: Network, features: Signal, description: Description) -> Signal:
    if sequential.is_normalised(network.tensors, LATENT):
        return sequential.normalised(network, features, LATENT, description.activation, description.norm_epsilon)
    return sequential.hidden(network, features, LATENT, description.activation)


def _mean(network: Network, latent: Signal, space: Box, description: Description) -> Signal:
    if not clips_mean(network.names):
        return network.linear(latent, MEAN, space.low.size)
    mean = network.linear(latent, f"{MEAN}.0", space.low.size)
    bound = description.clip_mean
    if bound > 0:
        return network.apply(mean, "hardtanh", f"{MEAN}.1", min_val=-bound, max_val=bound)
    network.findings.damaged(f"clip_mean is {bound}, but the tensor {MEAN}.0.weight is that of a clipped mean")
    return mean


def _family(algorithm: str, *arguments: str) -> Family:
    return Family(
        algorithms=(algorithm,),
        activation="ReLU",
        action_spaces=(Box,),
        layers=(LATENT, MEAN),
        extractors=(EXTRACTOR,),
        arguments=frozenset({*ARGUMENTS, *arguments}),
        translate=_translate,
        squashed=True,
        log_std=LOG_STD,
        mean=MEAN,
    )


FAMILY = _family("SAC")
TQC = _family("TQC", "n_quantiles")
CROSSQ = _family("CrossQ", "batch_norm", "batch_norm_momentum", "batch_norm_eps", "renorm_warmup_steps")
