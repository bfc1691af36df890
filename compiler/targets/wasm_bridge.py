"""
A WebAssembly module as the kernels of a Python package, so that it can be compared with its source: run by wasmtime.
"""

import ctypes
import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from compiler.codegen.inputs import ArrayView
from compiler.codegen.module import ModuleView
from compiler.codegen.predictor import PredictorView
from compiler.errors import BuildError
from compiler.targets.buffers import buffer_of

WRONG_SIZE = -1


def available() -> bool:
    """
    Whether there is something that can run a module.
    """
    return importlib.util.find_spec("wasmtime") is not None


def instance(data: bytes) -> tuple[Any, Any, memoryview]:
    """
    A store with an instance of a module, what that exports, and its memory.

    Raises:
        BuildError: wasmtime is not installed.
    """
    if not available():
        raise BuildError(
            "wasmtime",
            "is not installed; it runs what was made, to compare it with its source: pip install 'policyc[wasm]'",
        )
    wasmtime: Any = importlib.import_module("wasmtime")
    store = wasmtime.Store(wasmtime.Engine())
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, data), []).exports(store)
    memory = exports["memory"]
    base = ctypes.cast(memory.data_ptr(store), ctypes.c_void_p).value or 0
    return store, exports, memoryview((ctypes.c_ubyte * memory.data_len(store)).from_address(base)).cast("B")


class Bridge:
    """
    An instance of a module, as functions of flat arrays that have exactly the dtypes of the predictor.

    Args:
        data: the module.
        view: what is in it.
        weights: what its kernels read.
        face: the predictor that the package was generated for, if not that of the module: its workspace has another
            layout where its registers have another width.

    Raises:
        BuildError: wasmtime is not installed.
    """

    def __init__(
        self, data: bytes, view: ModuleView, weights: bytes | memoryview, face: PredictorView | None = None
    ) -> None:
        self.store, exports, self.memory = instance(data)
        self.act, self.rows = exports["act"], exports["rows"]
        predictor = view.predictor
        self.predictor, self.face, self.most, self.weights = predictor, face or predictor, view.rows, weights
        states = [a for a in predictor.arrays if a.name in ("hidden", "cell")]
        results = [predictor.action, predictor.score]
        self.arrays: Sequence[ArrayView] = predictor.arrays
        self.results = [ArrayView(r.array, r.dtype, r.count) for r in results] + states
        names = ["room", *(array.name for array in [*self.arrays, *self.results])]
        self.places: dict[str, int] = {name: exports[name].value(self.store) for name in names}

    def module(self) -> ModuleType:
        """
        What a package imports as its module `_native`.
        """
        module: Any = ModuleType("_native")
        module.MODEL_SHA256, module.WEIGHTS = self.predictor.model_sha256, self.weights
        module.act_one, module.predict_rows, module.fill_layers = self.act_one, self.predict_rows, self.fill_layers
        found: ModuleType = module
        return found

    def act_one(self, *arguments: Any) -> int:
        """
        The action for one observation, of a policy whose actions are Discrete and that has no state; else 0.

        Args:
            arguments: the predictor's arrays; for all other policies those that take the action and the next state.

        Returns:
            The action, or 0; below 0, why there is none.
        """
        wanted = [*self.arrays, *([] if self.predictor.discrete else [self.results[0], *self.results[2:]])]
        buffers = [_bytes(given, array, 1) for given, array in zip(arguments, wanted, strict=True)]
        if any(buffer is None for buffer in buffers):
            return WRONG_SIZE
        given, taken = buffers[: len(self.arrays)], buffers[len(self.arrays) :]
        self._put(given, 0, 1, 1)
        status = int(self.act(self.store, 0))
        if status >= 0:
            self._take(zip(wanted[len(given) :], taken, strict=True), 0, 1, 1)
        return status

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills actions, scores if there is room for them, and next states, for a batch; 0, or why there are none.
        """
        given = [_bytes(array, view, rows) for array, view in zip(arguments, self.arrays, strict=False)]
        others = arguments[len(given) :]
        scored = len(memoryview(others[1])) > 0
        wanted = [view for view in self.results if scored or view.name != "scores"]
        others = others if scored else (others[0], *others[2:])
        taken = [_bytes(array, view, rows) for array, view in zip(others, wanted, strict=True)]
        if any(buffer is None for buffer in (*given, *taken)):
            return WRONG_SIZE
        for first in range(0, rows, self.most):
            count = min(self.most, rows - first)
            self._put(given, first, count, rows)
            status = int(self.rows(self.store, count, int(scored)))
            if status < 0:
                return status
            self._take(zip(wanted, taken, strict=True), first, count, rows)
        return 0

    def fill_layers(self, *arguments: Any) -> int:
        """
        Fills a workspace with what every layer computes for one observation, as the face's predictor lays it out; 0.
        """
        *arrays, work = arguments
        self._put([_bytes(given, view, 1) for given, view in zip(arrays, self.arrays, strict=True)], 0, 1, 1)
        self.act(self.store, 1)
        target, room = memoryview(work).cast("B"), self.places["room"]
        for own, other in zip(self.predictor.values, self.face.values, strict=True):
            size = own.count * (8 if own.dtype == "float64" else 4)
            first = room + 4 * own.offset
            target[4 * other.offset : 4 * other.offset + size] = self.memory[first : first + size]
        return 0

    def _put(self, given: Sequence[Any], first: int, count: int, rows: int) -> None:
        """
        Writes some of the rows of what is given; of states, of each layer.
        """
        for array, buffer in zip(self.arrays, given, strict=True):
            for theirs, own in self._pieces(array, first, count, rows):
                self.memory[own] = buffer[theirs]

    def _take(self, results: Any, first: int, count: int, rows: int) -> None:
        """
        Reads some of the rows of results.
        """
        for array, buffer in results:
            for theirs, own in self._pieces(array, first, count, rows):
                buffer[theirs] = self.memory[own]

    def _pieces(self, array: ArrayView, first: int, count: int, rows: int) -> list[tuple[slice, slice]]:
        """
        The bytes of some rows: in an array of all rows, and in memory.
        """
        size, place = array.count * _width(array), self.places[array.name]
        pieces = []
        for layer in range(array.layers):
            theirs, own = (layer * rows + first) * size, place + layer * count * size
            pieces.append((slice(theirs, theirs + count * size), slice(own, own + count * size)))
        return pieces


def _width(array: ArrayView) -> int:
    return {"float64": 8, "int64": 8, "float32": 4}.get(array.dtype, 1)


def _bytes(given: Any, array: ArrayView, rows: int) -> memoryview | None:
    """
    The bytes of an array that has the values of so many observations; None if it has others.
    """
    buffer = buffer_of(given, array, rows)
    return None if buffer is None else buffer.cast("B")
