"""
Agents of the golden tests, asked by programs that were made for another processor.
"""

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.golden.agents import flat, make, observations_for, save
from tests.golden.compare import assert_same_actions, assert_same_scores
from tests.golden.expected import Expected, Given, expected_of, given_for
from tests.targets.replay import ROWS, Policy, compiled

STATE = 5e-5
"""What rounding may change of a recurrent state, which is below 1 except for the cells."""


@dataclass(frozen=True)
class Golden:
    """
    An agent, what it is given, and what it answers.
    """

    agent: Any
    given: Given
    expected: Expected

    @property
    def parts(self) -> list[npt.ArrayLike]:
        """
        The arrays that the C interface takes.
        """
        seen = self.given.observations
        parts = list(seen.values()) if isinstance(seen, dict) else [seen]
        return parts if self.given.masks is None else [*parts, self.given.masks]

    def questions(self, policy: Policy) -> npt.NDArray[Any]:
        """
        What a program is asked.
        """
        if self.given.state is None:
            return policy.questions(self.parts)
        memory = [part.transpose(1, 0, 2) for part in self.given.state]
        return policy.questions(self.parts, memory, self.given.starts)

    def check(self, answers: npt.NDArray[Any]) -> None:
        """
        Compares what a program answers with what SB3 does.
        """
        assert (answers["status"] == 0).all()
        scores, actions = self.expected.outputs["scores"], self.expected.actions
        seen = flat(self.agent, self.given.observations)
        assert_same_scores(answers["scores"].reshape(scores.shape), scores, seen)
        assert_same_actions(
            self.agent, answers["action"].reshape(actions.shape), actions, scores, seen, self.given.masks
        )
        for name, state in zip(("hidden", "cell"), self.expected.state or (), strict=False):
            wanted = state.transpose(1, 0, 2).reshape(answers[name].shape)
            np.testing.assert_allclose(answers[name], wanted, rtol=STATE, atol=STATE)


@cache
def golden(name: str) -> Golden:
    """
    The agent of a recipe.
    """
    agent = make(name)
    given = given_for(agent, observations_for(agent.observation_space))
    assert (
        len(next(iter(given.observations.values())) if isinstance(given.observations, dict) else given.observations)
        <= ROWS
    )
    return Golden(agent, given, expected_of(agent, given))


def policy_of(folder: Path, name: str, triple: str, cpu: str | None = None) -> Policy:
    """
    The agent of a recipe, compiled for a triple.
    """
    return compiled(folder / f"{name}_{triple}_{cpu}", save(name, folder), triple, cpu)


def program_named(*names: str) -> str:
    """
    The first program of these names that is installed; a test that needs it is skipped if none is.
    """
    for name in names:
        if shutil.which(name):
            return name
    pytest.skip(f"{names[0]} is not installed")
