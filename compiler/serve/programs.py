"""
A PyTorch program behind HTTP: named arrays in, named arrays out, and the state between two steps where it has one.
"""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import BYTES, Answer, RequestError, json_answer
from compiler.serve.requests import ABSENT, Absent, array, input_type, parse
from compiler.serve.sessions import Memory, Sessions, recall, remember


@dataclass(slots=True)
class Question:
    """
    What a request asks: arrays in the order of the inputs, and the state with the place where it is kept.
    """

    arrays: list[NDArray[Any]]
    memory: Memory | None = None
    details: bool = False


Results = tuple[dict[str, NDArray[Any]], Any, float]
"""Outputs by their names, the next state, microseconds in the predictor."""


class Program:
    """
    A package that was made from a program: its `predict` takes arrays and gives arrays.

    Args:
        package: the imported package.
        spec: its SPEC.
        sha256: of its model file.
        sessions: where states are kept.
    """

    def __init__(self, package: ModuleType, spec: dict[str, Any], sha256: str, sessions: Sessions) -> None:
        self.package, self.spec, self.sha256, self.sessions = package, spec, sha256, sessions
        self.count: Callable[[int], None] = lambda rows: None
        self.recurrent = "states" in spec
        self.batched = spec["inputs"][0]["shape"][:1] == ("batch",)
        self.inputs = {array["name"]: array for array in spec["inputs"]}
        self.outputs = [array["name"] for array in spec["outputs"]]
        self.request_type = self._request_type()
        self.decoder = msgspec.json.Decoder(self.request_type)

    def _request_type(self) -> Any:
        # Names of inputs may be keywords of Python: they go by a number inside.
        parts, names = [], {}
        for number, (name, given) in enumerate(self.inputs.items()):
            dimensions = len(given["shape"]) - self.batched
            parts.append((f"input_{number}", input_type(given["dtype"], dimensions, self.batched)))
            names[f"input_{number}"] = name
        inputs = msgspec.defstruct("Inputs", parts, forbid_unknown_fields=True, rename=names)
        fields: list[Any] = [("inputs", inputs), ("details", bool, False)]
        if self.recurrent:
            fields += [("state", str | Absent, ABSENT), ("session", str | Absent, ABSENT)]
        return msgspec.defstruct("Predict", fields, forbid_unknown_fields=True, kw_only=True)

    def answer(self, body: bytes) -> Answer:
        """
        The answer for a body of JSON.

        Raises:
            RequestError: as `requests.parse`; 422 for what the predictor refuses.
        """
        question = self.question(body)
        return self.result(question, self.compute(question))

    def question(self, body: bytes) -> Question:
        """
        What a body of JSON asks.
        """
        request = parse(self.decoder, body)
        named = zip(self.inputs.values(), msgspec.structs.astuple(request.inputs), strict=True)
        arrays = [_array(given, value) for given, value in named]
        if not self.recurrent:
            return Question(arrays, None, request.details)
        shapes = tuple(tuple(state["shape"]) for state in self.spec["states"])
        return Question(arrays, recall(request, self.sha256, shapes, self.sessions), request.details)

    def result(self, question: Question, results: Results) -> Answer:
        """
        What was computed, as JSON.

        Raises:
            RequestError: 409 and 503, if a session's state can't be kept.
        """
        outputs, after, microseconds = results
        content: dict[str, Any] = {"outputs": {name: found.tolist() for name, found in outputs.items()}}
        if question.memory:
            content |= remember(question.memory, self.sha256, after, self.sessions)
        return json_answer(content | ({"microseconds": microseconds} if question.details else {}))

    def compute(self, question: Question) -> Results:
        """
        The outputs by their names, the next state (None for a model without), and the time that it took.

        Raises:
            RequestError: 422, for what the predictor refuses.
        """
        state = {"state": question.memory.arrays if question.memory else None} if self.recurrent else {}
        begin = time.perf_counter_ns()
        try:
            found = self.package.predict(*question.arrays, **state)
        except (ValueError, TypeError) as error:
            name = str(error).partition(":")[0]
            raise RequestError(422, str(error), f"$.inputs.{name}" if name in self.inputs else "$.inputs") from None
        spent = (time.perf_counter_ns() - begin) / 1e3
        self.count(self._rows(question.arrays))
        outputs, after = found if self.recurrent else (found, None)
        parts = outputs if len(self.outputs) > 1 else (outputs,)
        return dict(zip(self.outputs, map(np.asarray, parts), strict=True)), after, spent

    def _rows(self, arrays: list[NDArray[Any]]) -> int:
        """
        How many observations there are in the arrays of all inputs.
        """
        return len(arrays[0]) if self.batched and arrays[0].ndim == len(self.spec["inputs"][0]["shape"]) else 1

    def answer_in_bytes(self, body: bytes) -> Answer:
        """
        No answer.

        Raises:
            RequestError: as `question_in_bytes`.
        """
        question = self.question_in_bytes(body)
        return self.result(question, self.compute(question))

    def question_in_bytes(self, body: bytes) -> Question:
        """
        No question: bytes don't say which arrays they are.

        Raises:
            RequestError: 415.
        """
        raise RequestError(415, f"{BYTES} is for policies: send JSON, with arrays as base64 where they are large")

    def kin(self, question: Question) -> Hashable | None:
        """
        Shapes and dtypes of one observation, which can share a batch with its like; None for any other question.
        """
        if not self.batched or question.memory or question.details:
            return None
        arrays = zip(question.arrays, self.spec["inputs"], strict=True)
        if any(array.ndim != len(given["shape"]) - 1 for array, given in arrays):
            return None
        return tuple((array.shape, array.dtype.str) for array in question.arrays)

    def join(self, questions: list[Question]) -> Question:
        """
        A batch of single observations of one kind.
        """
        return Question([np.stack(arrays) for arrays in zip(*(q.arrays for q in questions), strict=True)])

    def split(self, results: Results, count: int) -> list[Results]:
        """
        The outputs of each observation of a joined batch.
        """
        outputs, _, spent = results
        return [({name: found[number] for name, found in outputs.items()}, None, spent) for number in range(count)]

    def example(self) -> Question:
        """
        One observation of zeros, of the shortest length.
        """
        length = self.spec.get("length", {"least": 0, "most": 0})
        # As "steps+1<=21": the largest size is known, and is as much more than the smallest as the lengths are.
        shapes = [
            [
                size if isinstance(size, int) else int(size.rpartition("=")[2]) - length["most"] + length["least"]
                for size in given["shape"][self.batched :]
            ]
            for given in self.spec["inputs"]
        ]
        return Question([np.zeros(shape, i["dtype"]) for shape, i in zip(shapes, self.spec["inputs"], strict=True)])


def _array(given: dict[str, Any], value: Any) -> NDArray[Any]:
    """
    An input as `predict` takes it; what is encoded in another dtype is left to it.
    """
    return array(value, given["dtype"], f"$.inputs.{given['name']}")
