"""
States that the server keeps: across workers, until they expire, one request after the other.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from compiler.serve.answers import RequestError
from compiler.serve.requests import ABSENT
from compiler.serve.sessions import NEW, Sessions, recall, remember

SHA = "ab" * 32
SHAPES = ((2, 1, 3), (2, 1, 3))


@pytest.fixture
def clock(monkeypatch):
    """
    The time, which a test moves on.
    """
    now = SimpleNamespace(time=1000.0)
    monkeypatch.setattr("compiler.serve.sessions.time.time", lambda: now.time)
    return now


@pytest.fixture
def sessions(tmp_path):
    return Sessions(tmp_path / "sessions", 60, 3)


def request(state=ABSENT, session=ABSENT):
    return SimpleNamespace(state=state, session=session)


def states(seed):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in SHAPES)


def refused(call, *arguments):
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value


def test_a_session_goes_on_where_it_was_in_every_worker(sessions):
    begun = recall(request(session=NEW), SHA, SHAPES, sessions)
    assert begun.arrays is None
    name = remember(begun, SHA, states(1), sessions)["session"]
    other = Sessions(sessions.path, 60, 3)
    for step in range(2, 5):
        worker = (sessions, other)[step % 2]
        found = recall(request(session=name), SHA, SHAPES, worker)
        for array, expected in zip(found.arrays or (), states(step - 1), strict=True):
            np.testing.assert_array_equal(array, expected)
        assert remember(found, SHA, states(step), worker) == {"session": name}


def test_a_token_is_for_clients_that_keep_their_state_themselves(sessions):
    answer = remember(recall(request(), SHA, SHAPES, sessions), SHA, states(1), sessions)
    found = recall(request(state=answer["state"]), SHA, SHAPES, sessions)
    for array, expected in zip(found.arrays or (), states(1), strict=True):
        np.testing.assert_array_equal(array, expected)
    assert not sessions.path.exists()
    both = refused(recall, request(state=answer["state"], session=NEW), SHA, SHAPES, sessions)
    assert (both.status, both.message) == (422, "expected `state` or `session`, found both")


def test_a_session_that_nobody_asks_expires(sessions, clock):
    name = sessions.begin(b"state")
    clock.time += 50
    sessions.leave(name, 0, b"next")
    clock.time += 50
    assert sessions.find(name) == (b"next", 1)
    clock.time += 61
    gone = refused(sessions.find, name)
    assert (gone.status, gone.path) == (404, "$.session")
    assert "expired after 60 s" in gone.message


def test_there_are_as_many_sessions_as_may_be(sessions, clock):
    for _ in range(3):
        sessions.begin(b"state")
        clock.time += 1
    full = refused(sessions.begin, b"state")
    assert (full.status, full.headers) == (503, [("retry-after", "60")])
    assert "3 sessions" in full.message
    clock.time += 57.5  # the first one has expired
    sessions.begin(b"state")
    refused(sessions.begin, b"state")


def test_of_two_requests_of_one_state_one_is_refused(sessions):
    name = sessions.begin(b"state")
    first, second = (recall_version(sessions, name) for _ in range(2))
    sessions.leave(name, first, b"first")
    late = refused(sessions.leave, name, second, b"second")
    assert late.status == 409
    assert sessions.find(name) == (b"first", 1)


def recall_version(sessions, name):
    return sessions.find(name)[1]


def test_another_models_session_and_another_batch_are_refused(sessions):
    name = remember(recall(request(session=NEW), SHA, SHAPES, sessions), SHA, states(1), sessions)["session"]
    other = refused(recall, request(session=name), "cd" * 32, SHAPES, sessions)
    assert (other.status, other.path) == (422, "$.session")
    assert "another model" in other.message
    batch = refused(recall, request(session=name), SHA, ((2, 2, 3), (2, 2, 3)), sessions)
    assert "expected a state of 24 numbers for these observations, found 12" in batch.message


@pytest.mark.parametrize("name", ["", "nothing", "' OR 1=1 --", "\0", "é" * 1000])
def test_what_is_no_id_is_not_found(sessions, name):
    sessions.begin(b"state")
    assert refused(sessions.find, name).status == 404


def test_a_file_that_somebody_took_away_is_made_again_for_all_workers(sessions, clock):
    sessions.begin(b"before")
    for file in sessions.path.parent.iterdir():
        file.unlink()
    name = sessions.begin(b"after")
    assert Sessions(sessions.path, 60, 3).find(name) == (b"after", 0)


def test_sessions_that_can_not_be_kept_are_refused_and_said_once(sessions, caplog):
    name = sessions.begin(b"state")
    folder = sessions.path.parent
    folder.rename(folder.with_name("away"))
    for call in (lambda: sessions.begin(b"state"), lambda: sessions.find(name), lambda: sessions.leave(name, 0, b"")):
        refusal = refused(call)
        assert (refusal.status, refusal.headers) == (503, [("retry-after", "10")])
    assert [record.message.partition(":")[0] for record in caplog.records] == [f"sessions can't be kept in {folder}"]
    folder.with_name("away").rename(folder)
    assert sessions.find(name) == (b"state", 0)
