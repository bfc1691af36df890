"""
The face of cartpole.

It takes what Stable-Baselines3's `predict` takes, and gives what it gives.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from .kernels import ROOM, act_one, predict_rows

State = TypeVar("State")

SPEC: Final[dict[str, Any]] = {
    "name": "cartpole",
    "policy": "ActorCriticPolicy",
    "observation": {"kind": "Box", "shape": (4,), "dtype": "float32"},
    "action": {"kind": "Discrete", "n": 2},
    "scores": {"name": "logits", "count": 2},
    "source": {
        "file": "cartpole.zip",
        "sha256": "1d31d2ca1cdded745582c1f23f37eb9be3259f3103f4d1bbd9442903d7f25edc",
        "format": "sb3-zip",
    },
    "assumed": [],
}
"""What goes in, what comes out, and where the model comes from."""

OBSERVATION_SHAPE: Final = (4,)
FEATURES: Final = 4
"""Values in one observation."""
ACTION_SHAPE: Final = ()
ACTION_DTYPE: Final = np.dtype(np.int64)
SCORES: Final = 2
"""Values that an action is chosen from."""
FLOAT32: Final = np.dtype(np.float32)
THREADS_FROM: Final = 2232
"""Observations from which on a batch is worth more than one thread."""

MODEL_SHA256: Final = "ec47ea305833620983ac4d1af1fd993a73cc72fe492f7967d77c2ba3d4d24519"
WEIGHTS_AT: Final = 3008
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
_process: Final = os.getpid()
"""A process that is forked from this one works with one thread: to use Numba's, which are not copied, would end it."""


def predict(
    observation: Any, state: State | None = None, episode_start: Any = None, deterministic: bool = True
) -> tuple[NDArray[np.int64], State | None]:
    """
    The action for one observation, or for each of a batch, and the state as it was given.

    Args:
        observation: array-like of shape (4,), or with one dimension more in front: a batch.
            Any real dtype.
        state: returned as it is: this policy has none.
        episode_start: not used: this policy has no state.
        deterministic: must be true: this predictor does not sample.

    Returns:
        An array of shape (), for a batch of n observations (n, ...), dtype int64; and `state`.

    Raises:
        ValueError: if the observation has another shape, is not of real numbers, or holds NaN or infinity.
    """
    if not deterministic:
        raise NotImplementedError("this predictor does not sample: call it with deterministic=True")
    # One observation of float32 is all that most callers ever have: it takes the way of `act`.
    action = act_one(observation, _address)
    if action >= 0:
        return np.array(action, ACTION_DTYPE), state
    rows, single = _rows(observation)
    actions = np.empty(len(rows) * 1, ACTION_DTYPE)
    _run(rows, _no_scores, actions)
    return actions.reshape(ACTION_SHAPE if single else (len(rows), *ACTION_SHAPE)), state


def act(observation: Any) -> int:
    """
    The action for one observation of shape (4,), as an int.

    A contiguous float32 array, the usual case, is read where it is; anything else is converted first.

    Raises:
        ValueError: as `predict`.
    """
    action = act_one(observation, _address)
    if action >= 0:
        return action
    row = _one(observation)
    action = act_one(row.reshape(-1), _address)
    if action < 0:
        _refuse(row)
    return action


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
    rows, single = _rows(observation)
    result = np.empty(len(rows) * SCORES, np.float32)
    _run(rows, result, np.empty(len(rows) * 1, ACTION_DTYPE))
    return result if single else result.reshape(-1, SCORES)


def layers(observation: Any) -> dict[str, NDArray[Any]]:
    """
    The value of every layer for one observation, by its name in the checkpoint: to find where two models part.
    """
    from .inspection import layers as inspect  # compiled only when asked for

    return inspect(_one(observation).reshape(-1), _address)


def _run(rows: NDArray[np.float32], scores: NDArray[np.float32], actions: NDArray[np.int64]) -> None:
    if len(rows) >= THREADS_FROM and os.getpid() == _process and numba.get_num_threads() > 1:
        from .threads import predict_rows as predict_threaded  # compiled only when needed

        status = predict_threaded(rows, _address, scores, actions)
    else:
        status = predict_rows(rows.reshape(-1), _address, scores, actions, np.empty(ROOM, np.float32))
    if status:
        _refuse(rows)


def _rows(observation: Any) -> tuple[NDArray[np.float32], bool]:
    """
    The observations as contiguous rows of float32, and whether there is only one, without a batch dimension.
    """
    array = _real(observation)
    if array.shape == OBSERVATION_SHAPE:
        return _packed(array.reshape(1, FEATURES)), True
    if array.ndim and array.shape[1:] == OBSERVATION_SHAPE and len(array):
        return _packed(array.reshape(len(array), FEATURES)), False
    raise ValueError(
        f"observation: expected shape {OBSERVATION_SHAPE}, or (n, {', '.join(map(str, OBSERVATION_SHAPE))}) "
        f"with n of at least 1, found {array.shape}"
    )


def _one(observation: Any) -> NDArray[np.float32]:
    """
    One observation as a contiguous float32 array.
    """
    rows, single = _rows(observation)
    if not single:
        raise ValueError(f"observation: expected one, of shape {OBSERVATION_SHAPE}, found {len(rows)} in a batch")
    return rows


def _real(observation: Any) -> NDArray[Any]:
    """
    The observation as an array of real numbers.
    """
    try:
        array = np.asarray(observation)
    except (ValueError, RuntimeError) as error:  # ragged lists; tensors that want their gradients
        raise ValueError(f"observation: expected an array of shape {OBSERVATION_SHAPE}, found {error}") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"observation: expected real numbers, found dtype {array.dtype}")
    return array


def _packed(array: NDArray[Any]) -> NDArray[np.float32]:
    """
    The array as float32, contiguous and aligned, as entry points take it; copied only if it is not.
    """
    if array.dtype is not FLOAT32:
        with np.errstate(all="ignore"):  # what float32 can't hold becomes infinite, and is refused as such
            return array.astype(np.float32, order="C")
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy(order="C")


def _refuse(rows: NDArray[np.float32]) -> NoReturn:
    """
    Raises ValueError for observations that an entry point refused.
    """
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        row, place = (int(index) for index in bad[0])
        value, where = rows[row, place], tuple(map(int, np.unravel_index(place, OBSERVATION_SHAPE)))
        raise ValueError(f"observation {row} of {len(rows)}: expected finite numbers, found {value} at {where}")
    raise ValueError("the network's output is not finite for this observation: its values are too large")
