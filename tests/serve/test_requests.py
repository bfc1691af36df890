"""
Requests that are not as they should be: what is said of them, the place and both sides.
"""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from compiler.ir import DType
from compiler.serve.requests import element_type
from tests.serve.endpoints import ask, encoded, endpoints, plain, refusal

VECTOR = [0.5, -1.25, 2.0, 0.0]
PARTS = {
    "camera": np.arange(72, dtype=np.uint8).reshape(1, 8, 9),
    "gear": np.int64(3),
    "switches": np.array([[0, 1], [1, 1]], np.int8),
    "dials": np.array([2, 3]),
    "speed": np.array(VECTOR, np.float32),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    with endpoints(tmp_path_factory.mktemp("requests")) as found:
        yield found


def with_observation(text: bytes) -> bytes:
    return b'{"observation": ' + text + b"}"


def with_number(text: bytes) -> bytes:
    return with_observation(b"[1, 2, 3, " + text + b"]")


FOURTH = "$.observation[3]"
TOO_LARGE = "a number has too many digits, or is too large"


@pytest.mark.parametrize(
    ("body", "status", "path", "message"),
    [
        (b"", 400, "", "the body is not JSON: it is empty"),
        (b" \n", 400, "", "the body is not JSON: it is empty"),
        (b"\xef\xbb\xbf" + with_observation(b"[1, 2, 3, 4]"), 400, "", "the body begins with a byte order mark"),
        (b"{", 400, "", "the body is not JSON: input data was truncated"),
        (b"observation=1", 400, "", "the body is not JSON: invalid character (byte 0)"),
        (with_observation(b"[1, 2, 3, 4]") + b"}", 400, "", "the body is not JSON: trailing characters (byte 30)"),
        (with_observation(b"[1, 2, 3, 4,]"), 400, "", "the body is not JSON: trailing comma in array (byte 28)"),
        (with_observation(b'"\xff"'), 400, "", "the body is not JSON: 'utf-8' codec can't decode byte 0xff"),
        (with_observation(b'"\\ud800"'), 400, "", "the body is not JSON: "),
        (b"[" * 100_000, 400, "", "too many arrays or objects in each other"),
        (with_observation(b"[" * 100_000), 400, "", "too many arrays or objects in each other"),
        (with_observation(b'{"a": ' * 100_000), 400, "", "too many arrays or objects in each other"),
        (with_number(b"NaN"), 422, FOURTH, "expected a finite number, found NaN"),
        (with_number(b"Infinity"), 422, FOURTH, "expected a finite number, found Infinity"),
        (with_number(b"-Infinity"), 422, FOURTH, "expected a finite number, found -Infinity"),
        (b"NaN", 422, "$", "expected a finite number, found NaN"),
        (with_number(b"nan"), 400, "", "the body is not JSON: invalid character (byte 30)"),
        (with_number(b"01"), 400, "", "the body is not JSON: "),
        (with_number(b"1e400"), 400, FOURTH, TOO_LARGE),
        (with_number(b"-1e400"), 400, FOURTH, TOO_LARGE),
        (with_number(b"9" * 100_000), 400, FOURTH, TOO_LARGE),
        (with_number(b"1e39"), 422, FOURTH, "expected a number <= 3.4028235677973362e+38, found 1e+39"),
        (with_number(b"-1e39"), 422, FOURTH, "expected a number >= -3.4028235677973362e+38, found -1e+39"),
        (with_number(b"true"), 422, FOURTH, "expected a number, found true"),
        (with_number(b"null"), 422, FOURTH, "expected a number, found null"),
        (with_number(b'"1"'), 422, FOURTH, "expected a number, found a text"),
        (with_number(b"[4]"), 422, FOURTH, "expected a number, found an array of length 1"),
        (with_number(b"{}"), 422, FOURTH, "expected a number, found an object"),
        (
            with_observation(b"[1, 2, 3]"),
            422,
            "$.observation",
            "expected an array of length 4, found an array of length 3",
        ),
        (
            with_observation(b"[1, 2, 3, 4, 5]"),
            422,
            "$.observation",
            "expected an array of length 4, found an array of length 5",
        ),
        (with_observation(b"[]"), 422, "$.observation", "expected an array of length 4, found an array of length 0"),
        (with_observation(b"1"), 422, "$.observation", "expected an object or an array, found 1"),
        (with_observation(b"{}"), 422, "$.observation", "expected a field `base64`, found none"),
        (
            b'{"observations": []}',
            422,
            "$.observations",
            "expected an array of length >= 1, found an array of length 0",
        ),
        (
            b'{"observations": [[1, 2, 3, 4], [1, 2]]}',
            422,
            "$.observations[1]",
            "expected an array of length 4, found an array of length 2",
        ),
        (b'{"observations": [1, 2, 3, 4]}', 422, "$.observations[0]", "expected an object or an array, found 1"),
        (b"{}", 422, "$", "expected observation or observations, found none"),
        (
            b'{"observation": [1, 2, 3, 4], "observations": [[1, 2, 3, 4]]}',
            422,
            "$",
            "expected observation or observations, found observation and observations",
        ),
        (b"[]", 422, "$", "expected an object, found an array of length 0"),
        (
            b'{"obs": 1}',
            422,
            "$",
            "there is no field `obs`, expected some of observation, observations, deterministic, details",
        ),
        (
            b'{"observation": [1, 2, 3, 4], "deterministic": 0}',
            422,
            "$.deterministic",
            "expected true or false, found 0",
        ),
        (b'{"observation": [1, 2, 3, 4], "details": "yes"}', 422, "$.details", "expected true or false, found a text"),
    ],
)
def test_what_is_said_of_a_vector(models, body, status, path, message):
    found = refusal(models.policy("does choice"), body)
    assert found[:2] == (status, path)
    assert found[2].startswith(message)


def test_of_two_values_for_a_key_the_last_counts(models):
    body = b'{"observation": [9, 9, 9, 9], "observation": [0.5, -1.25, 2, 0]}'
    endpoint = models.policy("does numbers")
    assert ask(endpoint, body) == ask(endpoint, {"observation": VECTOR})


ENCODED = encoded(np.array(VECTOR, np.float32))


@pytest.mark.parametrize(
    ("changed", "path", "message"),
    [
        ({"shape": [1, 4]}, "", "expected shape [4], found [1, 4]"),
        ({"shape": [2, 2]}, "", "expected shape [4], found [2, 2]"),
        ({"shape": []}, ".base64", "expected 4 bytes for shape [] of float32, found 16"),
        ({"shape": [5]}, ".base64", "expected 20 bytes for shape [5] of float32, found 16"),
        ({"shape": [-4]}, ".shape[0]", "expected a whole number >= 1, found -4"),
        ({"shape": [0, 2**31]}, ".shape[0]", "expected a whole number >= 1, found 0"),
        ({"shape": [4.0]}, ".shape[0]", "expected a whole number, found 4.0"),
        ({"shape": 4}, ".shape", "expected an array, found 4"),
        ({"shape": [2**31] * 16}, ".base64", f"expected {2**498} bytes for shape {[2**31] * 16} of float32, found 16"),
        ({"shape": [2**31 + 1]}, ".shape[0]", "expected a whole number <= 2147483648, found 2147483649"),
        ({"shape": [1] * 17}, ".shape", "expected an array of length <= 16, found an array of length 17"),
        ({"dtype": "float64"}, ".base64", "expected 32 bytes for shape [4] of float64, found 16"),
        (
            {"dtype": "object"},
            ".dtype",
            "expected one of float32, float64, uint8, int8, int16, int32, int64, bool, found 'object'",
        ),
        ({"dtype": None}, ".dtype", "expected a text, found null"),
        ({"base64": "AAAA"}, ".base64", "expected 16 bytes for shape [4] of float32, found 3"),
        ({"base64": "AAA"}, ".base64", "expected base64 in the standard alphabet, with padding"),
        ({"base64": "é" * 24}, ".base64", "expected base64 in the standard alphabet, with padding"),
        ({"base64": [1]}, ".base64", "expected a text of base64, found an array of length 1"),
        ({"order": "F"}, "", "there is no field `order`"),
        (
            encoded(np.array([0, 1, np.nan, 2], np.float32)),
            "",
            "observation 0 of 1: expected finite numbers, found nan at (2,)",
        ),
        (encoded(np.array([0, 1, 2, 1e300])), "", "observation 0 of 1: expected finite numbers, found inf at (3,)"),
    ],
)
def test_what_is_said_of_encoded_arrays(models, changed, path, message):
    found = refusal(models.policy("does choice"), {"observation": ENCODED | changed})
    assert found == (422, f"$.observation{path}", message)


@pytest.mark.parametrize(
    ("part", "value", "path", "message"),
    [
        ("gear", 5, "", "expected a whole number <= 4, found 5"),
        ("gear", -1, "", "expected a whole number >= 0, found -1"),
        ("gear", 3.0, "", "expected a whole number, found 3.0"),
        ("gear", True, "", "expected a whole number, found true"),
        ("gear", [3], "", "expected a whole number, found an array of length 1"),
        ("dials", [2, 4], "[1]", "expected a whole number <= 3, found 4"),
        ("dials", [2**70, 0], "[0]", "expected a whole number <= 3, found 1180591620717411303424"),
        ("switches", [[0, 1], [1, 2]], "[1][1]", "expected a whole number <= 1, found 2"),
        ("switches", [0, 1], "[0]", "expected an array, found 0"),
        ("camera", [[[0, 256]]], "[0][0][1]", "expected a whole number <= 255, found 256"),
        ("camera", [[[0, 0.5]]], "[0][0][1]", "expected a whole number, found 0.5"),
        ("camera", [[[0, 1], [2]]], "", "expected nested arrays of one length at each depth, found several lengths"),
        ("camera", [[[0, 1]]], "", "expected shape [1, 8, 9] or [8, 9, 1], found [1, 1, 2]"),
        ("camera", [[], []], "[0]", "expected an array of length >= 1, found an array of length 0"),
        (
            "camera",
            encoded(np.zeros((8, 8, 1), np.uint8)),
            "",
            "expected shape [1, 8, 9] or [8, 9, 1], found [8, 8, 1]",
        ),
    ],
)
def test_what_is_said_of_parts(models, part, value, path, message):
    content = plain(PARTS) | {part: value}
    endpoint = models.policy("sees parts")
    assert refusal(endpoint, {"observation": content}) == (422, f"$.observation.{part}{path}", message)
    found = refusal(endpoint, {"observations": [plain(PARTS), content]})
    assert found == (422, f"$.observations[1].{part}{path}", message)


def test_parts_that_are_missing_or_too_many(models):
    endpoint, content = models.policy("sees parts"), plain(PARTS)
    found = refusal(endpoint, {"observation": {key: content[key] for key in content if key != "gear"}})
    assert found == (422, "$.observation", "expected a field `gear`, found none")
    found = refusal(endpoint, {"observation": content | {"more": 1}})
    assert found == (422, "$.observation", "there is no field `more`")


def test_whole_numbers_that_are_no_choice(models):
    found = refusal(models.policy("sees choices"), {"observation": [2, 2, 0]})
    assert found == (422, "$.observation", "observation 0 of 1: expected 0 to 1, found 2 at 1")


@pytest.mark.parametrize("dtype", DType)
def test_numbers_of_every_dtype_to_its_ends(dtype):
    kind = dtype.numpy.kind
    decoder = msgspec.json.Decoder(element_type(str(dtype)))
    limits: Any = np.finfo(dtype.numpy) if kind == "f" else np.iinfo(dtype.numpy) if kind in "iu" else None
    number = float if kind == "f" else int
    low, high = (number(limits.min), number(limits.max)) if limits else (0, 1)
    if kind != "f":  # of unsigned numbers of 64 bits, half
        high = min(high, 2**63 - 1)
    for end in (low, high):
        assert decoder.decode(json.dumps(end)) == end
    if dtype is not DType.FLOAT64:
        beyond = high * 1.001 if kind == "f" else high + 1
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(json.dumps(beyond))
    if kind != "f":
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(b"0.5")
