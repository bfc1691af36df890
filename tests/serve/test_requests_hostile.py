"""
Any change of a good request is refused, or answered as `predict` answers; what is refused takes little memory.
"""

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.serve.answers import RequestError
from compiler.serve.policies import Policy
from tests.serve.endpoints import ask, encoded, endpoints, plain, refusal

VECTOR = [0.5, -1.25, 2.0, 0.0]
CAMERA = np.arange(72, dtype=np.uint8).reshape(1, 8, 9)
PARTS = {"camera": CAMERA.tolist(), "gear": 3, "switches": [[0, 1], [1, 1]], "dials": [2, 3], "speed": VECTOR}
INPUTS = {"double": [[1.5, 2, 3], [4, 5, 6]], "count": [1, 2, 3, 4], "weights": [True, False, True]}
HOSTILE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    with endpoints(tmp_path_factory.mktemp("hostile")) as found:
        yield found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-300, 300) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TOKENS = [b"1e400", b"-0", b"1E2", b"9" * 400, b"NaN", b"[" * 3000, b'"\\ud800"', b'"\xff"', b"", b"1,", b"-Infinity"]
MARK = "a place for bytes"
Content = Any


def places(content: Content, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """
    The ways to all values of JSON.
    """
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(content: Content, path: tuple[Any, ...], change: Any) -> Content:
    """
    The same JSON with another value at a place; without it, where the value is an ellipsis.
    """
    if not path:
        return None if change is ... else change
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(path) == 1 and change is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(content[path[0]], path[1:], change)
    return copy


@st.composite
def bodies(draw: st.DrawFn, good: Content) -> bytes:
    """
    A good request with values changed, taken out, doubled or written in a way of their own; or with bytes changed.
    """
    content, token = good, b"null"
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(content)))
        value: Any = content
        for key in place:
            value = value[key]
        kind = draw(st.sampled_from(["other", "out", "twice", "token", "inside"]))
        if kind == "other":
            content = changed(content, place, draw(JSON))
        elif kind == "out":
            content = changed(content, place, ...)
        elif kind == "inside":
            content = changed(content, place, [value])
        elif kind == "twice" and isinstance(value, list):
            content = changed(content, place, value + value[:1])
        else:
            content, token = changed(content, place, MARK), draw(st.sampled_from(TOKENS))
    body = json.dumps(content).encode().replace(json.dumps(MARK).encode(), token)
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + draw(st.integers(0, 2)) :]
    return body


def as_given(value: Any, dtype: str) -> Any:
    """
    The array that a person would make.
    """
    if isinstance(value, dict):
        content = np.frombuffer(base64.b64decode(value["base64"]), value.get("dtype", "float32"))
        return content.reshape(value["shape"])
    return np.array(value, dtype)


def as_seen(value: Any, space: dict[str, Any]) -> Any:
    if space["kind"] == "Dict":
        return {key: as_seen(value[key], part) for key, part in space["spaces"].items()}
    return as_given(value, space.get("dtype", "int64"))


def right_of(endpoint: Any, body: bytes) -> Any:
    """
    What the package gives for a request that was answered.
    """
    content = json.loads(body)
    if not isinstance(endpoint, Policy):
        inputs = [as_given(content["inputs"][name], given["dtype"]) for name, given in endpoint.inputs.items()]
        found = endpoint.package.predict(*inputs)
        return plain(dict(zip(endpoint.outputs, found if isinstance(found, tuple) else (found,), strict=True)))
    options: dict[str, Any] = {}
    if "action_masks" in content:
        options["action_masks"] = np.array(content["action_masks"], bool)
    if "observation" in content:
        observation = as_seen(content["observation"], endpoint.space)
    elif isinstance(rows := content["observations"], dict):
        observation = as_given(rows, "")
    else:
        seen = [as_seen(row, endpoint.space) for row in rows]
        parts = endpoint.space["spaces"] if endpoint.space["kind"] == "Dict" else ()
        observation = {key: np.stack([row[key] for row in seen]) for key in parts} if parts else np.stack(seen)
    return endpoint.package.predict(observation, **options)[0].tolist()


GOOD: dict[str, tuple[str, Content]] = {
    "vector": ("does choice", {"observation": VECTOR, "deterministic": True, "details": False}),
    "vectors": ("does numbers", {"observations": [VECTOR, encoded(np.array(VECTOR, np.float32)), VECTOR]}),
    "bytes": ("does numbers", {"observations": encoded(np.array([VECTOR] * 2, np.float32))}),
    "parts": ("sees parts", {"observation": PARTS | {"camera": encoded(CAMERA)}}),
    "many parts": (
        "sees parts with odd names",
        {"observations": [{"a b": 1, "class": VECTOR, "$.x[0]": [1, 2, 3], "é": [4, 5]}] * 2},
    ),
    "image": ("sees image", {"observation": CAMERA[:, :, ::-1].tolist()}),
    "masks": ("draws masked", {"observation": VECTOR, "action_masks": [1, 0, True, False]}),
    "many masks": (
        "draws masked choices",
        {"observations": [VECTOR] * 2, "action_masks": [[True, False, 1, 1, 0, 1, 1, 0, 0]] * 2},
    ),
    "program": ("mixed", {"inputs": INPUTS}),
    "lengths": ("sentences", {"inputs": {"length": [[1, 2, 3]] * 2, "words": [1, 2], "flags": [True, False, 1]}}),
}


@pytest.mark.parametrize("name", GOOD)
def test_any_change_is_refused_or_answered_right(models, name):
    model, good = GOOD[name]
    endpoint = models.program(model) if "inputs" in good else models.policy(model)
    key = "outputs" if "inputs" in good else "actions" if "observations" in good else "action"
    body = json.dumps(good).encode()
    assert ask(endpoint, body)[key] == right_of(endpoint, body)

    @given(bodies(good))
    @HOSTILE
    def check(body: bytes) -> None:
        try:
            found = ask(endpoint, body)
        except RequestError:
            return
        deterministic = json.loads(body).get("deterministic", True)
        if deterministic:
            assert next(iter(found.values())) == right_of(endpoint, body)

    check()


def test_any_bytes_are_refused(models):
    some = [models.policy("does choice"), models.policy("draws recurrent"), models.program("mixed")]

    @given(st.binary(max_size=40) | JSON.map(lambda content: json.dumps(content).encode()))
    @HOSTILE
    def check(body: bytes) -> None:
        for endpoint in some:
            with pytest.raises(RequestError):
                ask(endpoint, body)

    check()


@pytest.mark.parametrize(
    ("model", "before", "repeated", "after"),
    [
        ("does choice", b'{"observations": [', b"[],", b"[]]}"),
        ("does choice", b'{"observations": [', b"[1,2,3,4],", b"[]]}"),
        ("does choice", b'{"observations": [', b'{"base64":"AAAA","shape":[1]},', b"[]]}"),
        ("does choice", b'{"observation": [', b"0,", b"0]}"),
        ("sees image", b'{"observation": [', b"[[0]],", b"[[]]]}"),
        ("sees image", b'{"observations": [', b"[[[0]]],", b"[[[0,0]]]]}"),
        ("sees choice", b'{"observations": [', b"0,", b"9]}"),
        ("draws masked", b'{"observation": [1,2,3,4], "action_masks": [', b"[0],", b"[2]]}"),
        ("mixed", b'{"inputs": {"double": [', b"[],", b"[]]}}"),
        ("mixed", b'{"inputs": {"double": [', b"[[0]],", b"[[]]]}}"),
        ("mixed", b'{"inputs": {"double": [', b'"",', b'""]}}'),
        ("mixed", b'{"inputs": {"count": [', b"0,", b"0]}}"),
        ("does choice", b'{"observation": {"shape": [', b"2147483648,", b'1], "base64": ""}}'),
        ("does choice", b'{"observation": {"shape": [4], "base64": "', b"AAAA", b'"}}'),
        ("does choice", b"", b"[", b""),
        ("does choice", b"", b'{"":', b""),
        ("draws recurrent", b'{"observation": [1,2,3,4], "state": "', b"AAAA", b'"}'),
    ],
)
def test_what_is_refused_takes_little_memory(models, model, before, repeated, after):
    endpoint, size = models.program(model) if model == "mixed" else models.policy(model), 2**17
    body = before + repeated * (size // len(repeated)) + after
    tracemalloc.start()
    try:
        with pytest.raises(RequestError):
            endpoint.answer(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * size


@pytest.mark.parametrize("repeated", [b"[],", b"[[0]],"])
def test_a_large_body_holds_a_bounded_number_of_arrays(models, repeated):
    endpoint, size = models.program("mixed"), 2**22
    body = b'{"inputs": {"double": [' + repeated * (size // len(repeated)) + b"[]]}}"
    tracemalloc.start()
    try:
        status, _, message = refusal(endpoint, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status == 400
    assert message.startswith("expected at most 1048576 arrays in a body, found 13981")
    assert peak < 10_000
