"""
Contests: who runs when, and what is made of the times.
"""

import gc

import pytest

from benchmarks.contest import QUICK, Contestant, Effort, Timing, compete, ratio

EFFORT = Effort(rounds=5, seconds=1.0, processes=1)


class Clock:
    """
    A clock that stands still unless somebody works.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def worker(self, name: str, seconds: float, slow_turns: tuple[int, ...] = ()):
        def work(value):
            if not self.log or self.log[-1] != name:
                self.log.append(name)
            turn = self.log.count(name)
            self.now += seconds * value * (100 if turn in slow_turns else 1)

        return Contestant(name, work, [1, 1, 1, 1])


def test_time_per_unit_of_work():
    clock = Clock()
    quick, slow = clock.worker("quick", 0.001), clock.worker("slow", 0.02)
    loop = Contestant("loop", clock.worker("loop", 0.5).call, [1], work=10)
    found = compete([quick, slow, loop], EFFORT, clock)
    assert [timing.name for timing in found] == ["quick", "slow", "loop"]
    assert [timing.median for timing in found] == pytest.approx([0.001, 0.02, 0.05])
    assert ratio(found[1], found[0]).value == pytest.approx(20)


def test_contestants_take_turns():
    clock = Clock()
    compete([clock.worker(name, 0.01) for name in "ABC"], EFFORT, clock)
    assert "".join(clock.log) == "ABC" + "ABC" * EFFORT.rounds  # first to find out how much fits in a turn


def test_a_disturbed_round_changes_nothing():
    clock = Clock()
    contestants = [clock.worker("A", 0.01), clock.worker("B", 0.03, slow_turns=(3, 5))]
    found = ratio(*reversed(compete(contestants, EFFORT, clock)))
    assert found.value == pytest.approx(3)
    assert found.low == pytest.approx(3)
    assert found.high > 100


def test_ratio_is_of_medians_and_its_spread_of_rounds():
    found = ratio(Timing("a", (10.0, 20.0, 30.0)), Timing("b", (1.0, 2.0, 10.0)))
    assert found.value == 10
    assert (found.low, found.high) == (6.5, 10)
    once = ratio(Timing("a", (10.0,)), Timing("b", (4.0,)))
    assert (once.value, once.low, once.high) == (2.5, 2.5, 2.5)


def test_the_collector_is_as_it_was():
    def work(value):
        assert not gc.isenabled()

    clock = Clock()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        compete([Contestant("fails", lambda value: 1 / value, [0])], QUICK, clock)
    assert gc.isenabled()
