"""
Endpoints of small policies and programs, asked without HTTP; and what is right, made as a person would make it.

The packages are not compiled: what surrounds the kernels is the same.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.ir import Box, Dict, Discrete, DType, Model, MultiBinary, MultiDiscrete, Space
from compiler.options import BuildOptions
from compiler.serve.answers import RequestError
from compiler.serve.encoded import ENCODINGS
from compiler.serve.endpoint import Endpoint
from compiler.serve.policies import Policy
from compiler.serve.programs import Program
from compiler.serve.sessions import Sessions
from tests.general_models import MODELS, WORDS, inputs_of, mixed, sentences
from tests.generated_code.sampled import POLICIES as SAMPLED
from tests.models import predictor
from tests.policies import NARROW, PARTS, WIDE, normalised, observing

SHA256 = "5a" * 32
REFUSALS = (400, 415, 422)


def box(dtype: DType, *shape: int) -> Box:
    """
    A space with the bounds of its dtype, or of +-100 where these are too far.
    """
    low, high = (0, 1) if dtype is DType.BOOL else (-100, 100)
    if dtype.numpy.kind == "u":
        low = 0
    return Box(dtype, np.full(shape, low, dtype.numpy), np.full(shape, high, dtype.numpy))


SPACES: Mapping[str, Space] = {
    **{str(dtype): box(dtype, 3) for dtype in DType},
    **{f"{rank} dimensions": box(DType.FLOAT32, *(2, 1, 3, 2)[:rank]) for rank in (0, 1, 2, 3, 4)},
    "whole scalar": box(DType.INT32),
    "bytes of an image's rank": box(DType.UINT8, 2, 3, 4),
    "image": Box(DType.UINT8, np.zeros((1, 8, 9), np.uint8), np.full((1, 8, 9), 255, np.uint8)),
    "choice": Discrete(7),
    "choice from 3 on": Discrete(7, start=3),
    "choices": MultiDiscrete((3, 2, 70)),
    "switches": MultiBinary((5,)),
    "switches in two dimensions": MultiBinary((2, 3)),
    "parts": PARTS,
    "parts with odd names": Dict(
        (("a b", Discrete(3)), ("class", WIDE), ("$.x[0]", NARROW), ("é", box(DType.UINT8, 2)))
    ),
}
ACTIONS: Mapping[str, Space] = {
    "choice": Discrete(4),
    "choices": MultiDiscrete((2, 3)),
    "switches": MultiBinary((4,)),
    "numbers": NARROW,
}
POLICIES: Mapping[str, Callable[[], Model]] = {
    **{f"sees {name}": partial(observing, space, NARROW) for name, space in SPACES.items()},
    **{f"does {name}": partial(observing, WIDE, space) for name, space in ACTIONS.items()},
    **{f"draws {name}": partial(replace, model) for name, model in SAMPLED.items()},
    "normalised": normalised,
    "values": partial(observing, WIDE, Discrete(3)),
}
OPTIONS = {"values": BuildOptions(with_value=True)}
PROGRAMS: Mapping[str, Callable[[], Model]] = {
    **{name: MODELS[name] for name in ("mixed", "camera", "counter")},
    "alone": lambda: replace(mixed("alone"), batched=False),
    "sentences": sentences,
    "keywords": lambda: mixed("keywords", ("import", "class", "inputs"), ("lambda", "state", "error")),
}


class Endpoints:
    """
    Endpoints by the names of their models, each made when it is first asked for.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._made: dict[str, Policy | Program] = {}
        self.sessions = Sessions(folder / "sessions", 60, 1000)

    def policy(self, name: str, fields: tuple[str, ...] = ()) -> Policy:
        """
        Of `POLICIES`.
        """
        found = self._of(name, POLICIES[name], fields)
        assert isinstance(found, Policy)
        return found

    def program(self, name: str) -> Program:
        """
        Of `PROGRAMS`.
        """
        found = self._of(name, PROGRAMS[name])
        assert isinstance(found, Program)
        return found

    def _of(self, name: str, model: Callable[[], Model], fields: tuple[str, ...] = ()) -> Policy | Program:
        key = f"{name} {fields}"
        if key not in self._made:
            folder = self._folder / f"agent_{len(self._made)}"
            package = self._stack.enter_context(predictor(folder, model(), OPTIONS.get(name), plain=True))
            self._made[key] = (
                Policy(package, package.SPEC, SHA256, self.sessions, fields)
                if "observation" in package.SPEC
                else Program(package, package.SPEC, SHA256, self.sessions)
            )
        return self._made[key]


@contextmanager
def endpoints(folder: Path) -> Iterator[Endpoints]:
    """
    Those of a test's module.
    """
    with ExitStack() as stack:
        yield Endpoints(folder, stack)


def ask(endpoint: Endpoint, content: Any) -> Any:
    """
    What is answered: JSON, for JSON or bytes of it.

    Raises:
        RequestError: if it is refused, with one of `REFUSALS`.
    """
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    try:
        status, headers, answer = endpoint.answer(body)
    except RequestError as error:
        if error.status not in REFUSALS or not error.message:
            raise AssertionError(f"refused with {error.status} {error.message!r}") from error
        raise
    assert status == 200
    assert headers == [("content-type", "application/json")]
    return json.loads(answer)


def refusal(endpoint: Endpoint, content: Any) -> tuple[int, str, str]:
    """
    How it is refused: status, path, message.
    """
    with pytest.raises(RequestError) as refused:
        ask(endpoint, content)
    return refused.value.status, refused.value.path, refused.value.message


def plain(value: Any) -> Any:
    """
    Arrays, and what holds them, as JSON has them.
    """
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def encoded(array: Any) -> Any:
    """
    The same as base64; of a dict, its parts.
    """
    if isinstance(array, dict):
        return {key: encoded(part) for key, part in array.items()}
    if array.ndim == 0 or array.dtype.name not in ENCODINGS:
        return array.tolist()
    content = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    named = {"dtype": array.dtype.name} if array.dtype != np.float32 else {}
    return {"base64": content, "shape": list(array.shape), **named}


def row_of(observations: Any, row: int) -> Any:
    """
    One observation of a batch.
    """
    if isinstance(observations, dict):
        return {key: part[row] for key, part in observations.items()}
    return observations[row]


def sample(space: Space, rows: int, seed: int = 0) -> Any:
    """
    Random observations in the dtype that gymnasium gives them, with the batch in front.
    """
    rng = np.random.default_rng(seed)
    match space:
        case Dict(spaces=spaces):
            return {key: sample(part, rows, seed + place) for place, (key, part) in enumerate(spaces)}
        case Discrete(n=n):
            return rng.integers(0, n, rows)
        case MultiDiscrete(nvec=nvec):
            return rng.integers(0, nvec, (rows, len(nvec)))
        case MultiBinary(shape=shape):
            return rng.integers(0, 2, (rows, *shape)).astype(np.int8)
        case Box() if space.dtype.numpy.kind == "f":
            return rng.normal(size=(rows, *space.shape)).astype(space.dtype.numpy)
        case Box():
            high = min(100, int(space.high.max()))
            return rng.integers(max(-high, int(space.low.min())), high + 1, (rows, *space.shape)).astype(
                space.dtype.numpy
            )
    raise AssertionError(space)


def given_of(name: str, rows: int) -> dict[str, Any]:
    """
    Inputs of a program by their names, with the batch in front.
    """
    if name != "sentences":
        model = PROGRAMS[name]()
        return dict(zip(model.inputs, inputs_of(model, rows), strict=True))
    return sentences_of(rows, 5)


def sentences_of(rows: int, length: int) -> dict[str, Any]:
    """
    The same of the program that takes any length.
    """
    rng = np.random.default_rng(length)
    return {
        "length": rng.normal(size=(rows, length, 3)).astype(np.float32),
        "words": rng.integers(0, WORDS, (rows, length)),
        "flags": rng.integers(0, 2, (rows, length + 1)).astype(bool),
    }


def right_of(endpoint: Program, inputs: Mapping[str, Any]) -> Any:
    """
    The answer that a program's package gives.
    """
    found = endpoint.package.predict(*inputs.values())
    found = found[0] if endpoint.recurrent else found
    return {
        "outputs": dict(zip(endpoint.outputs, map(plain, found if isinstance(found, tuple) else (found,)), strict=True))
    }
