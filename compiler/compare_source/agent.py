"""
An agent as Stable-Baselines3 loads it, with the statistics that its observations are normalised by.
"""

import importlib
import json
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.errors import BuildError, CheckpointError, UnsupportedError, quote
from compiler.verify.asking import Question

ALGORITHMS = {
    "stable_baselines3.common.policies": ("stable_baselines3:PPO", "stable_baselines3:A2C", "sb3_contrib:TRPO"),
    "stable_baselines3.dqn.policies": ("stable_baselines3:DQN",),
    "stable_baselines3.sac.policies": ("stable_baselines3:SAC",),
    "stable_baselines3.td3.policies": ("stable_baselines3:TD3", "stable_baselines3:DDPG"),
    "sb3_contrib.common.maskable.policies": ("sb3_contrib:MaskablePPO",),
    "sb3_contrib.common.recurrent.policies": ("sb3_contrib:RecurrentPPO",),
    "sb3_contrib.qrdqn.policies": ("sb3_contrib:QRDQN",),
    "sb3_contrib.tqc.policies": ("sb3_contrib:TQC",),
    "sb3_contrib.crossq.policies": ("sb3_contrib:CrossQ",),
    "sb3_contrib.ars.policies": ("sb3_contrib:ARS",),
}
"""By the module of the policy class, the algorithms that store it. Their `predict` is the same: any of them will do."""

MARKS = {"stable_baselines3:PPO": "clip_range", "sb3_contrib:TRPO": "cg_max_steps"}
"""Fields of `data` that only one of these algorithms has."""

UNNEEDED = {
    "learning_rate": 0.0,
    "lr_schedule": lambda _: 0.0,
    "clip_range": lambda _: 0.0,
    "clip_range_vf": None,
    "exploration_schedule": lambda _: 0.0,
    "action_noise": None,
    "replay_buffer_class": None,
    "replay_buffer_kwargs": {},
    "_last_obs": None,
    "_last_original_obs": None,
    "_last_episode_starts": None,
    "_last_lstm_states": None,
    "buffer_size": 1,
}
"""Fields that `predict` does not use and that files of older versions can't restore: not restored."""


@dataclass(frozen=True)
class Agent:
    """
    What answers as its users hear it.
    """

    model: Any
    """The SB3 model."""
    normalizer: Any = None
    """SB3's VecNormalize, if observations go through one."""

    @property
    def name(self) -> str:
        """
        The class that loaded the checkpoint.
        """
        return type(self.model).__name__

    def predict(self, question: Question) -> tuple[Any, Any]:
        """
        What SB3 predicts, deterministically: the action and the state.
        """
        action, state = self.model.predict(self.prepared(question.observation), deterministic=True, **question.others)
        return action, state

    def prepared(self, observation: Any) -> Any:
        """
        The observation as the model gets it.
        """
        return observation if self.normalizer is None else self.normalizer.normalize_obs(observation)


@contextmanager
def loaded(checkpoint: Path, vecnormalize: Path | None, trust: bool) -> Iterator[Agent]:
    """
    The agent of a checkpoint. Spaces of `gym` are taken for those of gymnasium meanwhile.

    Args:
        checkpoint: what `model.save` wrote.
        vecnormalize: what `VecNormalize.save` wrote, if the agent was trained with it.
        trust: that the user lets SB3 execute what the files say.

    Raises:
        PolicycError: the checkpoint is not trusted or can't be loaded, or SB3 is not installed.
    """
    algorithms = _algorithms(checkpoint, trust)
    with _gym_as_gymnasium(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SB3 warns about what it can't restore of older files
        model = _load(checkpoint, algorithms)
        yield Agent(model, None if vecnormalize is None else _load_normalizer(vecnormalize, model))


def _algorithms(checkpoint: Path, trust: bool) -> list[str]:
    """
    The algorithms that may have saved a file, the likeliest first.

    They follow from the module of the policy class, which SB3 stores as text beside the pickle, and from the names of
    fields: nothing is executed.
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

    def unlikely(algorithm: str) -> int:
        mark = MARKS.get(algorithm)
        return 1 if mark is None else 0 if mark in data else 2

    return sorted(ALGORITHMS[name], key=unlikely)


def _load(checkpoint: Path, algorithms: list[str]) -> Any:
    failures = []
    for name in algorithms:
        package, algorithm = name.split(":")
        try:
            kind = getattr(importlib.import_module(package), algorithm)
        except ImportError:
            failures.append(f"{package} is not installed: pip install 'policyc[sb3]'")
            continue
        try:
            return kind.load(checkpoint, device="cpu", custom_objects=UNNEEDED)
        except Exception as error:
            failures.append(f"{algorithm} can't load it: {type(error).__name__}: {quote(str(error), 200)}")
    kind = CheckpointError if any("load it" in text for text in failures) else BuildError
    raise kind(str(checkpoint), *dict.fromkeys(failures))


def _load_normalizer(path: Path, model: Any) -> Any:
    """
    SB3's VecNormalize, around an environment that has nothing but the agent's spaces.
    """
    import gymnasium
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    environment = type("Spaces", (gymnasium.Env,), {})()
    environment.observation_space, environment.action_space = model.observation_space, model.action_space
    try:
        normalizer = VecNormalize.load(str(path), DummyVecEnv([lambda: environment]))
    except Exception as error:
        text = f"SB3 can't load it as VecNormalize: {type(error).__name__}: {quote(str(error), 200)}"
        raise CheckpointError(str(path), text) from error
    normalizer.training = False
    return normalizer


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
