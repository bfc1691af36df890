"""
A program that answers JSON lines and whose model is no policy, as what the face of a predictor calls.
"""

import ast
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.codegen.general_native import GeneralNativeView
from compiler.targets.bridge import UNREAD, WRONG_SIZE, closed, exchanged
from compiler.targets.buffers import called

NUMBER = 40
"""Bytes that a number in an answer may take."""


@contextmanager
def bridged(command: Sequence[str], view: GeneralNativeView, weights: bytes | memoryview) -> Iterator[ModuleType]:
    """
    The module `_native` of a package whose kernels are a program: it runs as long as the module is used.

    Args:
        command: what starts the program.
        view: its interface.
        weights: that are in it.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        module: Any = ModuleType("_native")
        module.predict_rows = Bridge(process, view).predict_rows
        module.MODEL_SHA256, module.WEIGHTS = view.predictor.model_sha256, memoryview(weights)
        try:
            yield module
        finally:
            closed(process)


class Bridge:
    """
    The functions of a `_native` module, by way of a program.

    Args:
        process: the program, with pipes to its standard input and output.
        view: its interface.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", view: GeneralNativeView) -> None:
        self._process, self._view = process, view
        self._labels = {array.name: ast.literal_eval(array.array.label) for array in [*view.taken, *view.outputs]}

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills outputs and next states for all observations; a status.
        """
        asked = called(self._view, rows, arguments)
        if asked is None:
            return WRONG_SIZE
        view, _, buffers = asked
        arrays = [np.asarray(buffer).reshape(rows, -1) for buffer in buffers]
        given, results = arrays[: len(view.taken)], arrays[len(view.taken) :]
        lines = [json.dumps(self._request(view, given, row)).encode() + b"\n" for row in range(rows)]
        several = max(1, UNREAD // (NUMBER * sum(array.count for array in view.left) + NUMBER))
        for first in range(0, rows, several):
            answers = exchanged(self._process, lines[first : first + several])
            for row, answer in enumerate(answers, first):
                if "status" in answer:
                    return self._refused(answer)
                self._give(answer, [array[row] for array in results])
        return 0

    def _request(self, view: GeneralNativeView, given: list[NDArray[Any]], row: int) -> dict[str, Any]:
        count = len(view.inputs)
        values = [array[row].reshape(own.shape).tolist() for array, own in zip(given, view.taken, strict=True)]
        named = [(self._labels[own.name], value) for own, value in zip(view.taken, values, strict=True)]
        state = {"state": dict(named[count:])} if view.states else {}
        return {"inputs": dict(named[:count])} | state

    def _give(self, answer: dict[str, Any], results: list[NDArray[Any]]) -> None:
        view = self._view
        found = [answer["outputs"][self._labels[array.name]] for array in view.outputs]
        found += [answer["state"][self._labels[array.name]] for array in view.states]
        for target, values in zip(results, found, strict=True):
            target[:] = np.asarray(values, target.dtype).reshape(-1)

    @staticmethod
    def _refused(answer: dict[str, Any]) -> int:
        status = int(answer["status"])
        if status == WRONG_SIZE:
            raise RuntimeError(f"the program refused a request: {answer['error']}")
        return status
