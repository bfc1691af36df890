"""
Requests for PyTorch programs, and their answers: those of the package's own `predict`, bit for bit.
"""

import numpy as np
import pytest

from compiler.serve.answers import RequestError
from tests.general_models import WORDS
from tests.serve.endpoints import PROGRAMS, ask, encoded, endpoints, given_of, plain, refusal, right_of, sentences_of


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    with endpoints(tmp_path_factory.mktemp("programs")) as found:
        yield found


@pytest.mark.parametrize("name", ["mixed", "keywords", "camera", "sentences"])
def test_arrays_by_their_names_alone_and_in_batches(models, name):
    endpoint = models.program(name)
    batch = given_of(name, 3)
    alone = {key: array[1] for key, array in batch.items()}
    one = {key: array[:1] for key, array in batch.items()}
    for given in (batch, alone, one):
        right = right_of(endpoint, given)
        assert ask(endpoint, {"inputs": plain(given)}) == right
        assert ask(endpoint, {"inputs": encoded(given)}) == right
        backwards = dict(reversed(given.items()))
        assert ask(endpoint, {"inputs": plain(backwards)}) == right
    assert len(set(map(str, right_of(endpoint, batch)["outputs"][endpoint.outputs[0]]))) == 3


def test_a_program_without_a_batch(models):
    endpoint, given = models.program("alone"), {key: array[0] for key, array in given_of("alone", 1).items()}
    right = right_of(endpoint, given)
    assert ask(endpoint, {"inputs": encoded(given)}) == right
    assert ask(endpoint, {"inputs": plain(given)}) == right
    found = refusal(endpoint, {"inputs": plain(given) | {"double": [IMAGE]}})
    assert found == (422, "$.inputs.double[0][0]", "expected a number, found an array of length 3")
    found = refusal(endpoint, {"inputs": plain(given) | {"double": [[1.0]]}})
    assert found == (422, "$.inputs.double", "double: expected shape (2, 3), found (1, 1)")


def test_every_length(models):
    endpoint = models.program("sentences")
    for length in (2, 7, 20):
        given = sentences_of(2, length)
        assert ask(endpoint, {"inputs": plain(given)}) == right_of(endpoint, given)
    for length in (1, 21):
        status, path, message = refusal(endpoint, {"inputs": plain(sentences_of(2, length))})
        assert (status, path) == (422, "$.inputs.length")
        assert "expected shape (2 to 20, 3)" in message
        assert f"found (2, {length}, 3)" in message
    several = sentences_of(2, 5) | {"words": sentences_of(2, 6)["words"]}
    found = refusal(endpoint, {"inputs": plain(several)})
    assert found == (422, "$.inputs", "all inputs must have one length, found 5 and 6")


def test_a_state_goes_to_and_fro(models):
    endpoint, steps = models.program("counter"), np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    token: dict[str, str] = {}
    state, name = None, "new"
    for step in steps:
        right, state = endpoint.package.predict(step, state)
        found = ask(endpoint, {"inputs": {"x": step.tolist()}, **token})
        assert found == {"outputs": {"y": right.tolist()}, "state": found["state"]}
        token = {"state": found["state"]}
        kept = ask(endpoint, {"inputs": {"x": step.tolist()}, "session": name})
        assert kept == {"outputs": {"y": right.tolist()}, "session": kept["session"]}
        name = kept["session"]


def test_whole_numbers_may_be_given_where_fractions_are(models):
    endpoint = models.program("counter")
    assert ask(endpoint, {"inputs": {"x": [1, -2]}})["outputs"] == {"y": [4.0, -2.0]}


def test_truth_values_may_be_numbers(models):
    endpoint, given = models.program("mixed"), plain(given_of("mixed", 2))
    right = ask(endpoint, {"inputs": given})
    given["weights"] = [[int(flag) for flag in row] for row in given["weights"]]
    assert ask(endpoint, {"inputs": given}) == right


def test_the_time_is_a_detail(models):
    endpoint, given = models.program("camera"), plain(given_of("camera", 1))
    found = ask(endpoint, {"inputs": given, "details": True})
    assert found.pop("microseconds") > 0
    assert found == ask(endpoint, {"inputs": given})


IMAGE = [[1, 2, 3], [4, 5, 6]]
GOOD = {"double": IMAGE, "count": [1, 2, 3, 4], "weights": [True, False, True]}
ONES = encoded(np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("changed", "path", "message"),
    [
        ({"double": [[1, 2, 3], [4, 5]]}, ".double", "expected nested arrays of one length at each depth, found"),
        ({"double": [[1, 2, 3], [4, [5], 6]]}, ".double", "expected nested arrays of one length at each depth, found"),
        ({"double": IMAGE[:1]}, ".double", "double: expected shape (2, 3), or a batch"),
        ({"double": [[[IMAGE]]]}, ".double[0][0][0]", "expected a number, found an array of length 2"),
        ({"double": []}, ".double", "expected an array of length >= 1, found an array of length 0"),
        ({"double": [[], []]}, ".double[0]", "expected an array of length >= 1, found an array of length 0"),
        ({"double": 3}, ".double", "expected an object or an array, found 3"),
        ({"double": None}, ".double", "expected an object or an array, found null"),
        ({"double": [["1", 2, 3], [4, 5, 6]]}, ".double[0][0]", "expected a number or an array, found a text"),
        ({"double": [[1e39, 2, 3], [4, 5, 6]]}, ".double[0][0]", "expected a number <= 3.4028235677973362e+38"),
        ({"double": [IMAGE, IMAGE]}, "", "all inputs must have as many observations, found [(2,"),
        ({"double": {**ONES, "shape": [3, 2]}}, ".double", "double: expected shape (2, 3), or a batch"),
        ({"double": {**ONES, "shape": [2, 4]}}, ".double.base64", "expected 32 bytes for shape [2, 4]"),
        ({"double": {**ONES, "shape": [2, -3]}}, ".double.shape[1]", "expected a whole number >= 1, found -3"),
        ({"double": {**ONES, "dtype": "float16"}}, ".double.dtype", "expected one of float32, float64, uint8"),
        ({"double": {**ONES, "base64": "!"}}, ".double.base64", "expected base64"),
        ({"double": {"shape": [2, 3]}}, ".double", "expected a field `base64`, found none"),
        ({"double": encoded(np.full((2, 3), np.nan, np.float32))}, "", "an input holds NaN or infinity"),
        ({"count": [1, 2, 3, 4.5]}, ".count[3]", "expected a whole number or an array, found 4.5"),
        ({"count": [1, 2, 3, 4.0]}, ".count[3]", "expected a whole number or an array, found 4.0"),
        ({"count": [1, 2, 3, True]}, ".count[3]", "expected a whole number or an array, found true"),
        ({"count": [1, 2, 3, WORDS]}, ".count", "count: expected whole numbers from 0 to 8, found 9"),
        ({"count": [1, 2, 3, 2**63]}, ".count[3]", "expected a whole number <= 9223372036854775807"),
        ({"count": encoded(np.ones(4, np.float32))}, ".count", "count: expected int64, found float32"),
        ({"weights": [2, 0, 1]}, ".weights[0]", "expected a whole number <= 1, found 2"),
        ({"weights": encoded(np.ones(3, np.int64))}, ".weights", "weights: expected bool, found int64"),
        ({"other": 1}, "", "there is no field `other`"),
    ],
)
def test_inputs_that_do_not_fit(models, changed, path, message):
    endpoint = models.program("mixed")
    ask(endpoint, {"inputs": GOOD})
    status, place, found = refusal(endpoint, {"inputs": GOOD | changed})
    assert (status, place) == (422, f"$.inputs{path}")
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        ({}, "$", "expected a field `inputs`, found none"),
        ({"inputs": {}}, "$.inputs", "expected a field `double`, found none"),
        ({"inputs": [IMAGE]}, "$.inputs", "expected an object, found an array of length 1"),
        ({"inputs": GOOD, "state": "AAAA"}, "$", "there is no field `state`, expected some of inputs, details"),
        ({"observation": [1]}, "$", "there is no field `observation`, expected some of inputs, details"),
    ],
)
def test_requests_that_do_not_fit(models, content, path, message):
    assert refusal(models.program("mixed"), content) == (422, path, message)


@pytest.mark.parametrize("value", [256, -1, 0.5, 1.0])
def test_bytes_are_whole_numbers_to_255(models, value):
    endpoint, given = models.program("camera"), plain(given_of("camera", 1))
    given["letters"][0][2] = value
    status, path, _ = refusal(endpoint, {"inputs": given})
    assert (status, path) == (422, "$.inputs.letters[0][2]")


def test_bytes_do_not_say_which_array_they_are(models):
    with pytest.raises(RequestError, match="send JSON") as refused:
        models.program("camera").answer_in_bytes(bytes(8))
    assert refused.value.status == 415


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_is_answered(models, name):
    endpoint = models.program(name)
    question = endpoint.example()
    status, _, _ = endpoint.result(question, endpoint.compute(question))
    assert status == 200
