"""
Contestants doing the same work in turns, and what their times say.

Machines drift: other programs run, clocks change. So contestants take turns, A B C A B C ..., in rounds of some tens
of milliseconds each; what is reported is the median of each one's rounds, the ratio of these medians, and how much the
ratio varied from round to round.

Where everybody has one thread, processor time is measured: it is what a clock on the wall shows on a machine that does
nothing else, and stays so on one that does. Waiting is not part of it, which is to the advantage of a peer that hands
its work to another thread. With several threads the wall decides.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Clock = Callable[[], float]
PROCESSOR: Clock = time.process_time
WALL: Clock = time.perf_counter


@dataclass(frozen=True)
class Effort:
    """
    How much measuring is done.
    """

    rounds: int
    """Turns of every contestant."""
    seconds: float
    """How long a turn takes, about."""
    processes: int
    """Fresh interpreters, for what can be measured once in each."""


FULL = Effort(rounds=25, seconds=0.03, processes=11)
QUICK = Effort(rounds=3, seconds=0.002, processes=1)


@dataclass(frozen=True)
class Contestant:
    """
    Somebody who does the work.
    """

    name: str
    call: Callable[[Any], Any]
    inputs: Sequence[Any]
    """One after the other, in the form that this contestant likes best: making that form is not measured."""
    note: str = ""
    work: float = 1
    """Units of work in one call, where a call is a loop of its own."""


@dataclass(frozen=True)
class Missing:
    """
    Somebody who should have done the work.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Timing:
    """
    A contestant's rounds, in seconds per unit of work.
    """

    name: str
    rounds: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """
        The median over the rounds.
        """
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Ratio:
    """
    How many times longer one takes than another.
    """

    value: float
    """The ratio of the medians."""
    low: float
    """The lower quartile of the ratios in single rounds."""
    high: float
    """The upper quartile."""


def ratio(longer: Timing, shorter: Timing) -> Ratio:
    """
    How many times longer the first takes.
    """
    single = [a / b for a, b in zip(longer.rounds, shorter.rounds, strict=True)]
    low, _, high = statistics.quantiles(single, n=4, method="inclusive") if len(single) > 1 else single * 3
    return Ratio(longer.median / shorter.median, low, high)


def compete(contestants: Sequence[Contestant], effort: Effort, clock: Clock = PROCESSOR) -> list[Timing]:
    """
    The times of all contestants, measured in turns.

    Args:
        contestants: who takes part.
        effort: how many rounds, how long.
        clock: seconds from some moment on.
    """
    laps = [_laps(contestant, effort.seconds, clock) for contestant in contestants]
    rounds: list[list[float]] = [[] for _ in contestants]
    with _no_collector():
        for _ in range(effort.rounds):
            for contestant, count, times in zip(contestants, laps, rounds, strict=True):
                # Not measured: it finds the caches as the one before left them, and perhaps its threads still spinning.
                _run(contestant, max(1, count // 10))
                start = clock()
                _run(contestant, count)
                times.append((clock() - start) / (count * len(contestant.inputs) * contestant.work))
    return [Timing(one.name, tuple(times), one.note) for one, times in zip(contestants, rounds, strict=True)]


def _laps(contestant: Contestant, seconds: float, clock: Clock) -> int:
    """
    How often a contestant goes through its inputs in a turn.
    """
    _run(contestant, 1)
    laps = 1
    while True:
        start = clock()
        _run(contestant, laps)
        elapsed = clock() - start
        if elapsed >= seconds / 4:
            return max(1, round(laps * seconds / elapsed))
        laps *= 2


def _run(contestant: Contestant, laps: int) -> None:
    call, inputs = contestant.call, contestant.inputs
    for _ in range(laps):
        for value in inputs:
            call(value)


@contextmanager
def _no_collector() -> Iterator[None]:
    """
    Keeps Python's garbage collector from running in somebody's turn.
    """
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
