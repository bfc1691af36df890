"""
What a checkpoint says of its policy besides the weights, once it is known to be of a family that can be compiled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.frontends.sb3.activations import Activation
from compiler.ir import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Policy, Space

if TYPE_CHECKING:
    from compiler.frontends.sb3.network import Network

DEFAULT_CLIP_MEAN = 2.0
DEFAULT_NORM_EPSILON = 0.001
FLATTEN, NATURE, COMBINED = "FlattenExtractor", "NatureCNN", "CombinedExtractor"
"""SB3's own features extractors."""
EXPORTED = "exported"
"""The features extractor of the option `extractor`, which is the user's own."""

KINDS: Mapping[type, str] = {
    Box: "box",
    Discrete: "discrete",
    MultiDiscrete: "multi_discrete",
    MultiBinary: "multi_binary",
    Dict: "dict",
}
"""Spaces by the names that options give them."""
CHOICES = (Discrete, MultiDiscrete, MultiBinary)
ALL_ACTIONS = (Box, *CHOICES)


@dataclass(frozen=True)
class Description:
    """
    The arguments of a policy's constructor that decide the action.
    """

    kind: str
    """The policy class."""
    observation_space: Space
    action_space: Space
    activation: Activation
    extractor: str = FLATTEN
    """One of SB3's features extractors, or the user's own."""
    normalize_images: bool = True
    """Divide the observation by 255 if the space is an image space."""
    squash_output: bool = False
    """Rescale the action from [-1, 1]; for the PPO family, with a tanh before it if the policy uses gSDE."""
    clip_mean: float = DEFAULT_CLIP_MEAN
    """For SAC and its kin with gSDE: bounds of the mean; none if 0 or less."""
    norm_epsilon: float = DEFAULT_NORM_EPSILON
    """For CrossQ: what BatchRenorm adds to the variance."""
    use_sde: bool | None = None
    """Whether the policy uses gSDE, where the file says so besides the weights."""
    use_expln: bool = False
    """For gSDE: whether expln instead of exp makes a standard deviation of log_std."""
    noise_layers: bool = False
    """For gSDE of SB3 before 1.7: whether `sde_net_arch` gave the noise a features extractor of its own."""
    quantiles: int | None = None
    """For QRDQN: into how many quantiles the last layer's outputs fall, where the file says so besides the weights."""
    masked: bool = False
    """Whether `predict` takes action masks."""
    epsilon: float = 0.0
    """For DQN and QRDQN: the probability of a random action, where actions are drawn."""

    @property
    def parts(self) -> tuple[tuple[str, Space], ...]:
        """
        The inputs that make one observation, by the names of their tensors, in order.
        """
        return Policy(self.kind, self.observation_space, self.action_space).parts


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
    """Key prefixes of the networks between features and action, in order; some may be absent."""
    extractors: tuple[str, ...]
    """
    Key prefixes of the features extractors that the action may depend on, the preferred one first; later ones are those
    of other versions of SB3.
    """
    arguments: frozenset[str]
    """Arguments of the policy's constructor that may stand in policy_kwargs, besides `COMMON_ARGUMENTS`."""
    translate: "Callable[[Network, Description], None]"
    """Adds the family's nodes and outputs to a network."""
    squashed: bool = False
    """Whether Box actions always end in tanh and rescaling."""
    masked: bool = False
    """Whether `predict` takes action masks."""
    log_std: str = ""
    """The key, or its prefix, of the standard deviations of drawn actions, where actions are drawn from a Gaussian."""
    mean: str = ""
    """The key prefix of the layer that gives a mean which gSDE clips, where it does."""
    epsilon: float | None = None
    """SB3's default of `exploration_final_eps`; None: the algorithm knows no random actions."""


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
    "features_extractor_kwargs": "the tensors have it",
    "device": "of SB3 before 1.0",
}
"""Arguments of every policy's constructor; with a reason where the frontend need not look at them."""

GAUSSIAN_ARGUMENTS = frozenset({"full_std", "log_std_init", "sde_net_arch", "use_expln", "use_sde"})
"""Arguments of the policies that may use gSDE."""
