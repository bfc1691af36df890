"""
How a predictor is asked: from rows of inputs to the arguments of its functions, as a user would write them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from compiler.ir import ACTION_MASKS, EPISODE_STARTS, OBSERVATION, Dict, Model
from compiler.ops import Array
from compiler.verify.cases import Cases, policy_of


class Predictor(Protocol):
    """
    The face of a generated package, as far as it is compared.

    What it takes besides the observation depends on the policy: `action_masks`, or `state` and `episode_start`.
    """

    SPEC: dict[str, Any]

    @property
    def predict(self) -> Callable[..., tuple[Any, Any]]:
        """
        Gives the action, in SB3's shape and dtype, and the recurrent state.
        """

    @property
    def act(self) -> Callable[..., Any]:
        """
        Gives the action for one observation; of a recurrent policy, with the state.
        """

    @property
    def scores(self) -> Callable[..., Any]:
        """
        Gives what the action is chosen from.
        """

    @property
    def layers(self) -> Callable[..., dict[str, Any]]:
        """
        Gives every value that is computed on the way, by the tensor's name.
        """


@dataclass(frozen=True)
class Question:
    """
    What one call asks: a batch, or one observation alone.
    """

    observation: Any
    """An array, or arrays by key."""
    masks: Mapping[str, Any]
    """`action_masks`, if the policy takes them."""
    memory: Mapping[str, Any]
    """`state` and `episode_start`, if the policy has states."""

    @property
    def others(self) -> dict[str, Any]:
        """
        What `predict`, `act` and `layers` take besides the observation.
        """
        return {**self.masks, **self.memory}


def batch_of(model: Model, cases: Cases) -> Question:
    """
    All cases in one call.
    """
    return _question(model, cases, cases.values)


def single_of(model: Model, cases: Cases, row: int) -> Question:
    """
    One of the cases, alone; at the start of an episode without a state, as users begin.
    """
    values = {name: array[row] for name, array in cases.values.items()}
    question = _question(model, cases.only(slice(row, row + 1)), values)
    if not model.states:
        return question
    state, starts = question.memory["state"], question.memory["episode_start"]
    nothing = not any(part.any() for part in state)
    memory = {"state": None if nothing else state, "episode_start": starts if starts.any() else None}
    return Question(question.observation, question.masks, memory)


def _question(model: Model, cases: Cases, values: Mapping[str, Any]) -> Question:
    masks = {"action_masks": values[ACTION_MASKS]} if ACTION_MASKS in model.inputs else {}
    memory: dict[str, Any] = {}
    if model.states:
        memory = {"state": packed(model, cases), "episode_start": cases.values[EPISODE_STARTS].astype(bool)}
    return Question(observation_of(model, values), masks, memory)


def observation_of(model: Model, values: Mapping[str, Any]) -> Any:
    """
    The observation as `predict` takes it, from the model's inputs by name.
    """
    if isinstance(policy_of(model).observation_space, Dict):
        return {name.removeprefix(f"{OBSERVATION}."): values[name] for name, _ in policy_of(model).parts}
    return values[OBSERVATION]


def packed(model: Model, cases: Cases) -> tuple[Array, Array]:
    """
    The recurrent states as SB3 has them: h and c, each (layers, n, units).
    """
    layers = [cases.values[state.name] for state in model.states]
    return np.stack(layers[0::2]), np.stack(layers[1::2])


def unpacked(model: Model, state: Any) -> dict[str, Array]:
    """
    The values of the model's states, by name, (n, units) each, from SB3's h and c.
    """
    return {own.name: np.asarray(state[place % 2][place // 2]) for place, own in enumerate(model.states)}


def shown(question: Question) -> str:
    """
    A question as text for an error message.
    """
    parts = [_text(question.observation)]
    parts += [f"{name} {_text(value)}" for name, value in question.others.items()]
    return ", ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!a}: {_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_text, value)) + ")"
    return str(value) if value is None else show(np.asarray(value))


def show(array: Array, most: int = 16) -> str:
    """
    Values as a user would type them, the first `most` of them.
    """
    flat = array.reshape(-1)
    texts = [f"{value:.9g}" if flat.dtype.kind == "f" else str(value) for value in flat[:most].tolist()]
    more = f", ... {flat.size - most} more" if flat.size > most else ""
    return texts[0] if array.ndim == 0 else f"[{', '.join(texts)}{more}]"
