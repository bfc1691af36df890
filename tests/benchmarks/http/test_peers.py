"""
Every peer answers as Stable-Baselines3 does, by the way that the load takes.
"""

import json
import shutil
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from benchmarks.http import client
from benchmarks.http.__main__ import main
from benchmarks.http.measuring import Plan, measure
from benchmarks.http.peers.policies import FOLDER, SIZE, stable_baselines3, torch_network
from benchmarks.http.processes import Machine
from benchmarks.http.servers import BENTOML, FASTAPI_ONNX, OURS, is_ready, running
from benchmarks.http.workload import KINDS, MANY, SINGLE, SINGLE_BYTES, Case
from benchmarks.http.workshop import Workshop
from tests.thorough import chosen

pytest.importorskip("stable_baselines3")
pytest.importorskip("onnx")

MACHINE = Machine.divided(roaming=True)
WITH_WRK = pytest.mark.skipif(not (shutil.which("wrk") and shutil.which("taskset")), reason="wrk is not installed")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workshop.prepared(tmp_path_factory.mktemp("http"))


@pytest.fixture
def here(shop, monkeypatch):
    monkeypatch.setenv(FOLDER, str(shop.folder))
    return shop


@contextmanager
def plain(kept):
    from benchmarks.http.peers.plain import Handler, Kept, Server

    handler = type("Tested", (Kept if kept else Handler,), {"predict": staticmethod(stable_baselines3())})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def assert_right(shop, port, path, case, count):
    verdict = client.check(port, path, case, shop.questions[case.kind], count)
    assert (verdict.wrong, verdict.lost, verdict.first) == (0, 0, "")
    assert verdict.right >= count


def test_the_questions_differ_and_have_both_answers(shop):
    assert {question.actions[0] for question in shop.questions[SINGLE]} == {0, 1}
    assert all(len(question.body) == 4 * SIZE for question in shop.questions[SINGLE_BYTES])
    for questions in shop.questions.values():
        assert len({question.body for question in questions}) == len(questions)


# One connection: of several at once PPO.predict mixes up the actions, since its threads share one distribution.
@pytest.mark.parametrize("kept", [False, True])
def test_http_server(here, kept):
    with plain(kept) as port:
        for kind in KINDS:
            assert_right(here, port, "/predict", Case(kind, 1, kept), 4)


def test_the_bare_network_in_torch(here):
    predict = torch_network()
    for question in here.questions[MANY]:
        observations = np.array(json.loads(question.body)["observations"], np.float32)
        assert predict(observations).tolist() == question.actions


def test_fastapi(shop):
    if lacking := FASTAPI_ONNX.lacks(sys.executable):
        pytest.skip(f"not installed: {lacking}")
    with running(FASTAPI_ONNX, sys.executable, shop.folder, MACHINE, shop.folder / "log") as one:
        for kind in KINDS:
            path = FASTAPI_ONNX.path(kind)
            assert path is not None
            for kept in (True, False):
                assert_right(shop, one.port, path, Case(kind, 3, kept), 6)
    assert not is_ready(one.port, FASTAPI_ONNX.ready)


@WITH_WRK
def test_a_whole_run(tmp_path):
    servers = [*chosen([OURS]), FASTAPI_ONNX, BENTOML]
    pythons = {server.name: sys.executable for server in servers}
    cases = (Case(SINGLE, 2), Case(SINGLE_BYTES, 2))
    plan = Plan(1, 1, 1, 8, servers, pythons, MACHINE, cases)
    result = measure(plan, tmp_path, lambda line: None)
    if FASTAPI_ONNX.name in result.missing:
        pytest.skip(result.missing[FASTAPI_ONNX.name])
    names = [server.name for server in servers if server.name not in result.missing]
    assert [one.server for one in result.measured] == names * 2
    for one in result.measured:
        assert one.rate > 10
        assert 0 < one.p50 <= one.p99 <= one.p999 < 10
        assert one.errors == 0
        assert 0 < one.cpu < 4
    assert all((one.right, one.wrong, one.lost) == (8, 0, 0) for one in result.checked)
    assert result.memory[FASTAPI_ONNX.name][-1].resident > 10_000_000
    assert result.missing.get(BENTOML.name) in (None, "not installed: bentoml")


def test_a_machine_without_wrk(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert main([]) == 2
    assert "not installed: wrk, taskset" in capsys.readouterr().err
