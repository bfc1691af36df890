"""
One line for each request: what is in it, what never is, and that nobody waits for it.
"""

import json
import os
import select
import signal
import time

import pytest

from compiler.serve import logs
from compiler.serve.logs import Entry, RequestLog, line
from tests.serve.packages import write_package
from tests.serve.serving import Stream, body, post, serving

ENTRY = Entry(1.5, "192.0.2.1:1234", "POST", "/predict", 200, 30, 13, 12.34, "cartpole", "")


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_line_says_what_happened():
    assert json.loads(line(ENTRY._replace(id="7"))) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "client": "192.0.2.1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "bytes_in": 30,
        "bytes_out": 13,
        "microseconds": 12.3,
        "model": "cartpole",
        "id": "7",
    }


HOSTILE = ["a\nb", 'a", "status": 200', "\x1b[2J", "\x9b2J", "\u2028", "\ud800", "é", "a" * 9000]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_a_client_sends_stays_within_its_value(hostile):
    found = line(ENTRY._replace(path=f"/{hostile}", id=hostile, method=hostile))
    assert found.isascii()
    assert found.decode()[:-1].isprintable()
    assert found.count(b"\n") == 1
    assert len(found) < 1500
    assert json.loads(found)["status"] == 200
    assert json.loads(line(ENTRY._replace(status=404, path=hostile)))["status"] == 404


def test_lines_are_written_while_others_come_and_at_the_end(pipe):
    read, write = pipe
    log = RequestLog(write)
    log.add(ENTRY)
    assert json.loads(os.read(read, 65536))["status"] == 200
    for number in range(200):
        log.add(ENTRY._replace(status=number))
    log.close()
    found = os.read(read, 65536)
    assert [json.loads(text)["status"] for text in found.splitlines()] == list(range(200))


def test_who_does_not_read_keeps_nobody_waiting(pipe, monkeypatch):
    monkeypatch.setattr(logs, "MOST", 2000)
    monkeypatch.setattr(logs, "END", 0.1)
    read, write = pipe
    log = RequestLog(write)
    for _ in range(10_000):
        log.add(ENTRY)
    assert log.dropped >= 8000
    log.close()
    found = b""
    while log._thread.is_alive():
        found += os.read(read, 65536) if select.select([read], [], [], 0.1)[0] else b""
    assert {"dropped"} < set().union(*(json.loads(text) for text in found.splitlines()))


def test_who_has_gone_ends_the_log_alone():
    read, write = os.pipe()
    os.close(read)
    log = RequestLog(write)
    log.add(ENTRY)
    log.close()
    log.add(ENTRY)
    assert not log._entries
    os.close(write)


def test_a_server_logs_what_it_answers(tmp_path):
    package = write_package(tmp_path / "double")
    with serving(tmp_path, package, "--log-requests") as server, Stream(server.connect()) as stream:
        stream.ask(post(body(17.25), "/predict?token=secret", "X-Request-ID: mine"))
        stream.ask(post(b"{", "/models/double/predict"))
        stream.ask(post(b"", "/%0a%22"))
        time.sleep(0.3)  # these are written before the signal
        stream.ask(post(body(1)))
        server.signal(signal.SIGTERM)
        assert server.process.stdout is not None
        lines = server.process.stdout.read().decode().splitlines()
        found = [json.loads(text) for text in lines]
        assert [(entry["path"], entry["status"], entry.get("model")) for entry in found] == [
            ("/predict", 200, "double"),
            ("/models/double/predict", 400, "double"),
            ('/\\n"', 404, None),
            ("/predict", 200, "double"),
        ]
        assert found[0]["id"] == "mine"
        assert found[0]["client"] == "127.0.0.1"
        assert found[0]["bytes_in"] == len(body(17.25))
        assert found[0]["bytes_out"] == len(b'{"action": 34}')
        assert 0 < found[0]["microseconds"] < 10_000_000
        assert "17.25" not in str(lines)
        assert "secret" not in str(lines)
        assert server.log.read_text() == ""
