"""
What a checkpoint says of its policy besides the weights, once it is known to be of a family that can be compiled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.frontends.sb3.activations import Activation
from compiler.ir import Box, Discrete

if TYPE_CHECKING:
    from compiler.frontends.sb3.network import Network

DEFAULT_CLIP_MEAN = 2.0


@dataclass(frozen=True)
class Description:
    """
    The arguments of a policy's constructor that decide the action.
    """

    kind: str
    """The policy class."""
    observation_space: Box
    action_space: Box | Discrete
    activation: Activation
    normalize_images: bool = True
    """Divide the observation by 255 if the space is an image space."""
    squash_output: bool = False
    """Rescale the action from [-1, 1]; for the PPO family, with a tanh before it if the policy uses gSDE."""
    clip_mean: float = DEFAULT_CLIP_MEAN
    """For SAC with gSDE: bounds of the mean; none if 0 or less."""
    use_sde: bool | None = None
    """Whether the policy uses gSDE, where the file says so besides the weights."""


@dataclass(frozen=True)
class Family:
    """
    The policies that compute their action in the same way.
    """

    algorithms: tuple[str, ...]
    """The algorithms that train them."""
    activation: str
    """SB3's default between layers, as torch.nn calls it."""
    action_spaces: tuple[type, ...]
    """The action spaces that SB3 allows them."""
    layers: tuple[str, ...]
    """Key prefixes of the networks between observation and action, in order; some may be absent."""
    extractors: tuple[str, ...]
    """Key prefixes of the features extractors that the action depends on."""
    arguments: frozenset[str]
    """Arguments of the policy's constructor that may stand in policy_kwargs, besides `COMMON_ARGUMENTS`."""
    squashed: bool
    """Whether Box actions always end in tanh and rescaling."""
    translate: "Callable[[Network, Description], None]"
    """Adds the family's nodes and outputs to a network."""


COMMON_ARGUMENTS: Mapping[str, str] = {
    "observation_space": "",
    "action_space": "",
    "lr_schedule": "training",
    "net_arch": "the tensors have it",
    "activation_fn": "",
    "normalize_images": "",
    "optimizer_class": "training",
    "optimizer_kwargs": "training",
    "features_extractor_class": "",
    "features_extractor_kwargs": "FlattenExtractor takes none",
    "device": "of SB3 before 1.0",
}
"""Arguments of every policy's constructor; with a reason where the frontend need not look at them."""
