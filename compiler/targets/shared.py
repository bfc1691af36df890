"""
A shared library in C, loaded into this process, as what the face of a predictor calls: so it can be examined.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.codegen.inputs import ArrayView
from compiler.codegen.native import NativeView

WRONG_SIZE = -1
"""The status of values that are not as many as they must be, or of another dtype."""
LINE = 16
"""float32 in a cache line."""
FORMATS = {"float32": "f", "float64": "d", "int64": "ql", "uint8": "B", "bool": "?"}
"""How the buffer protocol names the dtypes."""


def loaded(path: Path, view: NativeView, weights: bytes) -> ModuleType:
    """
    The module `_native` of a package whose kernels are in a library; see `codegen.render_face`.

    Args:
        path: the library, for this machine.
        view: its interface.
        weights: that are in it.
    """
    library = Library(path, view)
    module = ModuleType("_native")
    own: dict[str, Any] = {"act_one": library.act_one, "predict_rows": library.predict_rows}
    vars(module).update(own, MODEL_SHA256=library.text("model_sha256"), WEIGHTS=memoryview(weights))
    return module


class Library:
    """
    The functions of a library in C, for arrays.

    Args:
        path: the library.
        view: its interface.
        offset: how many float32 beyond a whole cache line the state begins.
    """

    def __init__(self, path: Path, view: NativeView, offset: int = 0) -> None:
        self._view, self._library = view, ctypes.CDLL(str(path))
        self._room = np.zeros(view.room, np.float32)
        memory = 2 * view.memory * view.recurrent
        space = np.zeros(memory + view.workspace + LINE + offset, np.float32)
        first = -space.ctypes.data // 4 % LINE + offset
        self._state = space[first : first + memory + view.workspace]

    def reset(self) -> None:
        """
        Begins an episode.
        """
        self._function("reset")(_address(self._state))

    def memory(self) -> NDArray[Any]:
        """
        A copy of what is remembered of the episode.
        """
        return self._state[: -self._view.workspace].copy()

    def text(self, name: str) -> str:
        """
        What a function without parameters says.
        """
        function = self._function(name)
        function.restype = ctypes.c_char_p
        said: bytes = function()
        return said.decode("ascii")

    def predict(self, given: Sequence[NDArray[Any]], action: NDArray[Any], scores: NDArray[Any] | None) -> int:
        """
        The action for one observation, with the memory that the calls before left; a status.
        """
        results = (_address(action), _address(scores))
        return int(self._function("predict_scores")(_address(self._state), *map(_address, given), *results))

    def predict_batch(
        self, count: int, given: Sequence[NDArray[Any] | None], actions: NDArray[Any], scores: NDArray[Any] | None
    ) -> int:
        """
        The actions for `count` observations; a status.
        """
        results = (_address(actions), _address(scores))
        function = self._function("predict_batch")
        return int(function(_address(self._room), ctypes.c_size_t(count), *map(_address, given), *results))

    def act_one(self, *arguments: Any) -> int:
        """
        The action for one observation, or a status, of a policy with one choice; else a status.
        """
        arrays, results = self._split(arguments)
        given = [_row(value, array) for value, array in zip(arrays, self._view.predictor.arrays, strict=True)]
        if any(array is None for array in given):
            return WRONG_SIZE
        if results:
            return self.predict_rows(1, *given, results[0], np.empty(0, np.float32), *results[1:])
        action = np.empty(1, np.int64)
        return self.predict_rows(1, *given, action, np.empty(0, np.float32)) or int(action[0])

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills actions, and scores if there is room for them, for all observations; a status.
        """
        arrays, results = self._split(arguments)
        given, (actions, scores, *after) = list(map(np.asarray, arrays)), map(np.asarray, results)
        if self._view.recurrent:
            return self._remember(rows, given, actions, scores, after)
        return self.predict_batch(rows, given, actions, scores if len(scores) else None)

    def _remember(
        self,
        rows: int,
        given: list[NDArray[Any]],
        actions: NDArray[Any],
        scores: NDArray[Any],
        after: list[NDArray[Any]],
    ) -> int:
        """
        The same where each observation has a memory of its own, before and after.
        """
        if rows == 0:
            return 0
        *parts, starts, hidden, cell = given
        predictor, size = self._view.predictor, self._view.memory
        shape = (predictor.layers_of_state, rows, predictor.units)
        before, behind = (np.stack([part.reshape(shape) for part in memory]) for memory in ((hidden, cell), after))
        scored = len(scores) > 0
        for row in range(rows):
            self._state[: 2 * size] = before[:, :, row].ravel()
            if starts[row]:
                self.reset()
            one = [part.reshape(rows, -1)[row] for part in parts]
            into = (actions.reshape(rows, -1)[row], scores.reshape(rows, -1)[row] if scored else None)
            if status := self.predict(one, *into):
                return status
            behind[:, :, row] = self._state[: 2 * size].reshape(behind[:, :, row].shape)
        for target, values in zip(after, behind, strict=True):
            target[:] = values.ravel()
        return 0

    def _split(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        count = len(self._view.predictor.arrays)
        return arguments[:count], arguments[count:]

    def _function(self, name: str) -> Any:
        return self._library[f"{self._view.name}_{name}"]


def _address(array: NDArray[Any] | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def _row(value: Any, array: ArrayView) -> NDArray[Any] | None:
    """
    A buffer of exactly the values that an array has for one observation, or None.
    """
    try:
        buffer = memoryview(value)
    except TypeError:
        return None
    fits = buffer.ndim == 1 and buffer.c_contiguous and buffer.format in list(FORMATS[array.dtype])
    return np.asarray(buffer) if fits and len(buffer) == array.total else None
