"""
The server's processes: their start, signals, replaced workers, packages that are loaded again.
"""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack
from urllib.request import urlopen

import pytest

from tests.serve.packages import PREDICTOR, write_package
from tests.serve.serving import Stream, body, command, eventually, post, serving
from tests.thorough import chosen


@pytest.fixture
def package(tmp_path):
    return write_package(tmp_path / "double")


def predict(server, *numbers):
    with Stream(server.connect()) as stream:
        return stream.ask(post(body(*numbers))).json["action"]


def test_says_where_it_answers_once_it_does(tmp_path, package):
    with serving(tmp_path, package, "--workers", 2) as server:
        assert predict(server, 21) == 42
        assert server.started["workers"] == 2 == len(server.workers)
        assert [model["name"] for model in server.started["models"]] == ["double"]
        assert server.log.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_what_is_under_way(tmp_path, package, number):
    with serving(tmp_path, package, "--workers", 1) as server, ExitStack() as connections:
        idle, asked, slow = (connections.enter_context(Stream(server.connect())) for _ in range(3))
        assert asked.ask(post(body(1))).status == 200
        slow.send(post(body(4, 0.6)))
        time.sleep(0.2)
        server.signal(number)
        answer = slow.next()
        assert answer is not None
        assert answer.json == {"action": 8}
        assert slow.next() is None
        assert idle.next() is None
        assert asked.next() is None
        assert server.process.wait(10) == 0


def test_signals_of_a_terminal_reach_all_processes(tmp_path, package):
    with serving(tmp_path, package, "--workers", 2) as server:
        workers = server.workers
        os.killpg(server.process.pid, signal.SIGHUP)
        eventually(lambda: "looking for changed packages" in server.log.read_text())
        assert predict(server, 3) == 6
        assert server.workers == workers
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(10) == 0
        assert server.log.read_text().count("\n") == 1


def test_readiness_is_gone_before_the_server_is(tmp_path, package):
    ready = b"GET /v2/health/ready HTTP/1.1\r\nHost: test\r\n\r\n"
    with serving(tmp_path, package, "--workers", 1) as server, Stream(server.connect()) as kept:
        with Stream(server.connect()) as stream:
            assert stream.ask(ready).json == {"ready": True}
        assert kept.ask(post(body(1))).headers.get("connection") is None
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        with Stream(server.connect()) as stream:
            assert stream.ask(ready).status == 503
        # A connection that is kept loses no request: it learns from an answer that it ends.
        answer = kept.ask(post(body(2)))
        assert (answer.json, answer.headers["connection"]) == ({"action": 4}, "close")
        assert server.process.wait(10) == 0


# The deadline of the body, or the server's own for its workers, which takes 9 seconds.
@pytest.mark.parametrize("seconds", chosen([1, 60], 1))
def test_clients_that_never_end_do_not_keep_it(tmp_path, package, seconds):
    with serving(tmp_path, package, "--body-timeout", seconds) as server, server.connect() as stuck:
        stuck.sendall(b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf a body")
        time.sleep(0.2)
        server.signal(signal.SIGTERM)
        assert server.process.wait(11) == 0


def test_a_killed_worker_is_replaced_and_what_comes_meanwhile_waits_for_its_successor(tmp_path, package):
    with serving(tmp_path, package, "--workers", 1) as server:
        time.sleep(0.6)  # a younger worker would be replaced a little later
        for number in range(3):
            (worker,) = server.workers
            os.kill(worker, signal.SIGKILL)
            assert predict(server, number) == 2 * number
            assert server.workers != [worker]
        assert server.log.read_text().count("ended by SIGKILL") == 3
        with urlopen(f"{server.url}/metrics") as metrics:
            assert b"policyc_workers_replaced_total 3.0" in metrics.read()


def test_nobody_waits_for_a_worker_that_can_not_begin(tmp_path, package):
    with serving(tmp_path, package, "--workers", 2) as server:
        time.sleep(0.6)
        write_package(package, build=1, source="raise ValueError('broken')\n")
        os.kill(server.workers[0], signal.SIGKILL)
        eventually(lambda: "ended with status 1" in server.log.read_text())
        assert "can't begin" in server.log.read_text()
        # About half of these would be the missing worker's.
        assert [predict(server, number) for number in range(20)] == [2 * number for number in range(20)]
        write_package(package, build=2)
        eventually(lambda: {predict(server, 0) for _ in range(20)} == {0, 2})


def test_workers_end_with_their_master(tmp_path, package):
    with serving(tmp_path, package, "--workers", 2) as server:
        workers = server.workers
        server.signal(signal.SIGKILL)
        server.process.wait(10)
        eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))


def test_a_changed_package_is_loaded_again_without_losing_a_request(tmp_path, package):
    """
    Connections are kept open over the change; each sees the former build, then the new one, and never the former again.
    """
    with serving(tmp_path, package, "--workers", 2) as server:
        stop = threading.Event()
        seen: list[list[int]] = [[] for _ in range(4)]

        def ask(answers):
            with Stream(server.connect()) as stream:
                number = 0
                while not stop.is_set():
                    number += 1
                    answers.append(stream.ask(post(body(number))).json["action"] - 2 * number)

        threads = [threading.Thread(target=ask, args=(answers,)) for answers in seen]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: all(len(answers) > 20 for answers in seen))
            before = server.workers
            write_package(package, build=1)
            server.signal(signal.SIGHUP)
            eventually(lambda: all(answers[-1] == 1 for answers in seen))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for answers in seen:
            assert answers == sorted(answers)
            assert set(answers) == {0, 1}
        assert server.workers == before
        assert server.log.read_text().count("is loaded again") == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("raise RuntimeError('half written')\n", "half written", id="fails"),
        pytest.param(PREDICTOR.replace('"{name}"', '"other"'), "is named 'other' now", id="another-name"),
    ],
)
def test_the_former_build_answers_where_the_new_one_can_not(tmp_path, package, source, said):
    with serving(tmp_path, package, "--workers", 1) as server:
        write_package(package, build=1, source=source)
        server.signal(signal.SIGHUP)
        eventually(lambda: said in server.log.read_text())
        assert predict(server, 3) == 6
        write_package(package, build=2)
        server.signal(signal.SIGHUP)
        eventually(lambda: predict(server, 3) == 8)


def refused(*arguments, **options):
    """
    What a server says that can't begin.
    """
    found = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, **options)
    assert (found.returncode, found.stdout) == (3, "")
    return found.stderr


def test_a_port_that_is_taken(tmp_path, package):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = refused(package, "--port", taken.getsockname()[1])
    assert "another process listens there" in said
    # Another server of ours would share the port, if it were not asked for first.
    with serving(tmp_path, package) as server:
        assert "another process listens there" in refused(package, "--port", server.port)


def test_an_address_that_is_not_ours(package):
    assert "is no address of this machine" in refused(package, "--host", "192.0.2.1")


@pytest.mark.parametrize("broken", ["missing", "import", "exit", "twice"])
def test_a_package_that_can_not_be_served(tmp_path, package, broken):
    other = write_package(tmp_path / "other", source="raise ValueError('broken')\n")
    died = write_package(tmp_path / "died", source="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    said = {
        "missing": "there is no such folder",
        "import": "can't be imported: ValueError",
        "exit": "worker 1: ended by SIGKILL before it could answer",
        "twice": "has the name 'double'",
    }
    second = {"missing": tmp_path / "none", "import": other, "exit": died, "twice": package}[broken]
    assert said[broken] in refused(package, second, "--port", 0)


@pytest.mark.parametrize(
    "wrong",
    ["--port 99999", "--port=-1", "--workers 0", "--max-body 0", "--body-timeout 0", "--header-timeout nan"],
)
def test_numbers_that_make_no_sense(package, wrong):
    assert re.search(r"expected [\d.]+ (to \d+|or more), found", refused(package, *wrong.split()))


def test_a_token_that_is_none(tmp_path, package):
    (tmp_path / "empty").write_text("\n")
    assert "is empty" in refused(package, "--port", 0, "--token-file", tmp_path / "empty")
    assert "can't be read" in refused(package, "--port", 0, "--token-file", tmp_path / "none")
    (tmp_path / "two").write_text("one\ntwo\n")
    assert "a token of one line of ASCII" in refused(package, "--port", 0, "--token-file", tmp_path / "two")
