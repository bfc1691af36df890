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

from compiler.codegen.native import NativeView
from compiler.targets.buffers import buffer_of

WRONG_SIZE, OVERFLOW = -1, -3
"""The statuses of values that are not as many as they must be, or of another dtype; and of too large ones."""
LINE = 16
"""float32 in a cache line."""


def loaded(path: Path, view: NativeView, weights: bytes | memoryview) -> ModuleType:
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


class Functions:
    """
    The functions of a library in C, by what comes after the predictor's name in theirs.

    Args:
        path: the library.
        name: the predictor's.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name, self._library = name, ctypes.CDLL(str(path))

    def function(self, name: str) -> Any:
        """
        One that returns an int.
        """
        return self._library[f"{self._name}_{name}"]

    def text(self, name: str) -> str:
        """
        What one without parameters says.
        """
        function = self.function(name)
        function.restype = ctypes.c_char_p
        said: bytes = function()
        return said.decode("ascii")


class Library(Functions):
    """
    The functions of a policy's library, for arrays.

    Args:
        path: the library.
        view: its interface.
        offset: how many float32 beyond a whole cache line the state begins.
    """

    def __init__(self, path: Path, view: NativeView, offset: int = 0) -> None:
        super().__init__(path, view.name)
        self._view = view
        self._room = np.zeros(view.room, np.float32)
        memory = 2 * view.memory * view.recurrent
        space = np.zeros(memory + view.workspace + LINE + offset, np.float32)
        first = -space.ctypes.data // 4 % LINE + offset
        self._state = space[first : first + memory + view.workspace]

    def reset(self) -> None:
        """
        Begins an episode.
        """
        self.function("reset")(address_of(self._state))

    def memory(self) -> NDArray[Any]:
        """
        A copy of what is remembered of the episode.
        """
        return self._state[: -self._view.workspace].copy()

    def predict(self, given: Sequence[NDArray[Any] | None], action: NDArray[Any], scores: NDArray[Any] | None) -> int:
        """
        The action for one observation, with the memory that the calls before left; a status.
        """
        results = (address_of(action), address_of(scores))
        return int(self.function("predict_scores")(address_of(self._state), *map(address_of, given), *results))

    def predict_batch(
        self, count: int, given: Sequence[NDArray[Any] | None], actions: NDArray[Any], scores: NDArray[Any] | None
    ) -> int:
        """
        The actions for `count` observations; a status.
        """
        results = (address_of(actions), address_of(scores))
        function = self.function("predict_batch")
        return int(function(address_of(self._room), ctypes.c_size_t(count), *map(address_of, given), *results))

    def act_one(self, *arguments: Any) -> int:
        """
        The action for one observation, or a status, of a policy with one choice; else a status.
        """
        arrays, results = self._split(arguments)
        buffers = [buffer_of(value, array) for value, array in zip(arrays, self._view.predictor.arrays, strict=True)]
        given = [np.asarray(buffer) for buffer in buffers if buffer is not None]
        if len(given) < len(buffers):
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
        into = (actions, scores if len(scores) else None)
        if self._view.batches or rows == 0:
            return self.predict_batch(rows, given, *into) if rows else 0
        return self._one_by_one(rows, given, into, after)

    def _one_by_one(
        self,
        rows: int,
        given: list[NDArray[Any]],
        into: tuple[NDArray[Any], NDArray[Any] | None],
        after: list[NDArray[Any]],
    ) -> int:
        """
        The same where each observation has a memory of its own, before and after, or the library takes no batches.
        """
        parts = given[: len(self._view.given)]
        starts, *memory = given[len(parts) :] or [np.zeros(rows)]
        statuses = []
        for row in range(rows):
            self._recall(row, memory, begins=bool(starts[row]))
            one = [part.reshape(rows, -1)[row] for part in parts]
            action, scores = (None if part is None else part.reshape(rows, -1)[row] for part in into)
            assert action is not None
            statuses.append(self.predict(one, action, scores))
            self._keep(row, after)
        refused = [status for status in statuses if status]
        # What is given is looked at for all of a batch before anything is computed.
        return next((status for status in refused if status != OVERFLOW), refused[0] if refused else 0)

    def _recall(self, row: int, memory: list[NDArray[Any]], *, begins: bool) -> None:
        """
        Puts what is remembered of one of several episodes into the state.
        """
        own = np.concatenate([self._layers(part)[:, row].ravel() for part in memory] or [np.empty(0, np.float32)])
        self._state[: len(own)] = own
        if begins:
            self.reset()

    def _keep(self, row: int, memory: list[NDArray[Any]]) -> None:
        """
        Takes it from there.
        """
        for at, part in enumerate(memory):
            layers = self._layers(part)
            first = at * self._view.memory
            layers[:, row] = self._state[first : first + self._view.memory].reshape(layers[:, row].shape)

    def _layers(self, memory: NDArray[Any]) -> NDArray[Any]:
        predictor = self._view.predictor
        return memory.reshape(predictor.layers_of_state, -1, predictor.units)

    def _split(self, arguments: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        count = len(self._view.predictor.arrays)
        return arguments[:count], arguments[count:]


def address_of(array: NDArray[Any] | None) -> ctypes.c_void_p:
    """
    What C gets of an array; NULL where there is none.
    """
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
