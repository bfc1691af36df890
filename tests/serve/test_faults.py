"""
Clients that are broken, slow, gone or hostile: answered as they should be, or not at all, and nobody else notices.
"""

import select
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serve.packages import write_package
from tests.serve.serving import Stream, body, eventually, post, serving

LIMIT = 2**17
SECONDS = 1
GOOD = body(21)
BYTES = "Content-Type: application/octet-stream"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    limits = ["--max-body", LIMIT, "--body-timeout", SECONDS, "--header-timeout", SECONDS]
    with serving(folder, write_package(folder / "double"), *limits) as running:
        yield running


@pytest.fixture(autouse=True)
def sound(server):
    """
    After each test the server answers as before, in the same process, and has nothing to report.
    """
    workers = server.workers
    yield
    with Stream(server.connect()) as stream:
        assert stream.ask(post(GOOD)).json == {"action": 42}
        assert stream.ask(post(GOOD)).json == {"action": 42}
    assert server.workers == workers
    assert server.log.read_text() == ""


def answers(server, *parts, pause=0.0, end=False):
    """
    The statuses of all answers on a connection that sends these parts, and whether the server ends it.

    Args:
        server: that is asked.
        parts: what is sent.
        pause: seconds between them.
        end: whether the client says that it sends no more.
    """
    with Stream(server.connect(timeout=3 * SECONDS)) as stream:
        for number, part in enumerate(parts):
            if number:
                time.sleep(pause)
            stream.send(part)
        if end:
            stream.connection.shutdown(socket.SHUT_WR)
        return all_answers(stream)


def all_answers(stream):
    """
    The statuses of all answers that still come on a connection, and whether the server ends it.
    """
    found = []
    try:
        while answer := stream.next():
            if answer.status >= 400 and answer.body:
                assert answer.json["error"]
            found.append(answer.status)
    except TimeoutError:
        return found, False
    return found, True


HEAD = b"POST /predict HTTP/1.1\r\nHost: test\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunks(content, size=10):
    parts = [content[begin : begin + size] for begin in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, id="two-lengths"),
        pytest.param(HEAD + b"Content-Length: 5, 5\r\n\r\nabcde", 400, id="list-of-lengths"),
        pytest.param(HEAD + b"Content-Length: +5\r\n\r\nabcde", 400, id="length-with-sign"),
        pytest.param(HEAD + b"Content-Length: 0x5\r\n\r\nabcde", 400, id="hexadecimal-length"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", 400, id="negative-length"),
        pytest.param(HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", 400, id="endless-length"),
        pytest.param(HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), 413, id="too-long"),
        pytest.param(HEAD + b"Content-Length: %d\r\n\r\n" % 2**60, 413, id="much-too-long"),
        pytest.param(CHUNKED + chunks(b" " * (LIMIT + 1), LIMIT // 2), 413, id="too-long-in-chunks"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\n", 400, id="endless-chunk"),
        pytest.param(CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", 400, id="chunk-without-size"),
        pytest.param(CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", 400, id="chunk-longer-than-its-size"),
        pytest.param(CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", 400, id="chunk-of-negative-size"),
        pytest.param(HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc", 400, id="other-transfer-encoding"),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, id="almost-chunked"),
        pytest.param(b"POST /predict HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="chunks-in-1.0"),
        pytest.param(HEAD + b"X: " + b"a" * 2**17 + b"\r\n\r\n", 431, id="long-header"),
        pytest.param(HEAD + b"".join(b"X%d: a\r\n" % n for n in range(500)) + b"\r\n", 431, id="many-headers"),
        pytest.param(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="long-address"),
        pytest.param(HEAD + b"X Y: a\r\n\r\n", 400, id="space-in-name"),
        pytest.param(HEAD + b"X: a\r\n b\r\n\r\n", 400, id="folded-header"),
        pytest.param(HEAD + b"X: a\x00b\r\n\r\n", 400, id="zero-in-header"),
        pytest.param(b"HELLO\r\n\r\n", 400, id="no-http"),
        pytest.param(b"GET / HTTP/3.7\r\n\r\n", 400, id="no-such-version"),
        pytest.param(CHUNKED + chunks(GOOD)[:-2] + b"X: trailer\r\n\r\n", 400, id="trailers"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 300, 400, id="tls"),
        pytest.param(b"GET /\xff HTTP/1.1\r\n\r\n", 400, id="address-in-latin-1"),
    ],
)
def test_requests_that_are_refused(server, sent, status):
    assert answers(server, sent) == ([status], True)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /%ff%00%2e%2e/..//predict HTTP/1.1\r\nHost: test\r\n\r\n", 404, id="odd-address"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n", 404, id="asterisk"),
        pytest.param(b"GET http://elsewhere/predict HTTP/1.1\r\nHost: test\r\n\r\n", 405, id="absolute"),
        pytest.param(b"HEAD /models HTTP/1.1\r\nHost: test\r\n\r\n", 200, id="head"),
        pytest.param(b"DELETE /predict HTTP/1.1\r\nHost: test\r\n\r\n", 405, id="other-method"),
        pytest.param(b"BREW /predict HTTP/1.1\r\nHost: test\r\n\r\n", 405, id="unknown-method"),
        pytest.param(b"OPTIONS /predict HTTP/1.1\r\nHost: test\r\n\r\n", 204, id="options"),
        pytest.param(b"GET /models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, id="kept-in-1.0"),
        pytest.param(post(GOOD).replace(b"Host: test", b"Host: test\r\nX: \xff\xfe"), 200, id="latin-1"),
        pytest.param(post(b"{", "/predict"), 400, id="no-json"),
        pytest.param(post(b"", "/predict"), 400, id="empty"),
        pytest.param(post(b"[" * 50_000, "/predict"), 400, id="deep"),
        pytest.param(post(b"1" * 50_000, "/predict"), 400, id="many-digits"),
        pytest.param(post(GOOD, "/predict", "Content-Type: image/png"), 415, id="other-type"),
        pytest.param(post(GOOD, "/predict", "Content-Encoding: gzip"), 415, id="compressed"),
        pytest.param(post(b"\0" * 16, "/predict", BYTES, "Content-Encoding: br"), 415, id="compressed-bytes"),
        pytest.param(post(GOOD, "/predict", "Content-Encoding: identity"), 200, id="not-compressed"),
        pytest.param(post(GOOD, "/nothing"), 404, id="nothing-there"),
        pytest.param(CHUNKED + chunks(GOOD), 200, id="chunks"),
        pytest.param(CHUNKED + b"5;name=value\r\n" + chunks(GOOD, 5)[3:], 200, id="chunk-extension"),
    ],
)
def test_connections_that_go_on_after_an_answer(server, sent, status):
    with Stream(server.connect()) as stream:
        stream.send(sent)
        if sent.startswith(b"HEAD"):
            line = stream.file.readline()
            while stream.file.readline() != b"\r\n":
                pass
            assert int(line.split()[1]) == status
        else:
            answer = stream.next()
            assert answer is not None
            assert answer.status == status
        assert stream.ask(post(GOOD)).json == {"action": 42}


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(GOOD),
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunks(GOOD),
    ],
)
def test_two_ways_to_say_the_length_smuggle_no_request(server, sent):
    """
    hyper reads the chunks and ends the connection: what another server would take for the next request is never read.
    """
    assert answers(server, sent + post(GOOD)) == ([200], True)


def test_requests_are_answered_in_the_order_of_coming(server):
    with Stream(server.connect()) as stream:
        stream.send(b"".join(post(body(number)) for number in range(50)))
        for number in range(50):
            answer = stream.next()
            assert answer is not None
            assert answer.json == {"action": 2 * number}


def test_who_expects_100_is_told_to_go_on_or_not(server):
    expecting = b"POST /predict HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with Stream(server.connect()) as stream:
        stream.send(expecting % len(GOOD))
        first = stream.next()
        assert first is not None
        assert first.status == 100
        assert stream.ask(GOOD).json == {"action": 42}
    assert answers(server, expecting % (LIMIT + 1)) == ([413], True)


SLOW = [
    (b"", []),
    (b"POST /pre", []),
    (HEAD, []),
    (post(GOOD)[:-5], [408]),
    (CHUNKED + b"5\r\nab", [408]),
    (CHUNKED + chunks(GOOD)[:-5], [408]),
    (HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT, [408]),
    (post(GOOD), [200]),
]
"""What is sent before nothing more comes, and how it is answered: all at once, since each takes its time."""


def test_slow_clients_are_given_up(server):
    with ExitStack() as connections:
        streams = [connections.enter_context(Stream(server.connect(timeout=5 * SECONDS))) for _ in SLOW]
        for stream, (sent, _) in zip(streams, SLOW, strict=True):
            stream.send(sent)
        for stream, (sent, statuses) in zip(streams, SLOW, strict=True):
            assert (sent, all_answers(stream)) == (sent, (statuses, True))


def test_a_body_that_drips_is_given_up(server):
    """
    The deadline is that of the whole body: a byte now and then does not put it off.
    """
    with Stream(server.connect()) as stream:
        stream.send(HEAD + b"Content-Length: 1000\r\n\r\n")
        begin = time.monotonic()
        while not select.select([stream.connection], [], [], SECONDS / 10)[0]:
            assert time.monotonic() < begin + 10 * SECONDS
            stream.send(b" ")
        answer = stream.next()
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (408, "close")


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(post(GOOD)[:-5], [400], id="body"),
        pytest.param(CHUNKED + b"5\r\nab", [400], id="chunk"),
        pytest.param(CHUNKED + chunks(GOOD)[:-5], [400], id="end-of-chunks"),
        pytest.param(HEAD, [], id="head"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [], id="http2"),
    ],
)
def test_clients_that_stop_in_the_middle(server, sent, statuses):
    assert answers(server, sent, end=True) == (statuses, True)


def test_a_client_that_asks_and_then_says_that_it_sends_no_more(server):
    """
    hyper takes the end of what a client sends for the end of the client, if it sees it before the answer is there.
    """
    assert answers(server, post(GOOD), end=True) in [([], True), ([200], True)]


@pytest.mark.parametrize("sent", [post(GOOD)[:-5], CHUNKED + b"5\r\nab", HEAD, post(body(1, 0.2)), post(GOOD) * 50])
def test_clients_that_vanish(server, sent):
    """
    Their connections are reset, before, while and after their request is computed.
    """
    for _ in range(20):
        connection = server.connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(sent)
        connection.close()
        if b"0.2" in sent:
            break


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_answers_that_nobody_reads_are_given_up(server):
    (worker,) = server.workers

    def connections():
        files = [entry.readlink() for entry in Path(f"/proc/{worker}/fd").iterdir() if entry.is_symlink()]
        return sum("socket" in str(file) for file in files)

    time.sleep(2 * SECONDS)  # whatever former tests left is given up
    before = connections()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(SECONDS / 2)
        many = b"GET /models HTTP/1.1\r\nHost: test\r\n\r\n" * 500_000
        with pytest.raises((TimeoutError, ConnectionError)):
            connection.sendall(many)
        eventually(lambda: connections() == before, 20 * SECONDS)


def test_silent_connections_keep_nobody_out(server):
    with ExitStack() as connections:
        silent = [connections.enter_context(server.connect()) for _ in range(300)]
        for connection in silent[::2]:
            connection.sendall(HEAD)
        with Stream(server.connect()) as stream:
            assert stream.ask(post(GOOD)).json == {"action": 42}


def test_slow_bodies_keep_nobody_out(tmp_path):
    """
    Requests that wait for their client do not count as those that the server must compute.
    """
    limits = ["--max-waiting", 10, "--body-timeout", 5]
    with serving(tmp_path, write_package(tmp_path / "double"), *limits) as server, ExitStack() as connections:
        slow = [connections.enter_context(Stream(server.connect())) for _ in range(30)]
        for stream in slow:
            stream.send(post(GOOD)[:-5])
        time.sleep(2)
        with Stream(server.connect()) as stream:
            assert stream.ask(post(GOOD)).json == {"action": 42}
        for stream in slow[:10]:
            stream.send(GOOD[-5:])
            answer = stream.next()
            assert answer is not None
            assert answer.json == {"action": 42}


def test_too_many_requests_are_told_to_come_again(tmp_path):
    with (
        serving(tmp_path, write_package(tmp_path / "double"), "--max-waiting", 4) as server,
        ExitStack() as connections,
    ):
        streams = [connections.enter_context(Stream(server.connect())) for _ in range(20)]
        for stream in streams:
            stream.send(post(body(1, 0.05)))
        found = [stream.next() for stream in streams]
        good = [answer for answer in found if answer and answer.status == 200]
        bad = [answer for answer in found if answer and answer.status == 503]
        assert len(good) + len(bad) == 20
        assert bad
        assert len(good) >= 4
        assert all(answer.json == {"action": 2} for answer in good)
        assert all(answer.headers["retry-after"] == "1" and answer.json["error"] for answer in bad)
        # Who was refused has its connection still.
        again = streams[found.index(bad[0])]
        assert again.ask(post(GOOD)).json == {"action": 42}


def test_long_bodies_share_a_bounded_memory(server):
    """
    There is room for 16 of them: others are told to come again, and have room once these are gone.
    """
    head = HEAD + b"Content-Length: %d\r\n\r\n" % LIMIT
    with ExitStack() as connections:
        streams = [connections.enter_context(Stream(server.connect())) for _ in range(20)]
        for stream in streams:
            stream.send(head + b" ")
        found = [stream.next() for stream in streams]
        assert sorted(answer.status for answer in found if answer) == [408] * 16 + [503] * 4
    with Stream(server.connect()) as stream:
        assert stream.ask(post(GOOD + b" " * (LIMIT - len(GOOD)))).json == {"action": 42}


def test_the_server_counts_no_error_of_its_own_and_no_request_that_is_over(server):
    assert answers(server, post(GOOD)[:-5]) == ([408], True)
    with Stream(server.connect()) as stream:
        stream.send(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = stream.next()
    assert answer is not None
    lines = answer.body.decode().splitlines()
    assert not [line for line in lines if 'code="500"' in line]
    assert [line for line in lines if 'code="408"' in line]
    assert "policyc_requests_in_flight 1.0" in lines
