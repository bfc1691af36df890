"""
The description of a policy whose file holds its spaces and its constructor's arguments: a `.zip`, or `policy.save()`.
"""

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.sb3 import activations, recurrent
from compiler.frontends.sb3.activations import Activation
from compiler.frontends.sb3.arguments import Arguments, finite
from compiler.frontends.sb3.assumptions import Assumptions, assumed_epsilon
from compiler.frontends.sb3.description import (
    DEFAULT_CLIP_MEAN,
    DEFAULT_NORM_EPSILON,
    EXPORTED,
    Description,
    Family,
)
from compiler.frontends.sb3.extractors import extractor_from, space_findings
from compiler.frontends.sb3.families import POLICIES, PolicyClass, with_extractor
from compiler.frontends.sb3.fields import Fields
from compiler.frontends.sb3.findings import Findings
from compiler.frontends.sb3.spaces import space_from
from compiler.ir import Box, Dict, MultiBinary, Space
from compiler.options import BuildOptions

MOST_DIMENSIONS = 7
"""Of an observation; a tensor of the model has the batch besides."""
MOST_PARTS = 256
"""Of a Dict observation; a predictor has code for each of them."""


def describe_policy(
    fields: Fields, options: BuildOptions, findings: Findings, assumptions: Assumptions
) -> Description | None:
    """
    Interprets the fields; None if anything is wrong with them, which is recorded.
    """
    policy = POLICIES[fields.policy]
    family = policy.family
    observations = findings.attempt(lambda: observation_space(fields, findings.where))
    actions = findings.attempt(lambda: action_space(fields, family, findings.where))
    reader = Arguments(fields, findings)
    activation = findings.attempt(lambda: _activation(reader, family, options))
    reader.check_names(family)
    extractor = _extractor(reader, policy, observations, given=options.extractor is not None)
    if family is recurrent.FAMILY:
        reader.check_lstm()
    squash_output = reader.flag("squash_output", policy.squash_output)
    use_sde = fields.use_sde if fields.use_sde is not None else reader.flag_if_given("use_sde")
    quantiles = fields.arguments.get("n_quantiles")
    normalize_images, use_expln = reader.flag("normalize_images", True), reader.flag("use_expln", False)
    clip_mean = reader.number("clip_mean", DEFAULT_CLIP_MEAN)
    norm_epsilon = reader.number("batch_norm_eps", DEFAULT_NORM_EPSILON)
    epsilon = _epsilon(fields, family, options, findings, assumptions)
    if observations is None or actions is None or activation is None or extractor is None or findings:
        return None
    return Description(
        kind=_kind(fields, extractor),
        observation_space=observations,
        action_space=actions,
        activation=activation,
        extractor=extractor,
        squash_output=family.squashed or (squash_output and isinstance(actions, Box)),
        normalize_images=normalize_images,
        clip_mean=clip_mean,
        norm_epsilon=norm_epsilon,
        epsilon=epsilon,
        use_sde=use_sde,
        use_expln=use_expln,
        noise_layers=fields.arguments.get("sde_net_arch") is not None,
        quantiles=quantiles if type(quantiles) is int else None,
        masked=family.masked,
    )


def _kind(fields: Fields, extractor: str) -> str:
    """
    The name of the policy class. Where there are tensors alone, they tell a family, and the extractor one of its kinds.
    """
    policy = with_extractor(fields.policy, extractor) if fields.is_inferred else fields.policy
    return policy.rpartition(".")[2]


def observation_space(fields: Fields, where: str) -> Space:
    """
    The observation space, if it is one that policies can see.
    """
    name = f"{where}: observation_space"
    space = space_from(fields.observation_space, name)
    parts = space.spaces if isinstance(space, Dict) else (("", space),)
    if not parts:
        raise CheckpointError(name, "a Dict without parts")
    if len(parts) > MOST_PARTS:
        raise UnsupportedError(name, f"a Dict of {len(parts):,} parts; at most {MOST_PARTS} are compiled")
    for key, part in parts:
        inner = f"{name}: {quote(key)}" if key or isinstance(space, Dict) else name
        if isinstance(part, Dict):
            raise UnsupportedError(inner, "a Dict in a Dict, which SB3 does not take either")
        if isinstance(part, (Box, MultiBinary)):
            _check_shape(part, inner)
    return space


def _check_shape(space: Box | MultiBinary, where: str) -> None:
    called = type(space).__name__
    if not space.shape:
        raise UnsupportedError(where, f"a {called} of shape (), for which SB3's predict fails, too")
    if len(space.shape) > MOST_DIMENSIONS:
        finding = f"a {called} of {len(space.shape)} dimensions; at most {MOST_DIMENSIONS} are compiled"
        raise UnsupportedError(where, finding)


def action_space(fields: Fields, family: Family, where: str) -> Space:
    """
    The action space, if it is one that the family here can act in.
    """
    name = f"{where}: action_space"
    space = space_from(fields.action_space, name)
    allowed = " or ".join(kind.__name__ for kind in family.action_spaces)
    if not isinstance(space, family.action_spaces):
        algorithms = ", ".join(family.algorithms)
        finding = f"{type(space).__name__} actions; policies of {algorithms} are compiled for {allowed} actions"
        raise UnsupportedError(name, finding)
    if isinstance(space, MultiBinary) and len(space.shape) != 1:
        raise UnsupportedError(name, f"a MultiBinary of shape {space.shape}; SB3 takes actions of one dimension")
    return space


def _extractor(reader: Arguments, policy: PolicyClass, space: Space | None, *, given: bool) -> str | None:
    """
    The features extractor, if it is SB3's and takes the observations, or is given; else None, and that is recorded.
    """
    name = "features_extractor_class"
    value, shown = reader.fields.arguments.get(name), reader.shown(name)
    where = f"{reader.findings.where}: {reader.path(name)}"
    extractor = reader.findings.attempt(lambda: extractor_from(value, policy.extractor, shown, where, given))
    if extractor is not None and extractor != EXPORTED:
        reader.check_extractor(extractor)
        for text in space_findings(extractor, space) if space is not None else ():
            reader.findings.unsupported(f"observation_space: {text}")
    return extractor


def _activation(reader: Arguments, family: Family, options: BuildOptions) -> Activation:
    """
    The activation of the file; where the file holds code of its own instead of a class of torch.nn, that of the option.
    """
    where, name = reader.findings.where, "activation_fn"
    value = reader.fields.arguments.get(name)
    if value is None:
        return activations.from_option(family.activation)
    if activations.is_known(value):
        return activations.from_checkpoint(value, f"{where}: {reader.path(name)}")
    if options.activation is not None:
        return activations.from_option(options.activation)
    known = "can't be known from the file; pass --activation relu|tanh|..."
    raise UnsupportedError(where, f"{reader.path(name)}: {reader.shown(name)} {known}")


def _epsilon(
    fields: Fields, family: Family, options: BuildOptions, findings: Findings, assumptions: Assumptions
) -> float:
    """
    The probability of a random action: the file's, the option's, or SB3's default.
    """
    if family.epsilon is None:
        return 0.0
    if fields.exploration_rate is not None:
        where = f"{findings.where}: exploration_rate"
        rate = findings.attempt(lambda: finite(fields.exploration_rate, where))
        if rate is not None and not 0 <= rate <= 1:
            findings.damaged(f"exploration_rate: expected a number from 0 to 1, found {rate}")
        return rate or 0.0
    return assumed_epsilon(family.epsilon, options, findings, assumptions)
