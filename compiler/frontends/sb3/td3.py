"""
TD3 and DDPG: `stable_baselines3.td3.policies.TD3Policy`. A deterministic actor that ends in tanh, rescaled.
"""

from compiler.frontends.sb3 import sequential
from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.network import Network
from compiler.ir import Box

EXTRACTOR, ACTOR = "actor.features_extractor", "actor.mu"


def translate(network: Network, description: Description) -> None:
    """
    Adds actor and action.
    """
    space = description.action_space
    assert isinstance(space, Box)
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    features = extract(network, parts, EXTRACTOR, description.extractor)
    mean = sequential.mlp(network, features, ACTOR, description.activation, space.low.size, squashed=True)
    network.output(mean, "mean_actions", "scores")
    last = max(1, 2 * sequential.layer_count(network, ACTOR, description.activation) - 1)
    squashed = network.apply(mean, "tanh", f"{ACTOR}.{last}")
    action = network.within(squashed, space, "rescale", "unscale_action")
    network.output(action, "action", "action")


FAMILY = Family(
    algorithms=("TD3", "DDPG"),
    activation="ReLU",
    action_spaces=(Box,),
    layers=(ACTOR,),
    extractors=(EXTRACTOR,),
    arguments=frozenset({"n_critics", "share_features_extractor"}),
    translate=translate,
    squashed=True,
)
