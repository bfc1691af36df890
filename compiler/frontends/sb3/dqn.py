"""
DQN: `stable_baselines3.dqn.policies.DQNPolicy`. The action with the largest Q-value.
"""

from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.network import Network
from compiler.ir import Discrete

Q_NET = "q_net.q_net"


def translate(network: Network, description: Description) -> None:
    """
    Adds Q-network and action.
    """
    space = description.action_space
    assert isinstance(space, Discrete)
    features = network.features(
        description.observation_space, "q_net.features_extractor", normalize_images=description.normalize_images
    )
    values = network.mlp(features, Q_NET, description.activation, space.n, squashed=False)
    network.output(values, "q_values", "scores")
    network.output(network.apply(values, "argmax", "q_net.argmax"), "action", "action")


FAMILY = Family(
    algorithms=("DQN",),
    activation="ReLU",
    action_spaces=(Discrete,),
    layers=(Q_NET,),
    extractors=("q_net.features_extractor", "features_extractor"),
    arguments=frozenset(),
    squashed=False,
    translate=translate,
)
