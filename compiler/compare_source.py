"""
A predictor against Stable-Baselines3 itself: what `policyc verify --against CHECKPOINT --trust` does.

This is the one place that loads a checkpoint as its authors do, which executes what the file says.
"""

import importlib
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import BuildError, CheckpointError, UnsupportedError, VerificationError, quote
from compiler.ops import Array
from compiler.tolerances import ACTION_RELATIVE, SCORE_RELATIVE
from compiler.verify.comparison import Predictor, show
from compiler.verify.observations import Observations
from compiler.verify.reference import Answers

COMMON = "stable_baselines3.common.policies"
ALGORITHMS = {
    COMMON: ("stable_baselines3:PPO", "stable_baselines3:A2C", "sb3_contrib:TRPO"),
    "stable_baselines3.dqn.policies": ("stable_baselines3:DQN",),
    "stable_baselines3.sac.policies": ("stable_baselines3:SAC",),
    "stable_baselines3.td3.policies": ("stable_baselines3:TD3", "stable_baselines3:DDPG"),
}
"""By the module of the policy class, the algorithms that store it. Their `predict` is the same: any of them will do."""

UNNEEDED = {
    "learning_rate": 0.0,
    "lr_schedule": lambda _: 0.0,
    "clip_range": lambda _: 0.0,
    "clip_range_vf": None,
    "exploration_schedule": lambda _: 0.0,
    "replay_buffer_class": None,
    "_last_obs": None,
    "_last_original_obs": None,
    "_last_episode_starts": None,
    "buffer_size": 1,
}
"""Fields that `predict` does not use and that files of older versions can't restore: not restored."""


@dataclass(frozen=True)
class SourceComparison:
    """
    What comparing with Stable-Baselines3 found: that nothing differs, and how near everything was.
    """

    algorithm: str
    """The class that loaded the checkpoint."""
    observations: int
    action_error: float
    """The worst of a continuous action, relative to its range."""
    score_error: float | None
    """The worst of a logit, Q-value or mean, relative to the observation's largest; None where SB3 has none to show."""
    near_ties: int
    """Observations for which SB3 chooses another action that is as good up to rounding."""

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)


def compare_source(
    predictor: Predictor, checkpoint: Path, observations: Observations, answers: Answers, *, trust: bool
) -> SourceComparison:
    """
    Compares actions, their shapes and dtypes, and the values before an argmax, with those of SB3.

    Args:
        predictor: the imported package.
        checkpoint: the `.zip` that it was built from.
        observations: what both are asked, each alone and in one batch.
        answers: the reference's answers: how well conditioned each observation is, and which choices are near ties.
        trust: that the user lets SB3 execute what the checkpoint says.

    Raises:
        PolicycError: the checkpoint is not trusted or can't be loaded, SB3 is not installed, or something differs.
    """
    policy_module = _policy_module(checkpoint, trust)
    observations = observations.only(answers.compared)
    comparison = _Comparison(str(checkpoint), observations, answers.only(answers.compared))
    with _gym_as_gymnasium(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SB3 warns about what it can't restore of older files
        model = _load(checkpoint, policy_module)
        try:
            theirs, _ = model.predict(observations.values, deterministic=True)
            alone = [model.predict(observation, deterministic=True)[0] for observation in observations.values]
            scores = _scores(model, observations.values)
        except Exception as error:  # another agent's checkpoint, as a rule
            text = f"SB3 does not answer what the predictor answers: {type(error).__name__}: {quote(str(error), 300)}"
            raise VerificationError(str(checkpoint), text) from error
    comparison.check_actions("in one batch", predictor.predict(observations.values)[0], theirs)
    own = [predictor.predict(observation)[0] for observation in observations.values]
    comparison.check_types("alone", own[0], alone[0])
    comparison.check_actions("alone", np.stack(own), np.stack(alone))
    if scores is not None:
        comparison.check_scores(predictor.scores(observations.values), scores)
    return SourceComparison(
        algorithm=type(model).__name__,
        observations=len(observations),
        action_error=comparison.action_error,
        score_error=comparison.score_error,
        near_ties=len(comparison.near_ties),
    )


class _Comparison:
    def __init__(self, where: str, observations: Observations, answers: Answers) -> None:
        self.where, self.observations, self.answers = where, observations, answers
        self.action_error = 0.0
        self.score_error: float | None = None
        self.near_ties: set[int] = set()

    def check_types(self, how: str, own: Array, theirs: Array) -> None:
        if (own.dtype, own.shape) != (theirs.dtype, theirs.shape):
            raise VerificationError(
                self.where,
                f"asked {how}, predict returns {own.dtype}{own.shape}, SB3 {theirs.dtype}{theirs.shape}",
            )

    def check_actions(self, how: str, own: Array, theirs: Array) -> None:
        self.check_types(how, own, theirs)
        if self.answers.discrete:
            tied = (own != theirs) & self.answers.acceptable(theirs) & self.answers.acceptable(own)
            self.near_ties |= {int(row) for row in np.flatnonzero(tied)}
            self._expect(how, "action", (own == theirs) | tied, own, theirs)
            return
        error = np.abs(own.astype(np.float64) - theirs) / self.answers.action_scale
        slack = self.answers.action_slack / self.answers.action_scale
        worst = self._worst(how, "action", error, slack, ACTION_RELATIVE, own, theirs)
        self.action_error = max(self.action_error, worst)

    def check_scores(self, own: Array, theirs: Array) -> None:
        if self.answers.discrete:  # SB3 shows logits less their log-sum-exp; Q-values are compared that way as well
            own, theirs = _normalised(own), _normalised(theirs)
        error = np.abs(own.astype(np.float64) - theirs) / self.answers.score_scale
        slack = self.answers.score_slack.max(axis=1, keepdims=True) / self.answers.score_scale
        self.score_error = self._worst("in one batch", "scores", error, slack, SCORE_RELATIVE, own, theirs)

    def _worst(
        self, how: str, what: str, error: Array, slack: Array, tolerance: float, own: Array, theirs: Array
    ) -> float:
        """
        Both sides may be as far from the float64 reference as the tolerance says, and so twice as far from each other.
        """
        rows = len(error)
        good = np.asarray((error <= 2 * np.maximum(tolerance, slack)).reshape(rows, -1).all(axis=1))
        self._expect(how, what, good, own, theirs)
        well = error[(slack <= tolerance).reshape(rows, -1).all(axis=1)]
        return float(well.max()) if well.size else 0.0

    def _expect(self, how: str, what: str, good: Array, own: Array, theirs: Array) -> None:
        if good.all():
            return
        row = int(np.argmin(good))
        raise VerificationError(
            self.where,
            f"{what}: the predictor gives {show(np.asarray(own[row]))}, SB3 {show(np.asarray(theirs[row]))}; "
            f"{int((~good).sum())} of {good.size} observations differ\n"
            f"  observation ({self.observations.kinds[row]}), asked {how}: {show(self.observations.values[row])}",
        )


def _normalised(scores: Array) -> Array:
    wide = scores.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _policy_module(checkpoint: Path, trust: bool) -> str:
    """
    The module of the policy class, from the text that SB3 stores beside each pickle: read without executing anything.
    """
    where = str(checkpoint)
    if not checkpoint.is_file():
        raise CheckpointError(where, "is not a file")
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            data = json.loads(archive.read("data"))
        name = str(data["policy_class"]["__module__"])
    except (KeyError, TypeError, ValueError, OSError, RuntimeError, zipfile.BadZipFile):
        raise UnsupportedError(
            where,
            "is not a .zip that an SB3 model was saved to; a policy.pth has no spaces, no activation and no class, so "
            "there is no SB3 model to compare with: name the .zip that it was taken from",
        ) from None
    if not trust:
        raise CheckpointError(
            where,
            "to compare with it, Stable-Baselines3 has to load it, and that executes what the file says; if you trust "
            "whoever made it, add --trust",
        )
    if name not in ALGORITHMS:
        raise UnsupportedError(where, f"its policy class is of {quote(name)}; known are {', '.join(ALGORITHMS)}")
    return name


def _load(checkpoint: Path, policy_module: str) -> Any:
    failures = []
    for name in ALGORITHMS[policy_module]:
        package, algorithm = name.split(":")
        try:
            kind = getattr(importlib.import_module(package), algorithm)
        except ImportError:
            failures.append(f"{algorithm}: {package} is not installed (pip install policyc[sb3])")
            continue
        try:
            return kind.load(checkpoint, device="cpu", custom_objects=UNNEEDED)
        except Exception as error:
            failures.append(f"{algorithm} can't load it: {type(error).__name__}: {quote(str(error), 200)}")
    raise (CheckpointError if any("load it" in text for text in failures) else BuildError)(str(checkpoint), *failures)


def _scores(model: Any, observations: Array) -> Array | None:
    """
    The values before the argmax, or the means before clipping, where SB3 can show them.
    """
    import torch
    from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution

    policy = model.policy
    with torch.no_grad():
        tensor, _ = policy.obs_to_tensor(observations)
        if hasattr(policy, "q_net"):
            return np.asarray(policy.q_net(tensor).numpy())
        if not hasattr(policy, "get_distribution"):
            return None
        distribution = policy.get_distribution(tensor)
        if isinstance(distribution, CategoricalDistribution):
            return np.asarray(distribution.distribution.logits.numpy())
        if type(distribution) is DiagGaussianDistribution:
            return np.asarray(distribution.distribution.mean.numpy())
    return None


@contextmanager
def _gym_as_gymnasium() -> Iterator[None]:
    """
    Checkpoints from before 2023 name spaces of `gym`; gymnasium's are meant now.
    """
    try:
        importlib.import_module("gymnasium.spaces")
    except ImportError:
        yield
        return
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "gymnasium"}
    added = {f"gym{name.removeprefix('gymnasium')}": module for name, module in modules.items()}
    added = {name: module for name, module in added.items() if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            sys.modules.pop(name, None)
