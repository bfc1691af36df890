"""
The face of pendulum.

It takes what Stable-Baselines3's `predict` takes, and gives what it gives.
"""

import hashlib
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import inputs, sampling
from .entries import act_one, predict_rows
from .kernels import NOT_FINITE, ROOM
from .threads import predict_rows as predict_threaded

State = TypeVar("State")

SPEC: Final[dict[str, Any]] = {
    "name": "pendulum",
    "policy": "SACPolicy",
    "observation": {"kind": "Box", "shape": (3,), "dtype": "float32"},
    "action": {"kind": "Box", "shape": (1,), "dtype": "float32", "low": [-2.0], "high": [2.0]},
    "scores": {"name": "mean_actions", "count": 1},
    "sampling": "gaussian",
    "source": {
        "file": "pendulum.zip",
        "sha256": "24004d680f09e5ba150217e7cbb85e8d7d1b9bac29f473febc7c7c7dd8c243f6",
        "format": "sb3-zip",
    },
    "assumed": [],
}
"""What goes in, what comes out, and where the model comes from."""

OBSERVATION_SHAPE: Final = (3,)
ACTION_SHAPE: Final = (1,)
ACTION_DTYPE: Final = np.dtype(np.float32)
SCORES: Final = 1
"""Values that an action is chosen from."""
FLOAT32: Final = np.dtype(np.float32)
THREADS_FROM: Final = 8446
"""Observations from which on a batch is worth more than one thread."""

MODEL_SHA256: Final = "b466db8b8f10ef618312617654947ab865b99fe841874f5f6210b589b6bcdd96"
WEIGHTS_AT: Final = 4352
"""Where in model.bin the weights begin."""


def _load_weights() -> NDArray[np.uint8]:
    """
    Maps model.bin, which must be the one that the kernels were written for.
    """
    path = Path(__file__).with_name("model.bin")
    try:
        content = np.memmap(path, np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise ImportError(f"{path}: can't be read, build the predictor again: {error}") from None
    found = hashlib.sha256(content.data).hexdigest()
    if found != MODEL_SHA256:
        raise ImportError(f"{path}: expected SHA-256 {MODEL_SHA256}, found {found}: build the predictor again")
    return content[WEIGHTS_AT:]


_weights = _load_weights()
_address: Final[int] = _weights.ctypes.data
_no_scores = np.empty(0, np.float32)
_bounds = (
    np.array(SPEC["action"]["low"], SPEC["action"]["dtype"]),
    np.array(SPEC["action"]["high"], SPEC["action"]["dtype"]),
)


def predict(
    observation: Any,
    state: State | None = None,
    episode_start: Any = None,
    deterministic: bool = True,
    generator: np.random.Generator | None = None,
) -> tuple[NDArray[np.float32], State | None]:
    """
    The action for one observation, or for each of a batch, and the state as it was given.

    Args:
        observation: array-like of shape (3,), any real dtype;
            for a batch with one dimension more in front.
        state: returned as it is: this policy has none.
        episode_start: not used: this policy has no state.
        deterministic: whether to give the best action, or one that is drawn.
        generator: what draws; None is one that this process has, seeded by the system.

    Returns:
        An array of shape (1,), for a batch of n observations (n, ...), dtype float32;
        and `state`.

    Raises:
        ValueError: if the observation has another shape, is not of real numbers, or holds NaN or infinity.
        TypeError: if the generator is none of NumPy's.
    """
    if not deterministic:
        arrays, single = _arrays(observation)
        drawn = _draw(arrays, generator)
        return drawn.reshape(ACTION_SHAPE if single else (len(drawn), *ACTION_SHAPE)), state
    # One observation of float32 is all that most callers ever have: it takes the way of `act`.
    actions = np.empty(1, ACTION_DTYPE)
    if not act_one(observation, _address, actions):
        return actions, state
    arrays, single = _arrays(observation)
    rows = len(arrays[0])
    actions = np.empty(rows * 1, ACTION_DTYPE)
    _run(arrays, actions, _no_scores)
    return actions.reshape(ACTION_SHAPE if single else (rows, *ACTION_SHAPE)), state


def act(observation: Any) -> NDArray[np.float32]:
    """
    The action for one observation, as an array of shape (1,).

    A contiguous float32 array, the usual case, is read where it is; anything else is converted first.

    Raises:
        ValueError: as `predict`.
    """
    action = np.empty(1, ACTION_DTYPE)
    if not act_one(observation, _address, action):
        return action
    arrays = _one(observation)
    arguments: list[Any] = [*(array.reshape(-1) for array in arrays), _address, action]
    status = act_one(*arguments)
    if status:
        _refuse(status, arrays)
    return action


def predict_into(observation: Any, out: Any) -> None:
    """
    Writes the action for one observation, or for each of a batch, where the caller wants it.

    Args:
        observation: as for `predict`.
        out: a writable, contiguous buffer of float32, 1 for each observation, of any shape.

    Raises:
        ValueError: as `predict`, and if `out` is not such a buffer. What it then holds is undefined.
        TypeError: if `out` is no buffer.
    """
    arrays, _ = _arrays(observation)
    _run(arrays, inputs.writable(out, len(arrays[0]), ACTION_DTYPE), _no_scores)


def scores(observation: Any) -> NDArray[np.float32]:
    """
    What the action is chosen from: mean_actions.

    Args:
        observation: as for `predict`.

    Returns:
        An array of shape (1,), for a batch of n observations (n, 1).

    Raises:
        ValueError: as `predict`.
    """
    arrays, single = _arrays(observation)
    rows = len(arrays[0])
    result = np.empty(rows * SCORES, np.float32)
    _run(arrays, np.empty(rows * 1, ACTION_DTYPE), result)
    return result if single else result.reshape(rows, SCORES)


def distribution(observation: Any) -> dict[str, NDArray[Any]]:
    """
    What `predict` draws from where `deterministic` is false.

    Args:
        observation: as for `predict`.

    Returns:
        A dict of these arrays; for a batch of n observations they have one dimension more in front, n.
            mean: float32 of shape (1,).
            std: float32 of shape (1,): of what is then squashed and rescaled to the bounds of actions.

    Raises:
        ValueError: as `predict`.
    """
    arrays, single = _arrays(observation)
    mean = _head(arrays)
    std = _computed(arrays, "std")
    return {"mean": mean[0], "std": std[0]} if single else {"mean": mean, "std": std}


def _draw(arrays: tuple[NDArray[Any], ...], generator: np.random.Generator | None) -> NDArray[np.float32]:
    """
    Actions for all observations, drawn, as rows.
    """
    found = _head(arrays)
    return sampling.draw(found, _computed(arrays, "std"), _bounds, generator)


def _head(arrays: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """
    The scores as rows.
    """
    rows = len(arrays[0])
    result = np.empty((rows, SCORES), np.float32)
    _run(arrays, np.empty(rows * 1, ACTION_DTYPE), result.reshape(-1))
    return result


def _computed(arrays: tuple[NDArray[Any], ...], name: str) -> NDArray[np.float32]:
    """
    What is computed besides the scores: it must be finite.
    """
    found = _extras(arrays)[name]
    if not np.isfinite(found).all():
        _refuse(0, arrays)
    return found


def layers(observation: Any) -> dict[str, NDArray[Any]]:
    """
    The value of every layer for one observation, by its name in the checkpoint: to find where two models part.
    """
    from .inspection import layers as inspect  # compiled only when asked for

    return inspect(*(array.reshape(-1) for array in _one(observation)), _address)


def _run(arrays: tuple[NDArray[Any], ...], actions: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """
    Fills actions, and scores if there is room for them.
    """
    rows = len(arrays[0])
    results = (actions, scores)
    arguments: list[Any] = [rows, *(array.reshape(-1) for array in arrays), _address, *results]
    if rows >= THREADS_FROM:
        status = predict_threaded(*arguments)
    else:
        status = predict_rows(*[0, rows, *arguments, np.empty(ROOM, np.float32)])
    if status:
        _refuse(status, arrays)


def _extras(arrays: tuple[NDArray[Any], ...]) -> dict[str, NDArray[np.float32]]:
    """
    What is computed besides actions and scores.
    """
    from .extras import extras  # compiled only when asked for

    status, named = extras(arrays, _address)
    if status:
        _refuse(status, arrays)
    return named


def _arrays(observation: Any) -> tuple[tuple[NDArray[Any], ...], bool]:
    """
    Everything that is given, as entry points take it, and whether it is for only one observation, without a batch.
    """
    array, single = inputs.box(observation, (3,), FLOAT32, "observation")
    return (array,), single


def _one(observation: Any) -> tuple[NDArray[Any], ...]:
    """
    The same for one observation.
    """
    arrays, single = _arrays(observation)
    if not single:
        raise ValueError(f"observation: expected one, of shape {OBSERVATION_SHAPE}, found {len(arrays[0])} in a batch")
    return arrays


def _refuse(status: int, arrays: tuple[NDArray[Any], ...]) -> NoReturn:
    """
    Raises ValueError for what an entry point refused.
    """
    if status == NOT_FINITE:
        labels = (("observation", (3,)),)
        for (label, shape), array in zip(labels, arrays, strict=True):
            inputs.expect_finite(label, array.reshape(len(array), *shape))
    raise ValueError("the network's output is not finite for this observation: its values are too large")
