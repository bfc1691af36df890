"""
Which policies can be compiled: the tables that a new family adds its rows to.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.sb3 import actor_critic, dqn, sac, td3
from compiler.frontends.sb3.description import Family
from compiler.readers.pickle_machine import Symbol, describe
from compiler.readers.tensors import TensorFile

FAMILIES: dict[str, Family] = {
    "stable_baselines3.common.policies.ActorCriticPolicy": actor_critic.FAMILY,
    "stable_baselines3.dqn.policies.DQNPolicy": dqn.FAMILY,
    "stable_baselines3.sac.policies.SACPolicy": sac.FAMILY,
    "stable_baselines3.td3.policies.TD3Policy": td3.FAMILY,
}
"""By the path of the policy class, as pickled. TRPO saves ActorCriticPolicy, DDPG saves TD3Policy."""

NOT_YET: dict[str, str] = {
    "stable_baselines3.common.policies.ActorCriticCnnPolicy": "images",
    "stable_baselines3.common.policies.MultiInputActorCriticPolicy": "Dict observations",
    "stable_baselines3.dqn.policies.CnnPolicy": "images",
    "stable_baselines3.dqn.policies.MultiInputPolicy": "Dict observations",
    "stable_baselines3.sac.policies.CnnPolicy": "images",
    "stable_baselines3.sac.policies.MultiInputPolicy": "Dict observations",
    "stable_baselines3.td3.policies.CnnPolicy": "images",
    "stable_baselines3.td3.policies.MultiInputPolicy": "Dict observations",
    "sb3_contrib.common.maskable.policies.MaskableActorCriticPolicy": "MaskablePPO",
    "sb3_contrib.common.maskable.policies.MaskableActorCriticCnnPolicy": "MaskablePPO",
    "sb3_contrib.common.maskable.policies.MaskableMultiInputActorCriticPolicy": "MaskablePPO",
    "sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy": "RecurrentPPO",
    "sb3_contrib.common.recurrent.policies.RecurrentActorCriticCnnPolicy": "RecurrentPPO",
    "sb3_contrib.common.recurrent.policies.RecurrentMultiInputActorCriticPolicy": "RecurrentPPO",
    "sb3_contrib.qrdqn.policies.QRDQNPolicy": "QRDQN",
    "sb3_contrib.qrdqn.policies.CnnPolicy": "QRDQN",
    "sb3_contrib.qrdqn.policies.MultiInputPolicy": "QRDQN",
    "sb3_contrib.tqc.policies.TQCPolicy": "TQC",
    "sb3_contrib.tqc.policies.CnnPolicy": "TQC",
    "sb3_contrib.tqc.policies.MultiInputPolicy": "TQC",
    "sb3_contrib.crossq.policies.CrossQPolicy": "CrossQ",
    "sb3_contrib.ars.policies.ARSPolicy": "ARS",
    "sb3_contrib.ars.policies.ARSLinearPolicy": "ARS",
}
"""Policy classes of SB3 and sb3-contrib that this version does not compile, with what they are for."""

ALGORITHMS = [name for family in FAMILIES.values() for name in family.algorithms]
COMPILED = f"this version compiles MLP policies of {', '.join(ALGORITHMS[:-1])} and {ALGORITHMS[-1]}"

FLATTEN_EXTRACTOR = "stable_baselines3.common.torch_layers.FlattenExtractor"


@dataclass(frozen=True)
class Mark:
    """
    How the keys of a bare state dict tell its policy.
    """

    pattern: re.Pattern[str]
    """Matches the beginning of a key or of a module's path."""
    policy: str
    """The policy class, a key of `FAMILIES` or `NOT_YET`."""


def _mark(pattern: str, policy: str) -> Mark:
    return Mark(re.compile(pattern, re.ASCII), policy)


MARKS = (
    _mark(r"lstm_actor\.", "sb3_contrib.common.recurrent.policies.RecurrentActorCriticPolicy"),
    _mark(r"quantile_net\.", "sb3_contrib.qrdqn.policies.QRDQNPolicy"),
    _mark(r"actor\.latent_pi\.\d+\.ra_mean$", "sb3_contrib.crossq.policies.CrossQPolicy"),
    _mark(r"q_net\.", "stable_baselines3.dqn.policies.DQNPolicy"),
    _mark(r"actor\.(latent_pi|log_std)\b", "stable_baselines3.sac.policies.SACPolicy"),
    _mark(r"actor\.mu\.", "stable_baselines3.td3.policies.TD3Policy"),
    _mark(r"(mlp_extractor|value_net)\b", "stable_baselines3.common.policies.ActorCriticPolicy"),
    _mark(r"action_net\.", "sb3_contrib.ars.policies.ARSPolicy"),
)
"""The first row that matches anything counts."""


def policy_from_class(value: object, where: str) -> str:
    """
    The path of a decoded policy class, if it can be compiled.

    Raises:
        UnsupportedError: it is another class, which is named.
    """
    if not isinstance(value, Symbol):
        raise UnsupportedError(where, f"{describe(value)} is a policy class of its own; {COMPILED}")
    return _compiled(value.path, where)


def policy_from_keys(file: TensorFile, where: str) -> str:
    """
    The path of the policy class that a bare state dict comes from, if it can be compiled.

    Raises:
        CheckpointError: the keys are those of no policy.
        UnsupportedError: they are those of another policy, which is named.
    """
    names = [*file.tensors, *file.module_paths]
    for mark in MARKS:
        if any(mark.pattern.match(name) for name in names):
            return _compiled(mark.policy, where)
    shown = ", ".join(quote(name) for name in list(file.tensors)[:5]) or "none"
    raise CheckpointError(where, f"the tensors are not those of a Stable-Baselines3 policy; the first are {shown}")


def _compiled(path: str, where: str) -> str:
    if path in FAMILIES:
        return path
    name = path.rpartition(".")[2]
    if path in NOT_YET:
        raise UnsupportedError(where, f"{name} ({NOT_YET[path]}) is not compiled yet; {COMPILED}")
    raise UnsupportedError(where, f"the policy class {quote(path)} is not one of Stable-Baselines3's; {COMPILED}")


def extractor_findings(family: Family, file: TensorFile) -> Iterable[str]:
    """
    What shows that the features extractor does more than flatten.
    """
    for prefix in family.extractors:
        names = dict.fromkeys(name for name in (*file.tensors, *file.module_paths) if name.startswith(f"{prefix}."))
        strange = [name for name in names if name != f"{prefix}.flatten"]
        if strange:
            shown = ", ".join(quote(name) for name in strange[:3])
            yield f"the features extractor {prefix!r} does more than flatten (it has {shown}); {COMPILED}"
