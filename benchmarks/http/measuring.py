"""
The run itself: every server started, every answer checked, then the load, the servers taking turns.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http import client
from benchmarks.http.load import Load, generate
from benchmarks.http.processes import Machine, busy, family, memory, processor_time
from benchmarks.http.results import Checked, Measured, Result, Started
from benchmarks.http.servers import OURS, Running, Server, running, start_times
from benchmarks.http.workload import CASES, Case
from benchmarks.http.workshop import Workshop

Say = Callable[[str], None]
PEERS_STARTS = 3
"""Starts of a peer at most, each of which imports torch for seconds."""


@dataclass(frozen=True)
class Plan:
    """
    How much is measured.
    """

    seconds: float
    """Load for each case and server, over all rounds."""
    rounds: int
    """Turns of each server."""
    starts: int
    """Starts of our server."""
    requests: int
    """Requests checked for each case and server."""
    servers: Sequence[Server]
    pythons: Mapping[str, str]
    """The interpreter of each server, by its name."""
    machine: Machine
    cases: Sequence[Case] = CASES


def measure(plan: Plan, folder: Path, say: Say) -> Result:
    """
    Everything for all servers; those that lack something, or don't start, are named with the reason.

    Args:
        plan: how much.
        folder: for files; may be removed afterwards.
        say: gets a line for each thing that is begun.
    """
    shop, result = Workshop.prepared(folder), Result()
    with ExitStack() as stack:
        there: list[Running] = []
        for server in plan.servers:
            say(f"{server.name}: starting")
            try:
                result.started.append(_start_times(plan, server, shop))
                python, log = plan.pythons[server.name], folder / "server.log"
                there.append(stack.enter_context(running(server, python, folder, plan.machine, log)))
            except (ImportError, RuntimeError) as error:
                result.missing[server.name] = _reason(error)
        for case in plan.cases:
            say(f"checking: {case}")
            result.checked += [verdict for one in there if (verdict := _check(plan, shop, one, case))]
        for case in plan.cases:
            say(f"loading: {case}")
            result.measured += _loads(plan, shop, there, case)
        for one in there:
            result.memory[one.server.name] = [memory(process) for process in family(one.process.pid)]
    return result


def _reason(error: Exception) -> str:
    """
    The first line of what is wrong and the last, which is where a traceback says what happened.
    """
    lines = str(error).splitlines()
    return " ".join(dict.fromkeys([lines[0], lines[-1]]))


def _start_times(plan: Plan, server: Server, shop: Workshop) -> Started:
    """
    How long a server takes to be ready.

    Raises:
        ImportError: its Python lacks something.
        RuntimeError: it does not start.
    """
    python = plan.pythons[server.name]
    if module := server.lacks(python):
        raise ImportError(f"not installed: {module}")
    if server is OURS:
        shop.build()
    count = plan.starts if server is OURS else min(plan.starts, PEERS_STARTS)
    times = start_times(server, python, shop.folder, plan.machine, shop.folder / "server.log", count)
    return Started(server.name, server.about, tuple(times))


def _check(plan: Plan, shop: Workshop, one: Running, case: Case) -> Checked | None:
    path = one.server.path(case.kind)
    if path is None:
        return None
    verdict = client.check(one.port, path, case, shop.questions[case.kind], plan.requests)
    return Checked(one.server.name, str(case), verdict.right, verdict.wrong, verdict.lost, verdict.first)


def _loads(plan: Plan, shop: Workshop, servers: Sequence[Running], case: Case) -> list[Measured]:
    """
    One case for all servers, A B C A B C ...
    """
    body = shop.body(case.kind)
    turns: dict[str, list[Turn]] = {}
    for _ in range(plan.rounds):
        for one in servers:
            if path := one.server.path(case.kind):
                turn = _turn(plan, one, path, case, body)
                turns.setdefault(one.server.name, []).append(turn)
    return [_summary(name, case, several) for name, several in turns.items()]


@dataclass(frozen=True)
class Turn:
    """
    A server under load once.
    """

    load: Load
    cpu: float
    """Cores that the server kept busy."""
    others: float
    """Cores that processes kept busy which are neither the server's nor wrk's."""


def _turn(plan: Plan, one: Running, path: str, case: Case, body: Path) -> Turn:
    begin, everybody, used = time.perf_counter(), busy(), processor_time(family(one.process.pid))
    own = _children()
    load = generate(plan.machine, one.url(path), case, body, plan.seconds / plan.rounds)
    elapsed = time.perf_counter() - begin
    server = processor_time(family(one.process.pid)) - used
    others = busy() - everybody - server - (_children() - own)
    return Turn(load, server / elapsed, max(0.0, others / elapsed))


def _children() -> float:
    """
    Processor time of the children that ended, of which wrk is the last.
    """
    import resource  # which Windows lacks

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _summary(name: str, case: Case, turns: Sequence[Turn]) -> Measured:
    """
    The medians over the turns, and the sum of their errors.
    """

    def median(of: Callable[[Turn], float]) -> float:
        return statistics.median(map(of, turns))

    return Measured(
        server=name,
        kind=case.kind.name,
        rows=case.kind.rows,
        connections=case.connections,
        kept=case.kept,
        rate=median(lambda turn: turn.load.rate),
        p50=median(lambda turn: turn.load.p50),
        p99=median(lambda turn: turn.load.p99),
        p999=median(lambda turn: turn.load.p999),
        errors=sum(turn.load.errors for turn in turns),
        cpu=median(lambda turn: turn.cpu),
        others=median(lambda turn: turn.others),
        rates=tuple(turn.load.rate for turn in turns),
    )
