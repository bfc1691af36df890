"""
What a checkpoint holds besides the weights, decoded and as yet uninterpreted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fields:
    """
    The decoded fields of a checkpoint.
    """

    policy: str
    """The path of the policy class."""
    is_inferred: bool
    """Whether the class was found by the tensors, which tell only its family."""
    observation_space: object
    action_space: object
    arguments: Mapping[str, object]
    """The policy's constructor's arguments that were given."""
    origin: str = "policy_kwargs"
    """What the file calls them."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """How SB3 printed arguments that are not plain values: the only place with the name of a lambda."""
    use_sde: bool | None = None
    exploration_rate: object = None
    """Of DQN and QRDQN: the probability of a random action at the end of training; None if the file has none."""
