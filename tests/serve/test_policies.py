"""
Requests for policies of every kind, and their answers: those of the package's own `predict`, bit for bit.
"""

import json

import numpy as np
import pytest

from compiler.serve.answers import RequestError
from compiler.serve.policies import DETAILS, Policy
from tests.generated_code.sampled import POLICIES as SAMPLED
from tests.policies import IMAGE, WIDE
from tests.serve.endpoints import ACTIONS, SPACES, ask, encoded, endpoints, plain, refusal, row_of, sample

ROWS = 3
SHORT = (1.5, -2.25, 0.125, 3.0)
"""An observation that float32 holds exactly."""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    with endpoints(tmp_path_factory.mktemp("policies")) as found:
        yield found


def seen_by(model):
    assert model.policy is not None
    return model.policy.observation_space


@pytest.mark.parametrize("name", SPACES)
def test_observations_of_every_space(models, name):
    endpoint, given = models.policy(f"sees {name}"), sample(SPACES[name], ROWS)
    right = plain(endpoint.package.predict(given)[0])
    assert len(set(map(str, right))) > 1, "whichever observation is computed, the action is the same"
    rows = [row_of(given, row) for row in range(ROWS)]
    assert ask(endpoint, {"observations": [plain(row) for row in rows]}) == {"actions": right}
    assert ask(endpoint, {"observations": [encoded(row) for row in rows]}) == {"actions": right}
    mixed = [encoded(row) if place % 2 else plain(row) for place, row in enumerate(rows)]
    assert ask(endpoint, {"observations": mixed}) == {"actions": right}
    for row, expected in zip(rows, (plain(endpoint.package.predict(row)[0]) for row in rows), strict=True):
        assert ask(endpoint, {"observation": plain(row)}) == {"action": expected}
        assert ask(endpoint, {"observation": encoded(row)}) == {"action": expected}
    if not isinstance(given, dict):
        assert ask(endpoint, {"observations": encoded(given)}) == {"actions": right}


@pytest.mark.parametrize("name", SPACES)
def test_an_example_is_an_observation(models, name):
    endpoint = models.policy(f"sees {name}")
    actions, _, _ = endpoint.compute(endpoint.example())
    assert actions.shape == (3,)


@pytest.mark.parametrize("name", [*(f"does {name}" for name in ACTIONS), "normalised"])
def test_actions_of_every_space(models, name):
    endpoint, given = models.policy(name), sample(WIDE, ROWS)
    right = endpoint.package.predict(given)[0]
    assert ask(endpoint, {"observations": given.tolist()}) == {"actions": right.tolist()}
    assert ask(endpoint, {"observation": given[1].tolist()}) == {"action": right[1].tolist()}
    for rows, expected in ((given, right), (given[1], right[1])):
        status, headers, body = endpoint.answer_in_bytes(rows.astype("<f4").tobytes())
        told = dict(headers)
        assert (status, told["content-type"]) == (200, "application/octet-stream")
        assert told["x-dtype"] == str(right.dtype)
        assert told["x-shape"] == ",".join(map(str, expected.shape))
        assert body == expected.astype(right.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize(
    ("name", "size"), [("sees float32", 3), ("sees image", 72), ("sees 0 dimensions", 1), ("normalised", 4)]
)
def test_bytes_have_whole_observations(models, name, size):
    endpoint = models.policy(name)
    assert endpoint.question_in_bytes(bytes(4 * size)).single
    assert endpoint.question_in_bytes(bytes(8 * size)).rows == 2
    for length in (0, 4 * size - 1, 4 * size + 4 if size > 1 else 5):
        with pytest.raises(
            RequestError, match=f"expected {size} float32 of 4 bytes .* found {length} bytes"
        ) as refused:
            endpoint.question_in_bytes(bytes(length))
        assert refused.value.status == 422


@pytest.mark.parametrize("name", ["sees parts", "sees choice", "draws recurrent"])
def test_bytes_are_for_one_array(models, name):
    with pytest.raises(RequestError, match="send JSON") as refused:
        models.policy(name).question_in_bytes(bytes(16))
    assert refused.value.status == 415


def test_bytes_that_are_not_finite_are_refused(models):
    endpoint = models.policy("does choice")
    with pytest.raises(RequestError, match="expected finite numbers, found nan") as refused:
        endpoint.answer_in_bytes(np.array([0, 1, np.nan, 2], "<f4").tobytes())
    assert refused.value.status == 422


def test_truth_values_are_any_bytes_but_0(models):
    given = encoded(np.array([2, 0, 255], np.uint8)) | {"dtype": "bool"}
    endpoint = models.policy("sees bool")
    right = endpoint.package.predict(np.array([True, False, True]))[0].tolist()
    assert ask(endpoint, {"observation": given}) == {"action": right}
    assert endpoint.question(json.dumps({"observation": given}).encode()).observation.tobytes() == b"\1\0\1"


def test_images_come_with_channels_first_or_last(models):
    endpoint, given = models.policy("sees image"), sample(IMAGE, ROWS)
    right = endpoint.package.predict(given)[0].tolist()
    last = given.transpose(0, 2, 3, 1)
    for form in (plain, encoded):
        assert ask(endpoint, {"observations": form(last)}) == {"actions": right}
        assert ask(endpoint, {"observation": form(last[2])}) == {"action": right[2]}
    both = [plain(given[0]), encoded(last[1])]
    assert refusal(endpoint, {"observations": both}) == (
        422,
        "$.observations",
        "expected images of one order, found channels first and last",
    )
    found = refusal(endpoint, {"observation": given[0, :, :7].tolist()})
    assert found == (422, "$.observation", "expected shape [1, 8, 9] or [8, 9, 1], found [1, 7, 9]")


@pytest.mark.parametrize(
    ("name", "sizes"), [("draws masked", (4,)), ("draws masked choices", (2, 3, 4)), ("draws masked bits", (2, 2, 2))]
)
def test_masks_of_one_and_of_many(models, name, sizes):
    endpoint, given, count = models.policy(name), sample(WIDE, 30), sum(sizes)
    masks = np.random.default_rng(1).random((30, count)) < 0.5
    begin = 0
    for size in sizes:  # one of each choice is allowed at least
        masks[np.arange(30), begin + np.arange(30) % size] = True
        begin += size
    right = endpoint.package.predict(given, action_masks=masks)[0].tolist()
    free = endpoint.package.predict(given)[0].tolist()
    assert right != free
    batch = {"observations": given.tolist()}
    assert ask(endpoint, batch) == {"actions": free}
    assert ask(endpoint, batch | {"action_masks": masks.tolist()}) == {"actions": right}
    assert ask(endpoint, batch | {"action_masks": masks.astype(int).tolist()}) == {"actions": right}
    for row in range(5):
        one = {"observation": given[row].tolist(), "action_masks": masks[row].astype(int).tolist()}
        assert ask(endpoint, one) == {"action": right[row]}


@pytest.mark.parametrize(
    ("masks", "path", "message"),
    [
        ([1] * 3, "$.action_masks", "expected shape [4], found [3]"),
        ([[1] * 4], "$.action_masks", "expected shape [4], found [1, 4]"),
        ([], "$.action_masks", "expected an array of length >= 1, found an array of length 0"),
        ([1, 0, 2, 0], "$.action_masks[2]", "expected a whole number <= 1, found 2"),
        ([1, 0, 0.5, 0], "$.action_masks[2]", "expected true or false or a whole number or an array, found 0.5"),
        ([[1, 0], [1]], "$.action_masks", "expected nested arrays of one length at each depth, found several lengths"),
        ("all", "$.action_masks", "expected an array, found a text"),
        (None, "$.action_masks", "expected an array, found null"),
    ],
)
def test_masks_that_do_not_fit(models, masks, path, message):
    found = refusal(models.policy("draws masked"), {"observation": SHORT, "action_masks": masks})
    assert found == (422, path, message)


def test_masks_of_a_batch_have_its_rows(models):
    batch = {"observations": [SHORT] * 2, "action_masks": [1, 1, 0, 0]}
    found = refusal(models.policy("draws masked"), batch)
    assert found == (422, "$.action_masks", "expected shape [2, 4], found [4]")


def test_masks_are_for_policies_that_take_them(models):
    found = refusal(models.policy("does choice"), {"observation": SHORT, "action_masks": [1] * 4})
    assert found[:2] == (422, "$")
    assert "no field `action_masks`, expected some of observation, observations, deterministic" in found[2]


@pytest.mark.parametrize("name", ["draws recurrent", "draws recurrent choice"])
@pytest.mark.parametrize("rows", [None, 3])
def test_tokens_carry_an_episode(models, name, rows):
    endpoint = models.policy(name)
    steps = sample(WIDE, 50 * (rows or 1)).reshape((50, 4) if rows is None else (50, rows, 4))
    key = "observation" if rows is None else "observations"
    state, token = None, None
    rng = np.random.default_rng(3)
    seen = set()
    for step, given in enumerate(steps):
        starts = rng.random(rows or 1) < 0.1 if step % 3 else np.zeros(rows or 1, bool)
        right, state = endpoint.package.predict(given, state, starts)
        content = {key: given.tolist()} | ({"state": token} if token else {})
        if starts.any():
            content["episode_start"] = bool(starts[0]) if rows is None else starts.tolist()
        found = ask(endpoint, content)
        assert found.keys() == {"action" if rows is None else "actions", "state"}
        assert found["action" if rows is None else "actions"] == right.tolist()
        token = found["state"]
        seen.add(token)
    assert len(seen) == 50


def test_an_episode_begins_where_it_is_said(models):
    endpoint = models.policy("draws recurrent")
    first, second = ask(endpoint, {"observation": SHORT}), ask(endpoint, {"observation": SHORT})
    assert first == second
    after = ask(endpoint, {"observation": SHORT, "state": first["state"]})
    assert after["action"] != first["action"]
    assert ask(endpoint, {"observation": SHORT, "state": after["state"], "episode_start": True}) == first
    both = {"observations": [SHORT] * 2}
    state = ask(endpoint, both)["state"]
    assert ask(endpoint, both | {"state": state, "episode_start": True}) == ask(endpoint, both)
    one = ask(endpoint, both | {"state": state, "episode_start": [False, True]})["actions"]
    assert one[0] != one[1]


@pytest.mark.parametrize(
    ("starts", "path", "message"),
    [
        ([True], "$.episode_start", "expected true or false, or 2 of them in an array, found an array of length 1"),
        ([], "$.episode_start", "expected true or false, or 2 of them in an array, found an array of length 0"),
        ([True, 1], "$.episode_start[1]", "expected true or false, found 1"),
        (0, "$.episode_start", "expected true or false or an array, found 0"),
    ],
)
def test_starts_that_do_not_fit(models, starts, path, message):
    endpoint = models.policy("draws recurrent")
    found = refusal(endpoint, {"observations": [SHORT] * 2, "episode_start": starts})
    assert found == (422, path, message)


@pytest.mark.parametrize("name", SAMPLED)
def test_details_are_what_the_package_gives(models, name):
    endpoint, model = models.policy(f"draws {name}"), SAMPLED[name]
    given = sample(seen_by(model), ROWS)
    package = endpoint.package
    rows = [plain(row_of(given, row)) for row in range(ROWS)]
    for observation, asked in ((given, {"observations": rows}), (row_of(given, 1), {"observation": rows[1]})):
        found = ask(endpoint, asked | {"details": True})
        offered = {name for name, own in DETAILS.items() if own in package.__all__}
        assert "scores" in offered
        assert found.keys() - {"action", "actions", "state", "microseconds"} == offered
        assert found["microseconds"] > 0
        for detail in offered:
            assert found[detail] == plain(getattr(package, DETAILS[detail])(observation))


def test_values_are_a_detail_where_they_are_built(models):
    endpoint, given = models.policy("values"), sample(WIDE, ROWS)
    right = endpoint.package.value(given).tolist()
    assert ask(endpoint, {"observations": given.tolist(), "details": True})["value"] == right
    one = ask(endpoint, {"observation": given[1].tolist(), "details": True})["value"]
    assert one == endpoint.package.value(given[1]).item()


def test_details_with_masks_are_those_with_masks(models):
    endpoint = models.policy("draws masked")
    found = ask(endpoint, {"observation": SHORT, "action_masks": [0, 1, 0, 1], "details": True})
    assert found["probabilities"][0] == found["probabilities"][2] == 0
    assert sum(found["probabilities"]) == pytest.approx(1)
    right = endpoint.package.action_probabilities(np.array(SHORT), action_masks=[False, True, False, True])
    assert found["probabilities"] == right.tolist()


@pytest.mark.parametrize("name", ["discrete", "dict", "masked", "recurrent choice"])
def test_what_is_drawn_is_as_often_as_is_likely(models, name):
    endpoint = models.policy(f"draws {name}")
    given = plain(row_of(sample(seen_by(SAMPLED[name]), 1), 0))
    likely = ask(endpoint, {"observation": given, "details": True})["probabilities"]
    drawn = ask(endpoint, {"observations": [given] * 1000, "deterministic": False})["actions"]
    shares = np.bincount(drawn, minlength=len(likely)) / 1000
    # Six standard deviations: once in 500 million runs.
    np.testing.assert_allclose(shares, likely, atol=6 * 0.5 / 1000**0.5)
    assert max(likely) < 0.95
    alone = {ask(endpoint, {"observation": given, "deterministic": False})["action"] for _ in range(200)}
    assert len(alone) > 1


def test_numbers_that_are_drawn_differ(models):
    endpoint = models.policy("draws clipped")
    first, second = (ask(endpoint, {"observation": SHORT, "deterministic": False})["action"] for _ in range(2))
    assert first != second
    best = ask(endpoint, {"observation": SHORT, "deterministic": True})
    assert best == ask(endpoint, {"observation": SHORT})


def test_a_policy_that_draws_nothing_gives_its_best(models):
    endpoint = models.policy("does choice")
    best = ask(endpoint, {"observation": SHORT})
    assert [ask(endpoint, {"observation": SHORT, "deterministic": False}) for _ in range(20)] == [best] * 20


FIELDS = ("cart position", "class", "é", "x.y")


def test_fields_are_the_numbers_of_an_observation(models):
    endpoint = models.policy("does numbers", FIELDS)
    given = dict(zip(FIELDS, SHORT, strict=True))
    right = ask(models.policy("does numbers"), {"observation": SHORT})
    assert ask(endpoint, given) == ask(endpoint, {"observation": SHORT}) == right
    detailed = ask(endpoint, given | {"details": True, "deterministic": True})
    assert detailed["action"] == right["action"]
    assert ask(endpoint, {"observations": [SHORT]}) == {"actions": [right["action"]]}


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        ({"class": 1, "é": 2}, "$", "expected all of cart position, class, é, x.y, found no cart position, x.y"),
        (
            {"observation": SHORT, "class": 1},
            "$",
            "expected observation or observations or all of cart position, class, é, x.y, found observation and fields",
        ),
        ({"class": "1"}, "$.class", "expected a number, found a text"),
        ({"class": 1e39}, "$.class", "expected a number <= 3.4028235677973362e+38, found 1e+39"),
    ],
)
def test_fields_that_do_not_fit(models, content, path, message):
    assert refusal(models.policy("does choice", FIELDS), content) == (422, path, message)


@pytest.mark.parametrize("number", [0.1, 1e-50, 16777217, -0.0, 1e-45, 2**30 + 1])
def test_observations_are_rounded_as_float32(models, number):
    endpoint, given = models.policy("does numbers"), [number, 0.3, -0.7, 1]
    right = endpoint.package.predict(np.array(given, np.float32))[0]
    assert ask(endpoint, {"observation": given}) == {"action": right.tolist()}


def test_the_largest_of_float32_may_be_written_short(models):
    given = models.policy("does choice").question(b'{"observation": [3.4028235e38, -3.4028235e+38, 1e-400, 3E0]}')
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(given.observation, [largest, -largest, 0, 3])


@pytest.mark.parametrize("name", ACTIONS)
def test_the_short_way_says_what_the_long_way_says(models, monkeypatch, name):
    endpoint, rows = models.policy(f"does {name}"), sample(WIDE, 20)
    asked = [(endpoint.answer, json.dumps({"observation": row.tolist()}).encode()) for row in rows]
    asked += [(endpoint.answer_in_bytes, row.astype("<f4").tobytes()) for row in rows]
    monkeypatch.setattr(Policy, "compute", None)  # what the long way needs
    short = [way(body) for way, body in asked]
    monkeypatch.undo()
    monkeypatch.setattr(endpoint, "short", 0)
    assert [way(body) for way, body in asked] == short
    assert len({answer[2] for answer in short}) > 2


def test_sessions_carry_an_episode(models):
    endpoint = models.policy("draws recurrent choice")
    name, state = "new", None
    for given in sample(WIDE, 10):
        right, state = endpoint.package.predict(given, state)
        found = ask(endpoint, {"observation": given.tolist(), "session": name})
        assert found == {"action": right.tolist(), "session": found["session"]}
        name = found["session"]
    assert name != "new"
