"""
A policy behind HTTP: requests, what is computed for them, answers.
"""

import inspect
import sys
import time
from array import array as values_of
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiler.serve.answers import BYTES, JSON, ONE_CHOICE, Answer, RequestError, bytes_answer, encode, json_answer
from compiler.serve.observations import Observations
from compiler.serve.requests import ABSENT, Absent, array, element_type, expect_shape, masks_type, parse
from compiler.serve.sessions import Memory, Sessions, recall, remember

DETAILS: Final = {
    "probabilities": "action_probabilities",
    "distribution": "distribution",
    "q_values": "q_values",
    "scores": "scores",
    "value": "value",
}
"""What `details` adds to an answer, and the predictor's function that gives it."""


@dataclass(slots=True)
class Question:
    """
    What a request asks: arrays as the predictor takes them.

    Attributes:
        observation: an array, or a dict of arrays; with the batch in front unless `single`.
        single: whether it is one observation alone.
        rows: how many observations there are.
        deterministic: whether the best action is wanted, or one that is drawn.
        details: what is wanted besides, by the names in `Policy.details`.
        action_masks: None allows all.
        memory: the state, and where it is kept.
        episode_start: for each observation, whether to forget the state first.
        in_bytes: whether the answer is bytes, as the request was.
    """

    observation: Any
    single: bool
    rows: int
    deterministic: bool = True
    details: tuple[str, ...] = ()
    action_masks: NDArray[Any] | None = None
    memory: Memory | None = None
    episode_start: NDArray[np.bool_] | None = None
    in_bytes: bool = False

    @property
    def state(self) -> tuple[NDArray[np.float32], ...] | None:
        """
        What `predict` takes: None is a new episode.
        """
        return self.memory.arrays if self.memory else None


Results = tuple[NDArray[Any], Any, dict[str, Any]]
"""Actions, the next state, details."""


class Policy:
    """
    A package that was made from a policy.

    Args:
        package: the imported package.
        spec: its SPEC.
        sha256: of its model file.
        sessions: where recurrent states are kept.
        fields: names of the numbers of an observation; () for none.
    """

    def __init__(
        self, package: ModuleType, spec: dict[str, Any], sha256: str, sessions: Sessions, fields: tuple[str, ...] = ()
    ) -> None:
        self.package, self.spec, self.sha256, self.sessions, self.fields = package, spec, sha256, sessions, fields
        self.count: Callable[[int], None] = lambda rows: None
        self.space: dict[str, Any] = spec["observation"]
        self.recurrent, self.masked = "state" in spec, "action_masks" in spec
        self.observations = Observations(self.space)
        self.size = self.observations.size
        self.request_type = self._request_type()
        self.decoder = msgspec.json.Decoder(self.request_type)
        self._predict: Callable[..., Any] = package.predict
        self.details = {name: getattr(package, own) for name, own in DETAILS.items() if own in package.__all__}
        self._takes = {name: set(inspect.signature(function).parameters) for name, function in self.details.items()}
        self._takes["predict"] = set(inspect.signature(self._predict).parameters)
        flat = self.space.get("dtype") == "float32" and len(self.space.get("shape", ())) == 1
        self.short = 200 + 32 * self.size if flat and not (self.recurrent or self.masked or fields) else 0
        """
        Bytes that the usual request has at most: one vector, and nothing else. It takes a way of its own, in a fifth of
        the time; a longer one is likely a batch, which is not parsed twice. 0 where there is no such way.
        """
        self._chooses = spec["action"]["kind"] == "Discrete"
        self._act: Callable[[Any], Any] = package.act
        self._decode = self.decoder.decode

    def _request_type(self) -> Any:
        one, batch = self.observations.type_of_one, self.observations.type_of_batch
        # Names that are no identifiers may not collide with the others: they go by a number inside.
        fields: list[Any] = [("observation", one | Absent, ABSENT), ("observations", batch | Absent, ABSENT)]
        number: Any = element_type(self.space["dtype"]) if self.fields else None
        fields += [(f"field_{place}", number | Absent, ABSENT) for place in range(len(self.fields))]
        fields += [("deterministic", bool, True), ("details", bool, False)]
        if self.masked:
            fields.append(("action_masks", masks_type() | Absent, ABSENT))
        if self.recurrent:
            fields += [("state", str | Absent, ABSENT), ("session", str | Absent, ABSENT)]
            fields.append(("episode_start", bool | list[bool], False))
        names = {f"field_{place}": name for place, name in enumerate(self.fields)}
        return msgspec.defstruct("Predict", fields, forbid_unknown_fields=True, rename=names, kw_only=True)

    def answer(self, body: bytes) -> Answer:
        """
        The answer for a body of JSON.

        Raises:
            RequestError: as `requests.parse`; 422 for what the predictor refuses.
        """
        if len(body) <= self.short:
            try:
                request = self._decode(body)
                values = request.observation
                others = request.observations is not ABSENT or request.details
                if values.__class__ is list and request.deterministic and not others:
                    action = self._act(values_of("f", values))
                    self.count(1)
                    content = b'{"action": %d}' % action if self._chooses else encode({"action": action.tolist()})
                    return 200, JSON, content
            except Exception:
                pass  # the other way says what is wrong
        question = self.question(body)
        return self.result(question, self.compute(question))

    def answer_in_bytes(self, body: bytes) -> Answer:
        """
        The answer for a body of float32.

        Raises:
            RequestError: as `question_in_bytes`; 422 for what the predictor refuses.
        """
        if self.short and len(body) == 4 * self.size and sys.byteorder == "little":
            try:
                action = self._act(values_of("f", body))
                self.count(1)
                return (200, ONE_CHOICE, action.to_bytes(8, "little")) if self._chooses else bytes_answer(action)
            except Exception:
                pass  # the other way says what is wrong
        question = self.question_in_bytes(body)
        return self.result(question, self.compute(question))

    def question(self, body: bytes) -> Question:
        """
        What a body of JSON asks.
        """
        request = parse(self.decoder, body)
        observation, single = self._observed(request)
        rows = 1 if single else len(next(iter(observation.values())) if isinstance(observation, dict) else observation)
        details = tuple(self.details) if request.details else ()
        question = Question(observation, single, rows, request.deterministic, details)
        if self.masked and request.action_masks is not ABSENT:
            question.action_masks = self._masks(request.action_masks, None if single else rows)
        if self.recurrent:
            shape = (self.spec["state"]["layers"], rows, self.spec["state"]["units"])
            question.episode_start = _starts(request.episode_start, rows)
            question.memory = recall(request, self.sha256, (shape, shape), self.sessions)
        return question

    def _observed(self, request: Any) -> tuple[Any, bool]:
        """
        The request's observation, or batch of them, as arrays; and whether it is one alone.
        """
        named = [getattr(request, f"field_{number}") for number in range(len(self.fields))]
        given = {
            "observation": request.observation is not ABSENT,
            "observations": request.observations is not ABSENT,
            "fields": any(value is not ABSENT for value in named),
        }
        if sum(given.values()) != 1:
            names = ["observation", "observations", *(["all of " + ", ".join(self.fields)] if self.fields else [])]
            found = " and ".join(name for name, there in given.items() if there) or "none"
            raise RequestError(422, f"expected {' or '.join(names)}, found {found}", "$")
        if given["fields"]:
            missing = [name for name, value in zip(self.fields, named, strict=True) if value is ABSENT]
            if missing:
                raise RequestError(422, f"expected all of {', '.join(self.fields)}, found no {', '.join(missing)}", "$")
            return np.array(named, self.space["dtype"]), True
        if given["observation"]:
            return self.observations.one(request.observation, "$.observation"), True
        return self.observations.batch(request.observations, "$.observations"), False

    def _masks(self, value: Any, rows: int | None) -> NDArray[Any]:
        masks = array(value, "bool", "$.action_masks")
        count = self.spec["action_masks"]["count"]
        expect_shape(masks, ((count,) if rows is None else (rows, count),), "$.action_masks")
        return masks

    def compute(self, question: Question) -> Results:
        """
        Actions, the next state, and details where they are asked for.

        Raises:
            RequestError: 422, for what the predictor refuses.
        """
        begin = time.perf_counter_ns()
        try:
            actions, state = self._call("predict", self._predict, question)
            self.count(question.rows)
            if not question.details:
                return actions, state, {}
            spent = time.perf_counter_ns() - begin
            found = {name: self._call(name, self.details[name], question) for name in question.details}
        except (ValueError, TypeError) as error:
            raise RequestError(422, str(error), "$.observation" if question.single else "$.observations") from None
        return actions, state, {**found, "microseconds": spent / 1e3}

    def _call(self, name: str, function: Callable[..., Any], question: Question) -> Any:
        takes, given = self._takes[name], {}
        for option in ("deterministic", "action_masks", "state", "episode_start"):
            if option in takes and (option == "deterministic" or getattr(question, option) is not None):
                given[option] = getattr(question, option)
        return function(question.observation, **given)

    def result(self, question: Question, results: Results) -> Answer:
        """
        What was computed, in the form of the request.

        Raises:
            RequestError: 409 and 503, if a session's state can't be kept.
        """
        actions, state, details = results
        if question.in_bytes:
            return bytes_answer(np.asarray(actions))
        content: dict[str, Any] = {"action" if question.single else "actions": actions.tolist()}
        if question.memory:
            content |= remember(question.memory, self.sha256, state, self.sessions)
        return json_answer(content | {name: _plain(value) for name, value in details.items()})

    def question_in_bytes(self, body: bytes) -> Question:
        """
        What a body of float32 asks, row after row; the answer is in the same form.

        Raises:
            RequestError: 415, for a policy that takes more than one array; 422, for another length.
        """
        if not self.size or self.recurrent:
            raise RequestError(415, f"{BYTES} is for observations of one array, without a state: send JSON")
        rows, rest = divmod(len(body), 4 * self.size)
        if rest or not rows:
            message = f"expected {self.size} float32 of 4 bytes for each observation, found {len(body)} bytes"
            raise RequestError(422, message, "$")
        shape = tuple(self.space["shape"])
        values = np.frombuffer(body, "<f4").reshape(shape if rows == 1 else (rows, *shape))
        return Question(values, rows == 1, rows, in_bytes=True)

    def kin(self, question: Question) -> Hashable | None:
        """
        Shapes and dtypes of an observation that can share a batch with others of the kind; None for any other question.
        """
        if not question.single or not question.deterministic or question.details or question.memory or self.masked:
            return None
        parts = question.observation if isinstance(question.observation, dict) else {"": question.observation}
        return tuple((key, np.shape(part), np.asarray(part).dtype.str) for key, part in parts.items())

    def join(self, questions: list[Question]) -> Question:
        """
        A batch of single observations of one kind.
        """
        observations = [question.observation for question in questions]
        joined: Any = (
            {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
            if isinstance(observations[0], dict)
            else np.stack(observations)
        )
        return Question(joined, False, len(questions))

    def split(self, results: Results, count: int) -> list[Results]:
        """
        The actions of each observation of a joined batch.
        """
        return [(results[0][number], None, {}) for number in range(count)]

    def example(self) -> Question:
        """
        One observation of zeros.
        """
        return Question(self.observations.zeros(), True, 1)


def _starts(value: bool | list[bool], rows: int) -> NDArray[np.bool_]:
    if isinstance(value, bool):
        return np.full(rows, value)
    if len(value) != rows:
        message = f"expected true or false, or {rows} of them in an array, found an array of length {len(value)}"
        raise RequestError(422, message, "$.episode_start")
    return np.array(value, np.bool_)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
