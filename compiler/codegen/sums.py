"""
Running through values that lie side by side, several registers of partial results at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

from compiler.codegen.body import Body, Running, sum_of

CHAINS = 4
"""Partial results at once: the processor begins the next addition before the last one is done."""


@dataclass(frozen=True)
class Fold:
    """
    How two values become one, and the value that changes nothing.
    """

    start: str
    combine: str
    """An expression of `a`, what there is so far, and `x`."""

    def of(self, a: str, x: str) -> str:
        """
        The expression with other operands.
        """
        return self.combine.format(a=a, x=x)


SUM = Fold("0.0", "{a} + {x}")
PRODUCT = Fold("1.0", "{a} * {x}")
LARGEST = Fold("-np.inf", "maximum({a}, {x})")
LEAST = Fold("np.inf", "minimum({a}, {x})")
ANY = Fold("0.0", "maximum({a}, {x})")
ALL = Fold("1.0", "minimum({a}, {x})")


def chains_of(body: Body, count: int) -> int:
    """
    Partial results for so many values.
    """
    return max(1, min(CHAINS, count // body.lanes))


def begin_chains(body: Body, chains: int, fold: Fold = SUM) -> None:
    """
    Writes the beginning of all partial results: `a0`, `a1` and so on.
    """
    body.add(*(f"a{chain} = splat({fold.start})" for chain in range(chains)))


def end_chains(body: Body, chains: int, fold: Fold = SUM) -> None:
    """
    Brings partial results together in `a0`.
    """
    body.add(*(f"a0 = {fold.of('a0', f'a{chain}')}" for chain in range(1, chains)))


Step = Callable[[str, str, int | str], list[str]]


def run_chains(body: Body, count: int, chains: int, step: Step) -> None:
    """
    Writes loops over `count` values.

    Args:
        body: where to.
        count: values.
        chains: partial results.
        step: the statements for a partial result, the place of a register's first value, and the values in it.
    """
    if isinstance(count, Running):
        _run_chains_of(body, count.text, chains, step)
        return
    rest = count % body.lanes
    whole = count - rest
    at_once = chains * body.lanes
    unrolled = whole - whole % at_once
    if unrolled:
        stride = f"{chains} * LANES" if chains > 1 else "LANES"
        with body.block(f"for i in range(0, {unrolled}, {stride}):" if unrolled > at_once else ""):
            first = "i" if unrolled > at_once else "0"
            for chain in range(chains):
                body.add(*step(f"a{chain}", sum_of((first, 1), ("1", chain * body.lanes)), body.lanes))
    if whole > unrolled:
        with body.block(f"for i in range({unrolled}, {whole}, LANES):"):
            body.add(*step("a0", "i", body.lanes))
    if rest:
        body.add(*step("a0", str(whole), rest))


def _run_chains_of(body: Body, count: str, chains: int, step: Step) -> None:
    """
    The same for a number that is known at run time.
    """
    body.add(f"count = {count}", "whole = count - count % LANES")
    first = "0"
    if chains > 1:
        body.add(f"unrolled = count - count % ({chains} * LANES)")
        with body.block(f"for i in range(0, unrolled, {chains} * LANES):"):
            for chain in range(chains):
                body.add(*step(f"a{chain}", sum_of(("i", 1), ("1", chain * body.lanes)), body.lanes))
        first = "unrolled"
    with body.block(f"for i in range({first}, whole, LANES):"):
        body.add(*step("a0", "i", body.lanes))
    if body.lanes > 1:
        with body.block("if whole < count:"):
            body.add("rest = count - whole", *step("a0", "whole", "rest"))


def fold_values(body: Body, source: str, begin: str, count: int, chains: int, fold: Fold) -> None:
    """
    Folds values that lie side by side into the chains.
    """

    def step(a: str, place: str, width: int | str) -> list[str]:
        value = body.load(source, sum_of((begin, 1), (place, 1)), width)
        if width == body.lanes or fold == SUM:
            return [f"{a} = {fold.of(a, value)}"]
        return [f"x = select(between(0, {width}), {value}, splat({fold.start}))", f"{a} = {fold.of(a, 'x')}"]

    run_chains(body, count, chains, step)


def fold_lanes(body: Body, fold: Fold) -> None:
    """
    Brings the lanes of `a0` together in each of its lanes.
    """
    if fold == SUM:
        body.add("a0 = splat(total(a0))")
        return
    body.add("best = splat(get(a0, 0))")
    with body.block("for lane in range(1, LANES):"):
        body.add(f"best = {fold.of('best', 'splat(get(a0, lane))')}")
    body.add("a0 = best")
