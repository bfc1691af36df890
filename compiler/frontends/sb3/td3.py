"""
TD3 and DDPG: `stable_baselines3.td3.policies.TD3Policy`. A deterministic actor that ends in tanh, rescaled.
"""

from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.network import Network
from compiler.ir import Box

ACTOR = "actor.mu"


def translate(network: Network, description: Description) -> None:
    """
    Adds actor and action.
    """
    space = description.action_space
    assert isinstance(space, Box)
    features = network.features(
        description.observation_space, "actor.features_extractor", normalize_images=description.normalize_images
    )
    mean = network.mlp(features, ACTOR, description.activation, space.low.size, squashed=True)
    network.output(mean, "mean_actions", "scores")
    last = int(network.last_layer(ACTOR).rpartition(".")[2])
    squashed = network.apply(mean, "tanh", f"{ACTOR}.{last + 1}")
    action = network.within(squashed, space, "rescale", "unscale_action")
    network.output(action, "action", "action")


FAMILY = Family(
    algorithms=("TD3", "DDPG"),
    activation="ReLU",
    action_spaces=(Box,),
    layers=(ACTOR,),
    extractors=("actor.features_extractor",),
    arguments=frozenset({"n_critics", "share_features_extractor"}),
    squashed=True,
    translate=translate,
)
