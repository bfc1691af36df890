"""
The face of cartpole.

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
    "name": "cartpole",
    "policy": "ActorCriticPolicy",
    "observation": {"kind": "Box", "shape": (4,), "dtype": "float32"},
    "action": {"kind": "Discrete", "n": 2},
    "scores": {"name": "logits", "count": 2},
    "sampling": "categorical",
    "source": {
        "file": "cartpole.zip",
        "sha256": "1d31d2ca1cdded745582c1f23f37eb9be3259f3103f4d1bbd9442903d7f25edc",
        "format": "sb3-zip",
    },
    "assumed": [],
}
"""What goes in, what comes out, and where the model comes from."""

OBSERVATION_SHAPE: Final = (4,)
ACTION_SHAPE: Final = ()
ACTION_DTYPE: Final = np.dtype(np.int64)
SCORES: Final = 2
"""Values that an action is chosen from."""
FLOAT32: Final = np.dtype(np.float32)
THREADS_FROM: Final = 2234
"""Observations from which on a batch is worth more than one thread."""

MODEL_SHA256: Final = "24cec7adbd72c43b3429a6b79f6b09113bca37a8339cca680d727e23b8da1be1"
WEIGHTS_AT: Final = 3136
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


def predict(
    observation: Any,
    state: State | None = None,
    episode_start: Any = None,
    deterministic: bool = True,
    generator: np.random.Generator | None = None,
) -> tuple[NDArray[np.int64], State | None]:
    """
    The action for one observation, or for each of a batch, and the state as it was given.

    Args:
        observation: array-like of shape (4,), any real dtype;
            for a batch with one dimension more in front.
        state: returned as it is: this policy has none.
        episode_start: not used: this policy has no state.
        deterministic: whether to give the best action, or one that is drawn.
        generator: what draws; None is one that this process has, seeded by the system.

    Returns:
        An array of shape (), for a batch of n observations (n, ...), dtype int64;
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
    action = act_one(observation, _address)
    if action >= 0:
        return np.array(action, ACTION_DTYPE), state
    arrays, single = _arrays(observation)
    rows = len(arrays[0])
    actions = np.empty(rows * 1, ACTION_DTYPE)
    _run(arrays, actions, _no_scores)
    return actions.reshape(ACTION_SHAPE if single else (rows, *ACTION_SHAPE)), state


def act(observation: Any) -> int:
    """
    The action for one observation, as an int.

    A contiguous float32 array, the usual case, is read where it is; anything else is converted first.

    Raises:
        ValueError: as `predict`.
    """
    action = act_one(observation, _address)
    if action >= 0:
        return action
    arrays = _one(observation)
    arguments: list[Any] = [*(array.reshape(-1) for array in arrays), _address]
    action = act_one(*arguments)
    if action < 0:
        _refuse(action, arrays)
    return action


def predict_into(observation: Any, out: Any) -> None:
    """
    Writes the action for one observation, or for each of a batch, where the caller wants it.

    Args:
        observation: as for `predict`.
        out: a writable, contiguous buffer of int64, 1 for each observation, of any shape.

    Raises:
        ValueError: as `predict`, and if `out` is not such a buffer. What it then holds is undefined.
        TypeError: if `out` is no buffer.
    """
    arrays, _ = _arrays(observation)
    _run(arrays, inputs.writable(out, len(arrays[0]), ACTION_DTYPE), _no_scores)


def scores(observation: Any) -> NDArray[np.float32]:
    """
    What the action is chosen from: logits.

    Args:
        observation: as for `predict`.

    Returns:
        An array of shape (2,), for a batch of n observations (n, 2).

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
            probabilities: float64 of shape (2,): of the 2 values.

    Raises:
        ValueError: as `predict`.
    """
    arrays, single = _arrays(observation)
    found = sampling.probabilities(_head(arrays))
    return {"probabilities": found[0] if single else found}


def action_probabilities(observation: Any) -> NDArray[np.float64]:
    """
    The probabilities of the 2 values.

    Args:
        observation: as for `predict`.

    Returns:
        An array of shape (2,), for a batch of n observations (n, 2).

    Raises:
        ValueError: as `predict`.
    """
    return distribution(observation)["probabilities"]


def _draw(arrays: tuple[NDArray[Any], ...], generator: np.random.Generator | None) -> NDArray[np.int64]:
    """
    Actions for all observations, drawn, as rows.
    """
    found = _head(arrays)
    return sampling.draw(sampling.probabilities(found), generator)


def _head(arrays: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    """
    The scores as rows.
    """
    rows = len(arrays[0])
    result = np.empty((rows, SCORES), np.float32)
    _run(arrays, np.empty(rows * 1, ACTION_DTYPE), result.reshape(-1))
    return result


def layers(observation: Any) -> dict[str, NDArray[Any]]:
    """
    The value of every layer for one observation, by its name in the checkpoint: to find where two models part.
    """
    from .inspection import layers as inspect  # compiled only when asked for

    return inspect(*(array.reshape(-1) for array in _one(observation)), _address)


def _run(arrays: tuple[NDArray[Any], ...], actions: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
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


def _arrays(observation: Any) -> tuple[tuple[NDArray[Any], ...], bool]:
    """
    Everything that is given, as entry points take it, and whether it is for only one observation, without a batch.
    """
    array, single = inputs.box(observation, (4,), FLOAT32, "observation")
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
        labels = (("observation", (4,)),)
        for (label, shape), array in zip(labels, arrays, strict=True):
            inputs.expect_finite(label, array.reshape(len(array), *shape))
    raise ValueError("the network's output is not finite for this observation: its values are too large")
