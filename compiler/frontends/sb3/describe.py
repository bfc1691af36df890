"""
The description of a policy whose file holds its spaces and its constructor's arguments: a `.zip`, or `policy.save()`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.sb3 import activations
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.description import COMMON_ARGUMENTS, DEFAULT_CLIP_MEAN, Description, Family
from compiler.frontends.sb3.families import COMPILED, FLATTEN_EXTRACTOR
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.spaces import space_from
from compiler.ir import Box, Discrete, Space
from compiler.options import BuildOptions
from compiler.readers.numpy_values import as_scalar
from compiler.readers.pickle_machine import Symbol, describe

LONGEST_TEXT = 200
MOST_DIMENSIONS = 7
"""Of an observation; a tensor of the model has the batch besides."""


@dataclass(frozen=True)
class Fields:
    """
    The decoded fields of a checkpoint, as yet uninterpreted.
    """

    policy: str
    """The path of the policy class."""
    observation_space: object
    action_space: object
    arguments: Mapping[str, object]
    """The policy's constructor's arguments that were given."""
    origin: str = "policy_kwargs"
    """What the file calls them."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """How SB3 printed arguments that are not plain values: the only place with the name of a lambda."""
    use_sde: bool | None = None


def describe_policy(fields: Fields, family: Family, options: BuildOptions, findings: Findings) -> Description | None:
    """
    Interprets the fields; None if anything is wrong with them, which is recorded.
    """
    observations = findings.attempt(lambda: observation_space(fields, findings.where))
    actions = findings.attempt(lambda: action_space(fields, family, findings.where))
    activation = findings.attempt(lambda: _activation(fields, family, options, findings.where))
    reader = _Arguments(fields, findings)
    reader.check_names(family)
    reader.check_extractor()
    normalize_images = reader.flag("normalize_images", True)
    squash_output = reader.flag("squash_output", False)
    clip_mean = reader.number("clip_mean", DEFAULT_CLIP_MEAN)
    use_sde = fields.use_sde if fields.use_sde is not None else reader.flag_if_given("use_sde")
    if observations is None or actions is None or activation is None or findings:
        return None
    return Description(
        kind=fields.policy.rpartition(".")[2],
        observation_space=observations,
        action_space=actions,
        activation=activation,
        normalize_images=normalize_images,
        squash_output=squash_output or family.squashed,
        clip_mean=clip_mean,
        use_sde=use_sde,
    )


def observation_space(fields: Fields, where: str) -> Box:
    """
    The observation space, if it is one that the policies here can see.
    """
    space = space_from(fields.observation_space, f"{where}: observation_space")
    if not isinstance(space, Box):
        raise UnsupportedError(f"{where}: observation_space", f"{_name(space)} observations; {COMPILED} on Box")
    if not space.shape:
        raise UnsupportedError(f"{where}: observation_space", "a Box of shape (), for which SB3's predict fails, too")
    if len(space.shape) > MOST_DIMENSIONS:
        finding = f"a Box of {len(space.shape)} dimensions; at most {MOST_DIMENSIONS} are compiled"
        raise UnsupportedError(f"{where}: observation_space", finding)
    return space


def action_space(fields: Fields, family: Family, where: str) -> Box | Discrete:
    """
    The action space, if it is one that the family here can act in.
    """
    space = space_from(fields.action_space, f"{where}: action_space")
    allowed = " or ".join(kind.__name__ for kind in family.action_spaces)
    if not isinstance(space, family.action_spaces) or not isinstance(space, (Box, Discrete)):
        algorithms = ", ".join(family.algorithms)
        finding = f"{_name(space)} actions; policies of {algorithms} are compiled for {allowed} actions"
        raise UnsupportedError(f"{where}: action_space", finding)
    return space


def _name(space: Space) -> str:
    return type(space).__name__


def _activation(fields: Fields, family: Family, options: BuildOptions, where: str) -> Activation:
    """
    The activation of the file; where the file holds code of its own instead of a class of torch.nn, that of the option.
    """
    name = f"{fields.origin}.activation_fn"
    value = fields.arguments.get("activation_fn")
    if value is None:
        return activations.from_option(family.activation)
    if activations.is_known(value):
        return activations.from_checkpoint(value, f"{where}: {name}")
    if options.activation is not None:
        return activations.from_option(options.activation)
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", fields.texts.get("activation_fn", ""))
    shown = quote(text, LONGEST_TEXT) if text else describe(value)
    raise UnsupportedError(where, f"{name}: {shown} can't be known from the file; pass --activation relu|tanh|...")


class _Arguments:
    """
    Reads plain arguments, and records those that are of the wrong type.
    """

    def __init__(self, fields: Fields, findings: Findings) -> None:
        self.fields = fields
        self.findings = findings

    def check_names(self, family: Family) -> None:
        """
        Records arguments that the policy class does not have: what they do can't be known.
        """
        unknown = [name for name in self.fields.arguments if name not in COMMON_ARGUMENTS.keys() | family.arguments]
        for name in unknown:
            kind = self.fields.policy.rpartition(".")[2]
            self.findings.unsupported(f"{self.fields.origin}.{_plain(name)}: not an argument of {kind} that is known")

    def check_extractor(self) -> None:
        """
        Records a features extractor other than SB3's default for MLP policies.
        """
        value = self.fields.arguments.get("features_extractor_class")
        if value is None or (isinstance(value, Symbol) and value.path == FLATTEN_EXTRACTOR):
            return
        name = f"{self.fields.origin}.features_extractor_class"
        self.findings.unsupported(f"{name}: {describe(value)}; {COMPILED}, with FlattenExtractor")

    def flag(self, name: str, default: bool) -> bool:
        """
        A bool argument.
        """
        value = self.flag_if_given(name)
        return default if value is None else value

    def flag_if_given(self, name: str) -> bool | None:
        """
        A bool argument; None if it is not given.
        """
        value = self.fields.arguments.get(name)
        if value is None or isinstance(value, bool):
            return value
        self.findings.damaged(f"{self.fields.origin}.{name}: expected true or false, found {describe(value)}")
        return None

    def number(self, name: str, default: float) -> float:
        """
        A number argument.
        """
        value = self.fields.arguments.get(name, default)
        number = self.findings.attempt(lambda: _finite(value, f"{self.findings.where}: {self.fields.origin}.{name}"))
        return default if number is None else number


def _plain(name: str) -> str:
    return name if name.isidentifier() and name.isascii() and len(name) < 60 else quote(name)


def _finite(value: object, where: str) -> float:
    number = float(as_scalar(value, where))
    if not np.isfinite(number):
        raise CheckpointError(where, f"expected a finite number, found {number}")
    return number
