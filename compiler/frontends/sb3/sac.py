"""
SAC: `stable_baselines3.sac.policies.SACPolicy`. The mean of the Gaussian, squashed by tanh and rescaled.

With gSDE the mean is clipped before that, unless clip_mean is 0: `actor.mu` is then a Linear followed by a Hardtanh.
"""

from collections.abc import Iterable

from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.network import Network
from compiler.ir import Box

LATENT, MEAN = "actor.latent_pi", "actor.mu"


def clips_mean(names: Iterable[str]) -> bool:
    """
    Whether the actor has a Hardtanh after its last layer, by the names of its tensors and modules.
    """
    return not {f"{MEAN}.0.weight", f"{MEAN}.0.bias", f"{MEAN}.0"}.isdisjoint(names)


def translate(network: Network, description: Description) -> None:
    """
    Adds actor and action.
    """
    space = description.action_space
    assert isinstance(space, Box)
    features = network.features(
        description.observation_space, "actor.features_extractor", normalize_images=description.normalize_images
    )
    latent = network.hidden(features, LATENT, description.activation)
    if clips_mean([*network.tensors, *network.module_paths]):
        mean = network.linear(latent, f"{MEAN}.0", space.low.size)
        bound = description.clip_mean
        if bound > 0:
            mean = network.apply(mean, "hardtanh", f"{MEAN}.1", min_val=-bound, max_val=bound)
        else:
            network.findings.damaged(f"clip_mean is {bound}, but the tensor {MEAN}.0.weight is that of a clipped mean")
    else:
        mean = network.linear(latent, MEAN, space.low.size)
    network.output(mean, "mean_actions", "scores")
    squashed = network.apply(mean, "tanh", "action_dist.mode")
    action = network.within(squashed, space, "rescale", "unscale_action")
    network.output(action, "action", "action")


FAMILY = Family(
    algorithms=("SAC",),
    activation="ReLU",
    action_spaces=(Box,),
    layers=(LATENT, MEAN),
    extractors=("actor.features_extractor",),
    arguments=frozenset(
        {
            "clip_mean",
            "full_std",
            "log_std_init",
            "n_critics",
            "sde_net_arch",
            "share_features_extractor",
            "use_expln",
            "use_sde",
        }
    ),
    squashed=True,
    translate=translate,
)
