"""
A predictor of any policy in plain NumPy, with the whole face of a generated one: what verification is tested with.

A test breaks it by overriding one of its methods.
"""

from typing import Any

import numpy as np

from compiler.ir import ACTION_MASKS, EPISODE_STARTS, Box, Dict, Discrete, Model, MultiBinary, MultiDiscrete, Space
from compiler.ops.reference import evaluate


class NumpyPredictor:
    """
    Answers by the reference of the ops, rounded to float32.
    """

    def __init__(self, model: Model, *, refuse: bool = True) -> None:
        assert model.policy is not None
        self.model, self.policy, self.refuse = model, model.policy, refuse
        self.SPEC: dict[str, Any] = {"name": "numpy"}

    def tensor(self, role: str) -> str:
        """
        The tensor of the output with this role.
        """
        output = self.model.output(role)
        assert output is not None
        return output.tensor

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        *,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        values, single = self.compute(observation, state, episode_start, action_masks)
        name = self.tensor("action")
        with np.errstate(all="ignore"):
            action = values[name].astype(self.model.tensors[name].dtype.numpy)
        action = action.reshape(len(action), *shape_of(self.policy.action_space))
        return (np.asarray(action[0]) if single else action), self.next_state(values)

    def next_state(self, values: dict[str, np.ndarray]) -> Any:
        layers = [values[state.output].astype(np.float32) for state in self.model.states]
        return (np.stack(layers[0::2]), np.stack(layers[1::2])) if layers else None

    def act(self, observation: Any, state: Any = None, episode_start: bool = False, **masks: Any) -> Any:
        action, after = self.predict(observation, state, np.array([episode_start]), **masks)
        answer = int(action) if isinstance(self.policy.action_space, Discrete) else action
        return (answer, after) if self.model.states else answer

    def Episode(self) -> "Episode":  # noqa: N802 (the name of the class in a generated package)
        return Episode(self)

    def scores(self, observation: Any, state: Any = None, episode_start: Any = None) -> Any:
        return self.named("scores", observation, state, episode_start)

    def value(self, observation: Any, state: Any = None, episode_start: Any = None) -> Any:
        return self.named("value", observation, state, episode_start)[..., 0]

    def named(self, role: str, observation: Any, state: Any, episode_start: Any) -> Any:
        values, single = self.compute(observation, state, episode_start, None)
        with np.errstate(all="ignore"):
            result = values[self.tensor(role)].astype(np.float32)
        return result[0] if single else result

    def layers(self, observation: Any, state: Any = None, episode_start: Any = None, action_masks: Any = None) -> Any:
        return self.compute(observation, state, episode_start, action_masks)[0]

    def compute(
        self, observation: Any, state: Any, episode_start: Any, masks: Any
    ) -> tuple[dict[str, np.ndarray], bool]:
        """
        Every tensor, and whether one observation was given alone.
        """
        parts, single = self.parts(observation)
        count = len(next(iter(parts.values())))
        inputs = dict(parts)
        if ACTION_MASKS in self.model.inputs:
            shape = (count, self.model.tensors[ACTION_MASKS].elements)
            inputs[ACTION_MASKS] = np.ones(shape, bool) if masks is None else np.asarray(masks, bool).reshape(shape)
        for place, own in enumerate(self.model.states):
            shape = (count, self.model.tensors[own.input].elements)
            inputs[own.input] = np.zeros(shape) if state is None else np.asarray(state[place % 2][place // 2])
            if self.refuse and not np.isfinite(inputs[own.input]).all():
                raise ValueError("the state is not finite")
        if self.model.states:
            starts = np.zeros(count, np.float32) if episode_start is None else np.asarray(episode_start, np.float32)
            inputs[EPISODE_STARTS] = starts
        return self.evaluate(inputs), single

    def evaluate(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return evaluate(self.model, inputs)

    def parts(self, observation: Any) -> tuple[dict[str, np.ndarray], bool]:
        """
        The observation as the model's inputs, and whether it is one alone.
        """
        found: dict[str, np.ndarray] = {}
        single = False
        for name, space in self.policy.parts:
            given = (
                observation[name.partition(".")[2]] if isinstance(self.policy.observation_space, Dict) else observation
            )
            with np.errstate(all="ignore"):
                array = np.asarray(given).astype(self.model.tensors[name].dtype.numpy)
            single = array.shape == shape_of(space)
            if not single and array.shape[1:] != shape_of(space):
                raise ValueError(f"{name}: expected {shape_of(space)}, found {array.shape}")
            self.check(space, array)
            found[name] = array[None] if single else array
        return found, single

    def check(self, space: Space, array: np.ndarray) -> None:
        match space:
            case Discrete(n=n):
                good = bool(((array >= 0) & (array < n)).all())
            case MultiDiscrete(nvec=nvec):
                good = bool(((array >= 0) & (array < np.array(nvec))).all())
            case _:
                good = not self.refuse or bool(np.isfinite(array).all())
        if not good:
            raise ValueError("the observation is not of the space")


class Episode:
    """
    Keeps the state between the steps of one episode.
    """

    def __init__(self, predictor: NumpyPredictor) -> None:
        self.predictor = predictor
        self.state: Any = None

    def act(self, observation: Any) -> Any:
        action, self.state = self.predictor.act(observation, self.state)
        return action

    def reset(self) -> None:
        self.state = None


def shape_of(space: Space) -> tuple[int, ...]:
    match space:
        case Box() | MultiBinary():
            return space.shape
        case MultiDiscrete(nvec=nvec):
            return (len(nvec),)
        case _:
            return ()
