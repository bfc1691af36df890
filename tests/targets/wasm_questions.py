"""
What policies are asked in JavaScript, and the comparison of what they answer with the reference.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from compiler.verify import Predictor
from compiler.verify.answers import answers
from compiler.verify.asking import batch_of, single_of
from compiler.verify.cases import finite_cases
from compiler.verify.comparison import Examination, Tally
from tests.targets.wasm_files import made

SEED = 4
COUNT = 70
"""Observations that are asked for: some more than are computed at a time."""


@dataclass
class Recorded:
    """
    What a policy has answered, with the face of a predictor that is asked once.
    """

    actions: Any
    found: Any
    state: Any
    SPEC: Any = None

    def predict(self, observation: Any, **others: Any) -> Any:
        return self.actions, self.state

    def scores(self, observation: Any, **others: Any) -> Any:
        return self.found


class Questions:
    """
    What a policy is asked in JavaScript, and the comparison of what it answers with the reference.
    """

    def __init__(self, kind: str) -> None:
        self.made = made(kind)
        model = self.made.source
        cases = finite_cases(model, COUNT, SEED)
        expected = answers(model, cases, SEED)
        self.model, self.cases, self.expected = model, cases.only(expected.compared), expected.only(expected.compared)

    def job(self, simd: bool) -> dict[str, Any]:
        question = batch_of(self.model, self.cases)
        options, memory = self.options(question), self.options(question, masked=False)
        singles = [single_of(self.model, self.cases, row) for row in range(len(self.cases))]
        calls = [
            {"call": "predict", "observation": question.observation, "options": options},
            {"call": "scores", "observation": question.observation, "options": memory},
            {
                "call": "each",
                "observation": [single.observation for single in singles],
                "options": [self.options(single) for single in singles],
            },
        ]
        if self.model.states:
            calls.append({"call": "episode", "observation": [single.observation for single in singles[:20]]})
        return {"name": self.made.name, "simd": simd, "calls": calls}

    def options(self, question: Any, *, masked: bool = True) -> dict[str, Any]:
        found = dict(question.masks) if masked else {}
        state, starts = question.memory.get("state"), question.memory.get("episode_start")
        if state is not None:
            found["state"] = {name: np.ravel(part) for name, part in zip(("hidden", "cell"), state, strict=True)}
        return found if starts is None else found | {"episode_start": starts}

    def check(self, results: list[Any]) -> None:
        batch, scores, each = results[:3]
        rows = len(self.cases)
        if not self.model.states:
            self.compare(batch, scores, None)
            self.compare(each, scores, None)
            return
        self.compare(batch["action"], scores, self.packed([batch["state"]], rows))
        self.compare([one["action"] for one in each], scores, self.packed([one["state"] for one in each], 1))
        self.check_episode(results[3])

    def packed(self, states: list[Any], rows: int) -> tuple[Any, ...]:
        layers = len(self.model.states) // 2
        parts = [[np.reshape(state[name], (layers, rows, -1)) for state in states] for name in ("hidden", "cell")]
        return tuple(np.concatenate(part, axis=1).astype(np.float32) for part in parts)

    def compare(self, actions: Any, scores: Any, state: Any) -> None:
        expected = self.expected
        given = np.array(actions, expected.actions.dtype).reshape(expected.actions.shape)
        found = np.array(scores, np.float32).reshape(expected.scores.values.shape)
        predictor = cast(Predictor, Recorded(given, found, state))
        examination = Examination(self.model, predictor, self.cases, expected, Tally())
        difference = examination.batch(0, len(self.cases))
        assert difference is None, difference

    def check_episode(self, actions: Any) -> None:
        with self.made.predictor(simd=True) as predictor:
            episode = predictor.Episode()
            for step, action in enumerate(actions):
                if 2 * step == len(actions):
                    episode.reset()
                expected = episode.act(single_of(self.model, self.cases, step).observation)
                np.testing.assert_allclose(np.ravel(action), np.ravel(expected), rtol=1e-5, atol=1e-5)
