"""
ARS: `sb3_contrib.ars.policies.ARSPolicy` and `ARSLinearPolicy`. A network without exploration of its own.

Box actions are squashed by tanh and rescaled, or clipped. In sb3_contrib up to 1.4, `action_net` of a linear policy was
a single nn.Linear, and an MLP for Box actions ended in tanh even where `squash_output` was off.
"""

from collections.abc import Collection

from compiler.frontends.sb3 import sequential
from compiler.frontends.sb3.description import Description, Family
from compiler.frontends.sb3.extractors import extract
from compiler.frontends.sb3.heads import ACTION_NET
from compiler.frontends.sb3.network import Network, Signal
from compiler.ir import Box, Discrete

EXTRACTOR = "features_extractor"


def ends_in_tanh(tensors: Collection[str], module_paths: Collection[str]) -> bool | None:
    """
    Whether the network's last module is a Tanh, by the list of modules; None if there is no list.

    The last tensor of a network belongs to its last nn.Linear.
    """
    if ACTION_NET not in module_paths:
        return None
    slots = [path.rpartition(".")[2] for path in module_paths if path.startswith(f"{ACTION_NET}.")]
    if not slots:
        return False
    return f"{ACTION_NET}.{slots[-1]}.weight" not in tensors


def translate(network: Network, description: Description) -> None:
    """
    Adds network and action.
    """
    space = description.action_space
    parts = network.observe(description.parts, normalize_images=description.normalize_images)
    features = extract(network, parts, EXTRACTOR, description.extractor)
    if isinstance(space, Box):
        _bound(network, features, space, description)
        return
    assert isinstance(space, Discrete)
    scores = _network(network, features, description, space.n, squashed=False)
    network.output(scores, "logits", "scores")
    network.output(network.apply(scores, "argmax", "argmax"), "action", "action")


def _bound(network: Network, features: Signal, space: Box, description: Description) -> None:
    listed = ends_in_tanh(network.tensors, network.module_paths)
    squashed = description.squash_output if listed is None else listed
    mean = _network(network, features, description, space.low.size, squashed=squashed)
    network.output(mean, "mean_actions", "scores")
    if squashed:
        mean = network.apply(mean, "tanh", "tanh")
    op, name = ("rescale", "unscale_action") if description.squash_output else ("clip", "clip_action")
    network.output(network.within(mean, space, op, name), "action", "action")


def _network(network: Network, features: Signal, description: Description, outputs: int, *, squashed: bool) -> Signal:
    if f"{ACTION_NET}.weight" in network.tensors:
        return network.linear(features, ACTION_NET, outputs)
    return sequential.mlp(network, features, ACTION_NET, description.activation, outputs, squashed=squashed)


FAMILY = Family(
    algorithms=("ARS",),
    activation="ReLU",
    action_spaces=(Box, Discrete),
    layers=(ACTION_NET,),
    extractors=(EXTRACTOR,),
    arguments=frozenset({"with_bias", "squash_output"}),
    translate=translate,
)
