"""
A program that answers JSON lines, as what the face of a predictor calls: so it can be examined like any other.
"""

import ast
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from compiler.codegen.predictor import PredictorView
from compiler.targets import Sources, machines
from compiler.targets.buffers import buffer_of
from compiler.targets.machines import Triple

WRONG_SIZE, NOT_FINITE, OVERFLOW = -1, -2, -3
"""Statuses that the kernels have, too; -1 of the program is a request that it does not understand."""
UNREAD = 32768
"""Bytes of answers that may wait: less than a pipe holds, so that the program never waits while it is waited for."""
PATIENCE = 10
"""Seconds that the program has to end, when its input does."""

Rows = list[Any]
"""Rows of an array, one for each observation: nested lists, as JSON has them."""


def emulator_for(triple: Triple) -> list[str] | None:
    """
    What starts programs for a triple on this machine: nothing where they run by themselves; None if they can't.
    """
    here = machines.find(None)
    if (triple.name.split("-")[0], triple.system) == (here.name.split("-")[0], here.system):
        return []
    if triple.system != "linux" or here.system != "linux":
        return None
    found = shutil.which(triple.emulator) or shutil.which(f"{triple.emulator}-static")
    return [found] if found else None


@contextmanager
def bridged(command: Sequence[str], sources: Sources) -> Iterator[ModuleType]:
    """
    The module `_native` of a package whose kernels are a program: it runs as long as the module is used.

    Args:
        command: what starts the program.
        sources: what it was made of.
    """
    view = sources.policy.predictor
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        bridge = Bridge(process, view)
        module: Any = ModuleType("_native")
        module.act_one, module.predict_rows = bridge.act_one, bridge.predict_rows
        module.MODEL_SHA256, module.WEIGHTS = view.model_sha256, memoryview(sources.weights)
        try:
            yield module
        finally:
            bridge.close()


def closed(process: "subprocess.Popen[bytes]") -> None:
    """
    Ends a program, by the end of its input.
    """
    try:
        process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def exchanged(process: "subprocess.Popen[bytes]", lines: list[bytes]) -> list[Any]:
    """
    What a program answers to several lines, of which all answers together fit into a pipe.

    Raises:
        RuntimeError: it ended instead.
    """
    given, taken = process.stdin, process.stdout
    assert given is not None
    assert taken is not None
    try:
        given.write(b"".join(lines))
        given.flush()
    except BrokenPipeError:
        pass  # what it wrote before it ended is read below
    answers = [taken.readline() for _ in lines]
    if not answers[-1].endswith(b"\n"):
        raise RuntimeError(f"the program ended with status {process.wait(PATIENCE)} instead of answering")
    return [json.loads(answer) for answer in answers]


class Bridge:
    """
    The functions of a `_native` module, by way of a program.

    Args:
        process: the program, with pipes to its standard input and output.
        view: the predictor that it has.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", view: PredictorView) -> None:
        self._process, self._view = process, view
        self._shapes = [ast.literal_eval(part.shape) for part in view.parts]

    def act_one(self, *arguments: Any) -> int:
        """
        The action for one observation, or a status; see `codegen.render_face`.
        """
        count = len(self._view.arrays)
        given = [buffer_of(value, array) for value, array in zip(arguments, self._view.arrays, strict=False)]
        arrays = [array for array in given if array is not None]
        if len(arrays) < count:
            return WRONG_SIZE
        answers, status = self._ask(1, arrays, scored=False)
        if status:
            return status
        if self._view.discrete:
            return int(answers[0]["action"])
        actions, *states = arguments[count:]
        self._give(answers, actions, np.empty(0, np.float32), states)
        return 0

    def predict_rows(self, rows: int, *arguments: Any) -> int:
        """
        Fills actions, and scores if there is room for them, for all observations; a status.
        """
        count = len(self._view.arrays)
        actions, scores, *states = arguments[count:]
        answers, status = self._ask(rows, list(arguments[:count]), scored=len(scores) > 0)
        if not status:
            self._give(answers, actions, scores, states)
        return status

    def close(self) -> None:
        """
        Ends the program, by the end of its input.
        """
        closed(self._process)

    def _ask(self, rows: int, arrays: list[Any], *, scored: bool) -> tuple[list[Any], int]:
        """
        The answers for all observations, and the status of all of them together.
        """
        lines = [json.dumps(request).encode() + b"\n" for request in self._requests(rows, arrays, scored)]
        answers: list[Any] = []
        several = max(1, UNREAD // self._longest(scored))
        for first in range(0, rows, several):
            answers += exchanged(self._process, lines[first : first + several])
        statuses = [answer.get("status", 0) for answer in answers]
        if WRONG_SIZE in statuses:
            raise RuntimeError(f"the program refused a request: {answers[statuses.index(WRONG_SIZE)]['error']}")
        refused = [status for status in statuses if status]
        # What is given is looked at for all of a batch before anything is computed.
        return answers, next((status for status in refused if status != OVERFLOW), refused[0] if refused else 0)

    def _requests(self, rows: int, arrays: list[Any], scored: bool) -> Iterator[dict[str, Any]]:
        named = {view.name: np.asarray(array) for view, array in zip(self._view.arrays, arrays, strict=True)}
        parts = [
            named[part.array.name].reshape(rows, *shape).tolist()
            for part, shape in zip(self._view.parts, self._shapes, strict=True)
        ]
        for row in range(rows):
            request: dict[str, Any] = {"observation": self._observation([part[row] for part in parts])}
            if self._view.masked:
                request["action_masks"] = named["action_masks"].reshape(rows, -1)[row].tolist()
            if self._view.recurrent:
                request["episode_start"] = bool(named["episode_starts"][row])
                shape = (self._view.layers_of_state, rows, self._view.units)
                request["state"] = {key: named[key].reshape(shape)[:, row].tolist() for key in ("hidden", "cell")}
            yield request | ({"scores": True} if scored else {})

    def _observation(self, values: Rows) -> Any:
        if not self._view.dict:
            return values[0]
        return {ast.literal_eval(part.key): value for part, value in zip(self._view.parts, values, strict=True)}

    def _give(self, answers: list[Any], actions: Any, scores: Any, states: list[Any]) -> None:
        """
        Copies answers to the caller's arrays.
        """
        _fill(actions, [answer["action"] for answer in answers])
        if len(scores):
            _fill(scores, [answer["scores"] for answer in answers])
        for target, key in zip(states, ("hidden", "cell"), strict=False):
            values = np.array([answer["state"][key] for answer in answers], np.float32)
            _fill(target, values.swapaxes(0, 1))

    def _longest(self, scored: bool) -> int:
        """
        Bytes that an answer may take.
        """
        view = self._view
        memory = 2 * view.layers_of_state * view.units
        return 1024 + 32 * (view.action.count + scored * view.score.count + memory)


def _fill(target: Any, values: Any) -> None:
    array = np.asarray(memoryview(target))
    array[:] = np.asarray(values, array.dtype).reshape(-1)
