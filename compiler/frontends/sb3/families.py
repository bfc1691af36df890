"""
Which policies can be compiled: the tables that a new family adds its rows to.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.sb3 import actor_critic, ars, dqn, recurrent, sac, td3
from compiler.frontends.sb3.description import COMBINED, FLATTEN, NATURE, Family
from compiler.readers.pickle_machine import Symbol, describe
from compiler.readers.tensors import TensorFile
from compiler.readers.weights import COMPILED_WITH, uncompiled

MODULE = (
    "save model.policy.state_dict(), all of it; of another module of PyTorch, name what makes it: "
    "--module package.module:factory --trust"
)


@dataclass(frozen=True)
class PolicyClass:
    """
    A policy class of SB3 or sb3_contrib: its family, and what it sets besides.
    """

    family: Family
    extractor: str = FLATTEN
    """The features extractor that it has unless `features_extractor_class` says otherwise."""
    squash_output: bool = False
    """The default of the argument."""


def _kinds(module: str, family: Family, mlp: str, cnn: str = "", multi_input: str = "") -> dict[str, PolicyClass]:
    names = {mlp: FLATTEN, cnn: NATURE, multi_input: COMBINED}
    return {f"{module}.{name}": PolicyClass(family, extractor) for name, extractor in names.items() if name}


ACTOR_CRITIC = "stable_baselines3.common.policies"
MASKABLE = "sb3_contrib.common.maskable.policies"
RECURRENT = "sb3_contrib.common.recurrent.policies"
OFF_POLICY = ("CnnPolicy", "MultiInputPolicy")

POLICIES: Mapping[str, PolicyClass] = {
    **_kinds(
        ACTOR_CRITIC,
        actor_critic.FAMILY,
        "ActorCriticPolicy",
        "ActorCriticCnnPolicy",
        "MultiInputActorCriticPolicy",
    ),
    **_kinds(
        MASKABLE,
        actor_critic.MASKED,
        "MaskableActorCriticPolicy",
        "MaskableActorCriticCnnPolicy",
        "MaskableMultiInputActorCriticPolicy",
    ),
    **_kinds(
        RECURRENT,
        recurrent.FAMILY,
        "RecurrentActorCriticPolicy",
        "RecurrentActorCriticCnnPolicy",
        "RecurrentMultiInputActorCriticPolicy",
    ),
    **_kinds("stable_baselines3.dqn.policies", dqn.FAMILY, "DQNPolicy", *OFF_POLICY),
    **_kinds("sb3_contrib.qrdqn.policies", dqn.QUANTILES, "QRDQNPolicy", *OFF_POLICY),
    **_kinds("stable_baselines3.sac.policies", sac.FAMILY, "SACPolicy", *OFF_POLICY),
    **_kinds("sb3_contrib.tqc.policies", sac.TQC, "TQCPolicy", *OFF_POLICY),
    **_kinds("sb3_contrib.crossq.policies", sac.CROSSQ, "CrossQPolicy"),
    **_kinds("stable_baselines3.td3.policies", td3.FAMILY, "TD3Policy", *OFF_POLICY),
    "sb3_contrib.ars.policies.ARSPolicy": PolicyClass(ars.FAMILY, squash_output=True),
    "sb3_contrib.ars.policies.ARSLinearPolicy": PolicyClass(ars.FAMILY),
}
"""By the path of the policy class, as pickled. TRPO saves ActorCriticPolicy, DDPG saves TD3Policy."""

FAMILIES: dict[str, Family] = {path: policy.family for path, policy in POLICIES.items()}

ALGORITHMS = list(dict.fromkeys(name for family in FAMILIES.values() for name in family.algorithms))
OWN_POLICY = (
    "yours is compiled as a PyTorch module whose forward returns model.policy._predict(observation, "
    "deterministic=True): compiler.build(module, name=..., example_inputs=(observation,))"
)
COMPILED = f"compiled are the policies of {', '.join(ALGORITHMS[:-1])} and {ALGORITHMS[-1]}"


@dataclass(frozen=True)
class Mark:
    """
    How the keys of a bare state dict tell its policy.
    """

    pattern: re.Pattern[str]
    """Matches the beginning of a key or of a module's path."""
    policy: str
    """The policy class, a key of `POLICIES`."""


def _mark(pattern: str, policy: str) -> Mark:
    return Mark(re.compile(pattern, re.ASCII), policy)


MARKS = (
    _mark(r"lstm_actor\.", f"{RECURRENT}.RecurrentActorCriticPolicy"),
    _mark(r"quantile_net\.", "sb3_contrib.qrdqn.policies.QRDQNPolicy"),
    _mark(r"actor\.latent_pi\.\d+\.ra_mean$", "sb3_contrib.crossq.policies.CrossQPolicy"),
    _mark(r"q_net\.", "stable_baselines3.dqn.policies.DQNPolicy"),
    _mark(r"actor\.(latent_pi|log_std)\b", "stable_baselines3.sac.policies.SACPolicy"),
    _mark(r"actor\.mu\.", "stable_baselines3.td3.policies.TD3Policy"),
    _mark(r"(mlp_extractor|value_net)\b", f"{ACTOR_CRITIC}.ActorCriticPolicy"),
    _mark(r"action_net\.", "sb3_contrib.ars.policies.ARSPolicy"),
)
"""The first row that matches anything counts."""

MASKED_POLICY = f"{MASKABLE}.MaskableActorCriticPolicy"
"""Its tensors are those of `ActorCriticPolicy`."""
LIKE_SAC = {
    "n_quantiles": "sb3_contrib.tqc.policies.TQCPolicy",
    "batch_norm": "sb3_contrib.crossq.policies.CrossQPolicy",
}
"""Policies whose tensors may be those of `SACPolicy`, by the names of arguments that it does not have."""
LINEAR_ARS = "sb3_contrib.ars.policies.ARSLinearPolicy"


def policy_from_class(value: object, where: str) -> str:
    """
    The path of a decoded policy class, if it can be compiled.

    Raises:
        UnsupportedError: it is another class, which is named.
    """
    if not isinstance(value, Symbol):
        raise UnsupportedError(where, f"{describe(value)} is a policy class of its own; {COMPILED}; {OWN_POLICY}")
    if value.path not in POLICIES:
        raise UnsupportedError(
            where, f"the policy class {quote(value.path)} is not one of Stable-Baselines3's; {COMPILED}; {OWN_POLICY}"
        )
    return value.path


def policy_from_keys(file: TensorFile, where: str) -> str:
    """
    The path of the policy class that a bare state dict comes from: that of its MLP policies, whatever the extractor.

    Raises:
        CheckpointError: the keys are those of no policy.
    """
    names = [*file.tensors, *file.module_paths]
    for mark in MARKS:
        if any(mark.pattern.match(name) for name in names):
            return mark.policy
    shown = ", ".join(quote(name) for name in list(file.tensors)[:5]) or "none"
    found = f"the tensors are not those of a Stable-Baselines3 policy; the first are {shown}"
    raise CheckpointError(where, f"{found}; {MODULE}")


def with_extractor(policy: str, extractor: str) -> str:
    """
    The class of the same family and module whose extractor this is; the class itself if there is none.
    """
    if POLICIES[policy].extractor == extractor:
        return policy
    module, family = policy.rpartition(".")[0], POLICIES[policy].family
    others = (path for path, other in POLICIES.items() if (other.family, other.extractor) == (family, extractor))
    return next((path for path in others if path.startswith(f"{module}.")), policy)


def without_compile(file: TensorFile, where: str) -> TensorFile:
    """
    The file with the names that its tensors had before torch.compile.

    Raises:
        CheckpointError: two tensors would get one name.
    """
    if not any(COMPILED_WITH in name.split(".") for name in (*file.tensors, *file.module_paths)):
        return file
    tensors = {uncompiled(name): array for name, array in file.tensors.items()}
    if len(tensors) != len(file.tensors):
        raise CheckpointError(where, f"two tensors have the same name but for {COMPILED_WITH!r}")
    return replace(file, tensors=tensors, module_paths=_unique(uncompiled(path) for path in file.module_paths))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def policy_from_arguments(policy: str, arguments: Collection[str]) -> str:
    """
    The class that `policy.save()` of a policy comes from, where tensors alone do not tell: by its arguments' names.
    """
    family = FAMILIES[policy]
    if family is actor_critic.FAMILY:
        # MaskablePPO's constructor alone has no use_sde.
        return policy if "use_sde" in arguments else MASKED_POLICY
    if family is sac.FAMILY:
        return next((other for name, other in LIKE_SAC.items() if name in arguments), policy)
    return policy
