"""
What workers count is what `/metrics` says, whoever is asked, and whether the workers are still alive.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter_ns

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from compiler.serve.exposition import Identity, exposition
from compiler.serve.metrics import BATCHES, DURATIONS, OTHER, STATUSES, Table
from tests.serve.packages import write_package
from tests.serve.serving import Stream, body, post, serving

CARTPOLE, ARM = 0, 1
NAME = 'a"r\\m'
MODELS = [Identity("cartpole", "ab" * 32, "0.1.0", "cd" * 32), Identity(NAME, "0" * 64, "0.1.0", "")]


def table(workers: int = 2) -> Table:
    return Table(len(MODELS), workers)


def read(of: Table) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(of, MODELS, "")[0].decode()
    samples = [sample for family in prometheus(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def sample(of: Table, name: str, **labels: str) -> float:
    return read(of)[f"policyc_{name}", tuple(sorted(labels.items()))]


def test_rows_are_added_up() -> None:
    counted = table()
    predict = counted.requests(CARTPOLE, "predict")
    for worker, statuses in enumerate(((200, 200, 422), (200, 503)), 1):
        row = counted.row(worker)
        for status in statuses:
            row.answer(predict, status, row.begin())
    labels = {"model": "cartpole", "endpoint": "predict"}
    assert sample(counted, "requests_total", **labels, code="200") == 3
    assert sample(counted, "requests_total", **labels, code="422") == 1
    assert sample(counted, "request_failures_total", **labels) == 2
    assert sample(counted, "request_duration_seconds_count", **labels) == 5
    assert sample(counted, "request_duration_seconds_count", model="", endpoint="other") == 0


@pytest.mark.parametrize("place", [("cartpole", "predict"), ("cartpole", "infer"), (NAME, "predict"), ("", "other")])
@pytest.mark.parametrize("status", [100, 200, STATUSES - 1])
def test_a_cell_is_of_one_kind_of_request_and_status(place: tuple[str, str], status: int) -> None:
    counted = table(1)
    row, (model, endpoint) = counted.row(1), place
    kind = counted.requests([name.model for name in MODELS].index(model), endpoint) if model else OTHER
    row.answer(kind, status, row.begin())
    row.predict(counted.models[ARM], 5000)
    requests = {key: value for key, value in read(counted).items() if key[0] == "policyc_requests_total"}
    assert requests == {
        ("policyc_requests_total", (("code", str(status)), ("endpoint", endpoint), ("model", model))): 1
    }
    assert sample(counted, "batch_size_bucket", model=NAME, le="4096.0") == 0
    assert sample(counted, "batch_size_count", model=NAME) == 1
    assert sample(counted, "batch_size_sum", model=NAME) == 5000
    assert sample(counted, "observations_total", model="cartpole") == 0


def test_durations_are_seconds_in_cumulative_buckets() -> None:
    counted = table()
    row, labels = counted.row(2), {"model": NAME, "endpoint": "predict"}
    for seconds in (0, 0.003, 7):
        row.answer(counted.requests(ARM, "predict"), 200, perf_counter_ns() - int(seconds * 1e9))
    buckets = {
        dict(key)["le"]: value
        for (name, key), value in read(counted).items()
        if name == "policyc_request_duration_seconds_bucket" and set(labels.items()) <= set(key)
    }
    assert list(map(float, buckets)) == [*(bound / 1e9 for bound in DURATIONS), float("inf")]
    assert float(next(iter(buckets))) == 50e-6
    assert buckets["0.002"] == 1
    assert buckets["0.005"] == 2
    assert buckets["5.0"] == 2
    assert buckets["+Inf"] == 3
    assert sample(counted, "request_duration_seconds_sum", **labels) == pytest.approx(7.003, abs=0.5)


def test_a_batch_as_large_as_a_bound_is_in_its_bucket() -> None:
    counted = table()
    row, arm = counted.row(1), counted.models[ARM]
    for observations in (1, 8, 9):
        row.predict(arm, observations)
    assert sample(counted, "batch_size_bucket", model=NAME, le="8.0") == 2
    assert sample(counted, "batch_size_bucket", model=NAME, le="16.0") == 3
    assert sample(counted, "observations_total", model=NAME) == 18
    assert BATCHES[-1] == 4096


def test_requests_in_flight_and_waiting() -> None:
    counted = table()
    row, predict = counted.row(1), counted.requests(ARM, "predict")
    first, _ = row.begin(), row.begin()
    row.wait(2)
    row.wait(-1)
    row.answer(predict, 200, first)
    assert sample(counted, "requests_in_flight") == 1
    assert sample(counted, "requests_waiting") == 1
    counted.row(1).attach()  # the worker died, and its successor has nothing in flight
    assert sample(counted, "requests_in_flight") == 0
    assert sample(counted, "requests_waiting") == 0
    assert sample(counted, "requests_total", model=NAME, endpoint="predict", code="200") == 1


def test_reloads_and_replaced_workers() -> None:
    counted = table()
    counted.row(1).reload(counted.models[ARM], True)
    counted.row(2).reload(counted.models[ARM], False)
    counted.row(2).reload(counted.models[ARM], False)
    counted.row(0).replace()
    assert sample(counted, "model_reloads_total", model=NAME, result="ok") == 1
    assert sample(counted, "model_reloads_total", model=NAME, result="failed") == 2
    assert sample(counted, "workers_replaced_total") == 1


def test_the_models_and_the_process_of_each_worker_are_named() -> None:
    counted = table()
    counted.row(2).attach()
    found = read(counted)
    for identity in MODELS:
        assert found["policyc_model_info", tuple(sorted(identity._asdict().items()))] == 1
    assert found["process_resident_memory_bytes", (("worker", "2"),)] > 1e6
    assert found["process_open_fds", (("worker", "2"),)] > 2
    assert found["process_cpu_seconds_total", (("worker", "2"),)] > 0
    assert ("process_open_fds", (("worker", "1"),)) not in found


@pytest.mark.parametrize(
    ("accept", "parse", "content_type"),
    [
        ("", prometheus, "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text; version=1.0.0, text/plain; q=0.5",
            open_metrics,
            "application/openmetrics-text",
        ),
    ],
)
def test_both_formats_keep_the_rules_of_names(accept, parse, content_type) -> None:
    """
    Those of `promtool check metrics`: counters end in _total, and only they; base units; everything is explained.
    """
    counted = table()
    counted.row(1).attach()
    text, found = exposition(counted, MODELS, accept)
    assert found.startswith(content_type)
    families = list(parse(text.decode()))
    assert {"policyc_request_duration_seconds", "policyc_batch_size", "process_cpu_seconds"} <= {
        family.name.removesuffix("_total") for family in families
    }
    for family in families:
        assert family.documentation
        names = {sample.name for sample in family.samples}
        assert all(name.endswith("_total") == (family.type == "counter") for name in names), family
        assert not any(unit in family.name for unit in ("milliseconds", "microseconds", "kilobytes", "percent"))


def test_processes_share_the_table_and_their_death_loses_nothing() -> None:
    """
    In a process of its own, since this one has threads, with which none may be forked.
    """
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4000 6000\n"


FORKING = """
import os, signal
from compiler.serve.metrics import MORE, Table

table = Table(1, 4)
requests = table.requests(0, "predict")
children = []
for worker in range(1, 5):
    child = os.fork()
    if not child:
        row = table.row(worker)
        row.attach()
        for _ in range(1000):
            row.answer(requests, 200, row.begin())
            row.predict(table.models[0], 3 if worker % 2 else 1)
        os.kill(os.getpid(), signal.SIGKILL)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
assert sorted(table.pids) == sorted(children)
cells = table.totals()
print(table.answered(cells), cells[table.models[0] + MORE])
"""


def test_all_workers_of_a_server_give_one_truth(tmp_path: Path) -> None:
    """
    Whichever is asked, and after one has died.
    """
    with serving(tmp_path, write_package(tmp_path / "double"), "--workers", 2) as server:
        for number in range(40):
            with Stream(server.connect()) as connection:
                assert connection.ask(post(body(number))).status == 200
        os.kill(server.workers[0], signal.SIGKILL)
        end = time.monotonic() + 30
        said = ""
        while not all(line in said for line in ('worker="1"', 'worker="2"', "policyc_workers_replaced_total 1.0\n")):
            assert time.monotonic() < end
            with Stream(server.connect()) as connection:
                said = connection.ask(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").body.decode()
            assert 'policyc_requests_total{code="200",endpoint="predict",model="double"} 40.0\n' in said
            assert 'policyc_observations_total{model="double"} 40.0\n' in said
