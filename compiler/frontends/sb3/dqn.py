"""
DQN: `stable_baselines3.dqn.policies.DQNPolicy`; QRDQN: `sb3_contrib.qrdqn.policies.QRDQNPolicy`.

The action with the largest Q-value, which QRDQN computes as the mean of many quantiles.
"""

from compiler.frontends.sb3 import sequential
from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.network import Network, Signal
from compiler.ir import Discrete, Sampling

Q_NET = "q_net.q_net"
QUANTILE_NET = "quantile_net.quantile_net"


def _translate(network: Network, description: Description) -> None:
    """
    Adds Q-network and action.
    """
    space = description.action_space
    assert isinstance(space, Discrete)
    features = _features(network, "q_net.features_extractor", description)
    values = sequential.mlp(network, features, Q_NET, description.activation, space.n, squashed=False)
    _decide(network, values, "q_net", description)


def _translate_quantiles(network: Network, description: Description) -> None:
    """
    Adds quantile network and action; row q * actions + a of the last layer is quantile q of action a.
    """
    space = description.action_space
    assert isinstance(space, Discrete)
    features = _features(network, "quantile_net.features_extractor", description)
    quantiles = sequential.mlp(network, features, QUANTILE_NET, description.activation, None, squashed=False)
    if quantiles.width is not None and quantiles.width % space.n:
        network.findings.damaged(
            f"the last layer has {quantiles.width} outputs, not as many for each of {space.n} actions"
        )
    count = (quantiles.width or 0) // space.n
    if description.quantiles not in (None, count):
        network.findings.damaged(
            f"the last layer has {count} quantiles of {space.n} actions, not {description.quantiles}"
        )
    values = network.combine([quantiles], "quantile_mean", "quantile_net.mean", width=space.n, quantiles=count)
    _decide(network, values, "quantile_net", description)


def _features(network: Network, prefix: str, description: Description) -> Signal:
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    return extract(network, parts, prefix, description.extractor)


def _decide(network: Network, values: Signal, name: str, description: Description) -> None:
    network.output(values, "q_values", "scores")
    network.output(network.apply(values, "argmax", f"{name}.argmax"), "action", "action")
    network.sampling = Sampling("epsilon_greedy", epsilon=description.epsilon)


FAMILY = Family(
    algorithms=("DQN",),
    activation="ReLU",
    action_spaces=(Discrete,),
    layers=(Q_NET,),
    extractors=("q_net.features_extractor", "features_extractor"),
    arguments=frozenset(),
    translate=_translate,
    epsilon=0.05,
)

QUANTILES = Family(
    algorithms=("QRDQN",),
    activation="ReLU",
    action_spaces=(Discrete,),
    layers=(QUANTILE_NET,),
    extractors=("quantile_net.features_extractor", "features_extractor"),
    arguments=frozenset({"n_quantiles"}),
    translate=_translate_quantiles,
    epsilon=0.01,
)
