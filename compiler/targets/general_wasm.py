"""
A WebAssembly module whose model is no policy, as the kernels of a Python package: run by wasmtime.
"""

from types import ModuleType
from typing import Any

from compiler.codegen.general_module import GeneralModuleView, ModuleArray
from compiler.targets.buffers import called
from compiler.targets.wasm_bridge import WRONG_SIZE, instance


class Bridge:
    """
    An instance of a module, as functions of flat arrays that have exactly the dtypes of the predictor.

    Args:
        data: the module.
        view: what is in it.
        weights: what its kernels read.

    Raises:
        BuildError: wasmtime is not installed.
    """

    def __init__(self, data: bytes, view: GeneralModuleView, weights: bytes | memoryview) -> None:
        self.view, self.weights = view, weights
        self.store, exports, self.memory = instance(data)
        self.run = exports["run"]
        self.places = {array.symbol: exports[array.symbol].value(self.store) for array in view.arrays}

    def module(self) -> ModuleType:
        """
        What a package imports as its module `_native`.
        """
        module: Any = ModuleType("_native")
        module.MODEL_SHA256, module.WEIGHTS = self.view.c.predictor.model_sha256, memoryview(self.weights)
        module.predict_rows = self.predict_rows
        found: ModuleType = module
        return found

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills outputs and next states for all observations; a status.
        """
        found = called(self.view.c, rows, arguments)
        if found is None:
            return WRONG_SIZE
        _, length, given = found
        buffers = [buffer.cast("B") for buffer in given]
        taken, left = [*self.view.inputs, *self.view.states], [*self.view.outputs, *self.view.states]
        for first in range(0, rows, self.view.rows):
            count = min(self.view.rows, rows - first)
            for array, buffer in zip(taken, buffers, strict=False):
                own, theirs = self._bytes(array, first, count, buffer, rows)
                self.memory[own] = buffer[theirs]
            status = int(self.run(self.store, count, *length))
            if status < 0:
                return status
            for array, buffer in zip(left, buffers[len(taken) :], strict=True):
                own, theirs = self._bytes(array, first, count, buffer, rows)
                buffer[theirs] = self.memory[own]
        return 0

    def _bytes(self, array: ModuleArray, first: int, count: int, buffer: memoryview, rows: int) -> tuple[slice, slice]:
        """
        The bytes of some rows: in memory, and in an array of all rows.
        """
        size, place = len(buffer) // rows, self.places[array.symbol]
        return slice(place, place + count * size), slice(first * size, (first + count) * size)
