"""
A shared library in C whose model is no policy, loaded into this process, as what the face of a predictor calls.
"""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.codegen.general_native import CArray, GeneralNativeView
from compiler.targets.buffers import called
from compiler.targets.shared import WRONG_SIZE, Functions, address_of

TYPES: Mapping[str, Any] = {"float32": ctypes.c_float, "int64": ctypes.c_int64, "bool": ctypes.c_uint8}


def loaded(path: Path, view: GeneralNativeView, weights: bytes | memoryview) -> ModuleType:
    """
    The module `_native` of a package whose kernels are in a library; see `codegen.render_general_face`.

    Args:
        path: the library, for this machine.
        view: its interface.
        weights: that are in it.
    """
    library = Library(path, view)
    module = ModuleType("_native")
    own: dict[str, Any] = {"predict_rows": library.predict_rows, "WEIGHTS": memoryview(weights)}
    vars(module).update(own, MODEL_SHA256=library.text("model_sha256"))
    return module


class Library(Functions):
    """
    The functions of such a library, for arrays.

    Args:
        path: the library.
        view: its interface.
    """

    def __init__(self, path: Path, view: GeneralNativeView) -> None:
        super().__init__(path, view.name)
        self.view = view
        members = [(array.name, TYPES[array.dtype] * array.count) for array in view.states]
        struct = type("State", (ctypes.Structure,), {"_fields_": [*members, ("room", ctypes.c_float * view.workspace)]})
        self._state: Any = struct()
        self._room = np.zeros(view.room, np.float32)
        self.reset()

    def reset(self) -> None:
        """
        Begins anew.
        """
        self.function("reset")(ctypes.byref(self._state))

    def state(self, array: CArray) -> NDArray[Any]:
        """
        What the step before has left: the memory itself.
        """
        dtype = "uint8" if array.dtype == "bool" else array.dtype
        return np.frombuffer(getattr(self._state, array.name), dtype)

    def predict(self, given: Sequence[NDArray[Any]], results: Sequence[NDArray[Any]], *length: int) -> int:
        """
        The outputs for one observation, with the state that the calls before left; a status.
        """
        numbers, arrays = map(ctypes.c_size_t, length), map(address_of, [*given, *results])
        return int(self.function("predict")(ctypes.byref(self._state), *numbers, *arrays))

    def predict_batch(
        self, count: int, given: Sequence[NDArray[Any]], results: Sequence[NDArray[Any]], *length: int
    ) -> int:
        """
        The outputs for `count` observations; a status.
        """
        numbers, arrays = map(ctypes.c_size_t, (count, *length)), map(address_of, [*given, *results])
        return int(self.function("predict_batch")(address_of(self._room), *numbers, *arrays))

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills outputs and next states for all observations; a status.
        """
        found = called(self.view, rows, arguments)
        if found is None:
            return WRONG_SIZE
        _, length, buffers = found
        arrays = [np.asarray(buffer) for buffer in buffers]
        inputs, outputs, states = len(self.view.inputs), len(self.view.outputs), len(self.view.states)
        given, before = arrays[:inputs], arrays[inputs : inputs + states]
        results, after = arrays[inputs + states :][:outputs], arrays[inputs + states + outputs :]
        if self.view.batches and rows != 1:
            return self.predict_batch(rows, given, results, *length)
        for array, values in zip(self.view.states, before, strict=True):
            self.state(array)[:] = values
        status = self.predict(given, results, *length)
        for array, values in zip(self.view.states, after, strict=True):
            values[:] = self.state(array)
        return status
