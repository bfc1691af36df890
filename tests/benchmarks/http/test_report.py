"""
What wrk prints is read rightly, and what a run found is shown so.
"""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.http import record
from benchmarks.http.load import parsed
from benchmarks.http.plot import plot
from benchmarks.http.processes import Machine, busy, family, memory, processor_time
from benchmarks.http.results import Checked, Measured, Process, Result, Started
from benchmarks.http.tables import document, tables

WRK = """Running 1s test @ http://127.0.0.1:8080/predict
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   817.27us  245.98us   4.61ms   81.20%
    Req/Sec    39.27k     2.80k   43.86k    66.67%
  39214 requests in 1.00s, 5.16MB read
Requests/sec:  39198.56
Transfer/sec:      5.16MB
{"requests": 39214, "microseconds": 1000394, "bytes": 5412532, "connect": 1, "read": 20, "write": 300, "status": 4000, \
"timeout": 50000, "p50": 780, "p99": 1802, "p99.9": 2999, "max": 4610}
"""
ONE = Measured(
    "policyc serve", "JSON", 1, 32, True, 50_000.0, 5e-4, 2e-3, 3e-3, errors=0, cpu=0.9, others=0.1, rates=(5e4,)
)


def a_result():
    measured = [
        replace(ONE, server=server, connections=connections, rate=rate * connections / 32)
        for server, rate in (("policyc serve", 5e4), ("http.server", 200.0), ("FastAPI, torch", 6000.0))
        for connections in (1, 32)
    ]
    measured.append(replace(ONE, kind="octet-stream", rate=55_000.0))
    measured.append(replace(ONE, kind="JSON, 256 observations", rows=256, rate=4000.0))
    worker = Process(55_000_000, 40_000_000, 30_000_000)
    return Result(
        {"processor": "a | b"},
        [Started("policyc serve", "native", (0.2, 0.3, 0.25)), Started("http.server", "a peer", (2.0,))],
        {"BentoML": "not installed: bentoml"},
        [Checked("policyc serve", "JSON", 10, 0, 0, ""), Checked("http.server", "JSON", 9, 1, 2, "status 500")],
        measured,
        {"policyc serve": [replace(worker, resident=99_000_000), worker], "http.server": [worker]},
    )


def test_the_output_of_wrk():
    load = parsed(WRK)
    assert load.requests == 39214
    assert load.rate == pytest.approx(39198.56, rel=1e-5)
    assert (load.p50, load.p99, load.p999, load.longest) == pytest.approx((780e-6, 1802e-6, 2999e-6, 4610e-6))
    assert load.errors == 54321


def test_wrk_that_says_nothing():
    with pytest.raises(ValueError, match="one line of JSON is expected in what wrk prints, found 0"):
        parsed("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_reaches():
    found = {reach.what: (reach.found, reach.reached) for reach in a_result().reaches()}
    assert found == {
        "requests a second, JSON, 32 connections": ("50,000", True),
        "p99 of these": ("2.00 ms", True),
        "times the requests of http.server": ("250 x", True),
        "times the requests of FastAPI, torch": ("8.33 x", False),
        "times the requests as octet-stream": ("1.1 x", False),
        "times the observations a second, JSON, 256 observations": ("20.5 x", True),
        "from start to ready": ("250 ms", True),
        "resident memory of a worker": ("55.0 MB", True),
        "wrong or lost answers": ("0 of 10", True),
    }
    assert Result().reaches() == []


def test_a_result_as_json():
    result = a_result()
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_tables():
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115 (closed with the test)
    for table in tables(a_result()):
        console.print(table)
    console.file.close()
    text = console.export_text()
    (line,) = (line for line in text.splitlines() if "policyc serve" in line and "1,562" in line)
    cells = [cell.strip() for cell in line.strip("│┃ ").split("│")]
    assert cells == ["policyc serve", "1", "1,562", "1,562", "500 us", "2.00 ms", "3.00 ms", "0", "0.90", "576 us"]
    assert "not installed: bentoml" in text
    assert "JSON: status 500" in text


def test_the_document():
    text = document(a_result())
    assert "- processor: a | b\n" in text
    (line,) = (line for line in text.splitlines() if line.startswith("| policyc serve") and "250 ms" in line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["policyc serve", "250 ms", "55.0 MB", "40.0 MB", "30.0 MB", "2", "native"]
    (line,) = (line for line in text.splitlines() if line.startswith("| http.server") and "status 500" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")][1:4] == ["9", "1", "2"]


def test_the_plot():
    text = plot(a_result())
    root = xml.etree.ElementTree.fromstring(text)
    lines = root.findall("{*}polyline")
    assert len(lines) == 6  # three servers in two panels
    points = [map(float, point.split(",")) for point in lines[0].attrib["points"].split()]
    (across, down), (across_more, down_more) = points
    assert across < across_more
    assert down > down_more  # upwards: more requests with more connections
    words = {element.text for element in root.findall("{*}text")}
    assert {"FastAPI, torch", "http.server", "10,000", "connections"} <= words
    with pytest.raises(ValueError, match="nothing was measured"):
        plot(Result())


def test_what_is_recorded_is_what_is_shown():
    result = record.read()
    assert record.PLOT.read_text(encoding="utf-8") == plot(result)
    ours = [one for one in result.checked if one.server == "policyc serve"]
    assert ours
    assert all(one.wrong == one.lost == 0 for one in ours)


def test_a_run_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RECORD", tmp_path / "record.json")
    monkeypatch.setattr(record, "PLOT", tmp_path / "plot.svg")
    record.keep(a_result())
    assert record.read() == a_result()
    assert record.shown() == document(a_result())
    assert record.PLOT.read_text(encoding="utf-8") == plot(a_result())


def test_processes():
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    before = busy()
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            while len(found := family(process.pid)) < 2:
                assert process.poll() is None
            assert found[0] == process.pid
            sizes = memory(process.pid)
            assert 1_000_000 < sizes.private <= sizes.proportional <= sizes.resident < 100_000_000
            assert 0 <= processor_time(found) < 10
        finally:
            process.communicate(b"\n")
    assert busy() > before
    assert processor_time([process.pid]) == 0


@pytest.mark.skipif(not shutil.which("taskset"), reason="taskset is not installed")
def test_pinned():
    machine = Machine((0,), (min(os.sched_getaffinity(0)),))
    program = "import os; print(sorted(os.sched_getaffinity(0)))"
    command = machine.pinned([sys.executable, "-c", program], machine.load_cores)
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == list(machine.load_cores)


def test_cores_are_divided():
    cores = sorted(os.sched_getaffinity(0))
    machine = Machine.divided()
    assert machine.load_cores == (cores[-1],)
    assert set(machine.server_cores) == set(cores[:-1] or cores)
    assert Machine.divided(roaming=True).server_cores == tuple(cores)
