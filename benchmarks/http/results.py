"""
What a run found, and whether it is what the issue asks for. Needs nothing but the standard library.
"""

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any

MB = 1_000_000
OURS, PLAIN, TORCH = "policyc serve", "http.server", "FastAPI, torch"
SINGLE, SINGLE_BYTES = "JSON", "octet-stream"
AT = 32


@dataclass(frozen=True)
class Started:
    """
    How long a server takes until it is ready.
    """

    server: str
    about: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """
        Over the starts.
        """
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Checked:
    """
    What became of requests whose answers were compared with those of Stable-Baselines3.
    """

    server: str
    case: str
    right: int
    wrong: int
    lost: int
    first: str


@dataclass(frozen=True)
class Process:
    """
    A process of a server after the load; bytes.
    """

    resident: int
    """All pages in memory, those of libraries included that other processes have too."""
    proportional: int
    """The same, where a page of several processes counts for each in part."""
    private: int
    """What no other process has."""


@dataclass(frozen=True)
class Measured:
    """
    A server under one kind of load: medians over its turns, in seconds.
    """

    server: str
    kind: str
    rows: int
    """Observations in a request."""
    connections: int
    kept: bool
    rate: float
    """Requests answered in a second."""
    p50: float
    p99: float
    p999: float
    errors: int
    cpu: float
    """Cores that the server kept busy."""
    others: float
    """Cores that processes kept busy which are neither the server's nor the load's: 0 on a quiet machine."""
    rates: tuple[float, ...]
    """Of each turn."""

    @property
    def processor_time(self) -> float:
        """
        Of the server for one request, in seconds. Unlike the rate it changes little where something else runs.
        """
        return self.cpu / self.rate if self.rate else math.nan


@dataclass(frozen=True)
class Reach:
    """
    Something that the issue asks for.
    """

    what: str
    wanted: str
    found: str
    reached: bool


@dataclass
class Result:
    """
    A whole run.
    """

    about: dict[str, str] = field(default_factory=dict)
    """The machine and how it was measured."""
    started: list[Started] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Servers that could not take part, with the reason."""
    checked: list[Checked] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    memory: dict[str, list[Process]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """
        All fields as plain JSON values.
        """
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Result":
        """
        The run that `to_json` wrote.
        """
        return cls(
            content["about"],
            [Started(**{**one, "seconds": tuple(one["seconds"])}) for one in content["started"]],
            content["missing"],
            [Checked(**one) for one in content["checked"]],
            [Measured(**{**one, "rates": tuple(one["rates"])}) for one in content["measured"]],
            {name: [Process(**one) for one in several] for name, several in content["memory"].items()},
        )

    def at(self, server: str, kind: str, connections: int = AT, kept: bool = True) -> Measured | None:
        """
        One case; None if it was not measured.
        """
        wanted = (server, kind, connections, kept)
        return next((one for one in self.measured if (one.server, one.kind, one.connections, one.kept) == wanted), None)

    def reaches(self) -> list[Reach]:
        """
        What the issue asks for, as far as it was measured.
        """
        ours = self.at(OURS, SINGLE)
        found: list[Reach] = []
        if ours is not None:
            found.append(
                Reach("requests a second, JSON, 32 connections", "45,000", f"{ours.rate:,.0f}", ours.rate >= 45e3)
            )
            found.append(Reach("p99 of these", "below 3 ms", f"{ours.p99 * 1e3:.2f} ms", ours.p99 < 3e-3))
            for peer, wanted in ((PLAIN, 200), (TORCH, 10)):
                if other := self.at(peer, SINGLE):
                    found.append(_ratio(f"times the requests of {peer}", wanted, ours.rate / other.rate))
            if octets := self.at(OURS, SINGLE_BYTES):
                found.append(_ratio("times the requests as octet-stream", 1.2, octets.rate / ours.rate))
            for many in (one for one in self.measured if one.server == OURS and one.rows > 1):
                what = f"times the observations a second, {many.kind}"
                found.append(_ratio(what, 10, many.rate * many.rows / ours.rate))
        for start in (one for one in self.started if one.server == OURS):
            found.append(
                Reach("from start to ready", "below 300 ms", f"{start.median * 1e3:.0f} ms", start.median < 0.3)
            )
        if workers := self.memory.get(OURS, [])[1:]:
            largest = max(one.resident for one in workers)
            found.append(
                Reach("resident memory of a worker", "below 60 MB", f"{largest / MB:.1f} MB", largest < 60 * MB)
            )
        wrong = sum(one.wrong + one.lost for one in self.checked if one.server == OURS)
        right = sum(one.right for one in self.checked if one.server == OURS)
        if right or wrong:
            found.append(Reach("wrong or lost answers", "0", f"{wrong} of {right + wrong:,}", not wrong))
        return found


def _ratio(what: str, wanted: float, found: float) -> Reach:
    return Reach(what, f"{wanted:g} x", f"{found:.3g} x", found >= wanted)
