"""
wrk as the load generator: one thread on a core of its own, every connection sends its next request after an answer.

Its latencies are those that clients of such a closed loop see; a stalled server is not asked meanwhile.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.http.processes import Machine
from benchmarks.http.workload import Case

SCRIPT = Path(__file__).with_name("wrk.lua")
PATIENCE = 10
"""Seconds after which wrk counts an answer as a timeout."""
GRACE = 30
"""Seconds that wrk may take beyond what it was asked for."""
MICROSECOND = 1e-6


@dataclass(frozen=True)
class Load:
    """
    What one run of wrk found.
    """

    requests: int
    seconds: float
    p50: float
    """Seconds, as the other percentiles."""
    p99: float
    p999: float
    longest: float
    errors: int
    """Answers of status 400 and above, and connections that failed, broke or timed out."""

    @property
    def rate(self) -> float:
        """
        Requests answered in a second.
        """
        return self.requests / self.seconds


def generate(machine: Machine, url: str, case: Case, body: Path, seconds: float) -> Load:
    """
    Loads a server.

    Args:
        machine: says on which core wrk runs.
        url: what is posted to.
        case: how many connections, kept or not.
        body: the file of the request's body.
        seconds: how long; wrk counts whole seconds, at least one.

    Raises:
        RuntimeError: wrk failed.
    """
    command = [
        *("wrk", "-t1", f"-c{case.connections}", f"-d{max(1, round(seconds))}s", f"--timeout={PATIENCE}s"),
        *("-s", str(SCRIPT), url, "--", str(body), case.kind.content_type, "keep-alive" if case.kept else "close"),
    ]
    result = subprocess.run(
        machine.pinned(command, machine.load_cores), capture_output=True, text=True, timeout=seconds + PATIENCE + GRACE
    )
    if result.returncode:
        raise RuntimeError(f"wrk failed with status {result.returncode}: {result.stderr or result.stdout}")
    return parsed(result.stdout)


def parsed(output: str) -> Load:
    """
    What the script says at the end of wrk's own output.

    Raises:
        ValueError: it says nothing, as where wrk could not reach the server.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise ValueError(f"one line of JSON is expected in what wrk prints, found {len(lines)} in:\n{output}")
    said: dict[str, Any] = json.loads(lines[0])
    errors = sum(said[kind] for kind in ("connect", "read", "write", "status", "timeout"))
    p50, p99, p999, longest = (said[name] * MICROSECOND for name in ("p50", "p99", "p99.9", "max"))
    return Load(said["requests"], said["microseconds"] * MICROSECOND, p50, p99, p999, longest, errors)
