"""
Tokens of recurrent states: what comes back is what was given, and nothing else is taken.
"""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.serve.answers import RequestError
from compiler.serve.states import MARK, from_token, to_token
from tests.serve.endpoints import SHA256

SHAPES = ((2, 3, 4), (5,))
RNG = np.random.default_rng(6)
ARRAYS = tuple(RNG.normal(size=shape).astype(np.float32) for shape in SHAPES)
TOKEN = to_token(SHA256, ARRAYS)


def refusal(token, sha256=SHA256, shapes=SHAPES):
    with pytest.raises(RequestError) as refused:
        from_token(token, sha256, shapes)
    assert (refused.value.status, refused.value.path) == (422, "$.state")
    return refused.value.message


def test_a_token_is_the_state():
    for found, right in zip(from_token(TOKEN, SHA256, SHAPES), ARRAYS, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, right)


def test_a_token_may_stand_in_an_address():
    content = np.frombuffer(b"\xff\xfe\xfb\x01" * 5, np.float32)
    assert "/" not in to_token(SHA256, (content,))
    assert "+" not in to_token(SHA256, (content,))


def test_tokens_of_other_models_and_batches():
    assert "another model's" in refusal(to_token("ab" * 32, ARRAYS))
    assert "expected a state of 53 numbers for these observations, found 29" in refusal(TOKEN, shapes=((2, 6, 4), (5,)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_state_is_finite(value):
    broken = (ARRAYS[0], np.array([0, 0, value, 0, 0], np.float32))
    assert refusal(to_token(SHA256, broken)) == "the state holds NaN or infinity"


@pytest.mark.parametrize(
    "token", ["", "x", "====", "é", "\ud800", TOKEN[:-1], TOKEN + "A", TOKEN + "\n", "A" * 100_000]
)
def test_what_is_no_token(token):
    refusal(token)


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="latin-1"))
def test_a_damaged_token_is_refused_or_another_finite_state(place, character):
    token = TOKEN[:place] + character + TOKEN[place + 1 :]
    try:
        found = from_token(token, SHA256, SHAPES)
    except RequestError as error:
        assert error.status == 422  # noqa: PT017
    else:
        assert [array.shape for array in found] == list(SHAPES)
        assert all(np.isfinite(array).all() for array in found)
        assert base64.urlsafe_b64decode(token)[:MARK] == bytes.fromhex(SHA256)[:MARK]
