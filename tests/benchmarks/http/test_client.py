"""
The client that compares answers sees every kind of fault.
"""

import socketserver
import threading
from contextlib import contextmanager

import pytest

from benchmarks.http import client
from benchmarks.http.workload import MANY_BYTES, SINGLE, SINGLE_BYTES, Case, Exchange

RIGHT = b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{"action": 1}'
QUESTION = Exchange(b'{"observation": [1, 2, 3, 4]}', [1])


@contextmanager
def answering(content):
    """
    A server that sends the same to every request, and counts its connections.
    """
    connections = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            connections.append(self.client_address)
            while self.rfile.readline():
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                self.rfile.read(length)
                self.wfile.write(content)
                if not content.startswith(b"HTTP/1.1 ") or b"connection: close" in content:
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], connections
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("kept", "connections"), [(True, 3), (False, 12)])
def test_right_answers(kept, connections):
    with answering(RIGHT) as (port, seen):
        verdict = client.check(port, "/predict", Case(SINGLE, 3, kept), [QUESTION], 12)
    assert (verdict.right, verdict.wrong, verdict.lost, verdict.first) == (12, 0, 0, "")
    assert len(seen) == connections


def test_a_server_that_closes():
    content = RIGHT.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    with answering(content) as (port, seen):
        verdict = client.check(port, "/predict", Case(SINGLE, 1), [QUESTION], 4)
    assert (verdict.right, len(seen)) == (4, 4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (RIGHT.replace(b"1}", b"0}"), "status 200, b'{\"action\": 0}'"),
        (RIGHT.replace(b"200 OK", b"422 No"), "status 422"),
        (RIGHT.replace(b'"action"', b'"accion"'), "status 200"),
    ],
)
def test_wrong_answers(content, said):
    with answering(content) as (port, _):
        verdict = client.check(port, "/predict", Case(SINGLE, 2), [QUESTION], 4)
    assert (verdict.right, verdict.wrong, verdict.lost) == (0, 4, 0)
    assert said in verdict.first


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "IncompleteReadError"),
        (RIGHT.replace(b"13\r\n", b"99\r\nconnection: close\r\n"), "IncompleteReadError"),
        (b"SMTP\r\n\r\n", "ValueError"),
    ],
)
def test_lost_answers(content, said):
    with answering(content) as (port, _):
        verdict = client.check(port, "/predict", Case(SINGLE, 2), [QUESTION], 4)
    assert (verdict.right, verdict.wrong, verdict.lost) == (0, 0, 4)
    assert said in verdict.first


def test_nobody_listens():
    with answering(RIGHT) as (port, _):
        pass
    verdict = client.check(port, "/predict", Case(SINGLE, 1), [QUESTION], 2)
    assert (verdict.right, verdict.lost) == (0, 2)


@pytest.mark.parametrize("body", [b"", b"1234567", (0).to_bytes(8, "little") * 2, (1).to_bytes(4, "little")])
def test_other_bytes_than_expected(body):
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    with answering(answer) as (port, _):
        verdict = client.check(port, "/predict", Case(SINGLE_BYTES, 1), [Exchange(bytes(16), [1])], 1)
    assert verdict.wrong == 1


def test_a_request_on_the_wire():
    content = client.request("/predict", Case(MANY_BYTES, 1, kept=False), b"abc")
    head, _, body = content.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /predict HTTP/1.1"
    assert {b"Content-Length: 3", b"Content-Type: application/octet-stream", b"Connection: close"} <= set(lines)
    assert body == b"abc"
