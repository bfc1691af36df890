"""
A server under steady load, with everything at once that may happen to it, for as long as one likes: `nox -s soak`.

Clients with connections that last, and with one for each request, ask for actions that are known. Meanwhile others are
slow, vanish, flood the server with connections, send bodies that are too long or no JSON; the package is built anew and
loaded again every few seconds; and workers are killed. At the end the server gets SIGTERM while all still ask.

A request is lost if its connection ends without an answer, unless a worker was killed at that time: such ones are
counted apart. Lost requests, wrong answers, errors in the server's log and memory that keeps growing are failures.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from tests.serve.builds import Builds, CartPole, Doubles
from tests.serve.serving import Answer, Running, Stream, post, serving

KILL, RELOAD = 10.0, 3.0
"""Seconds between killed workers, and between builds."""
EXCUSED = 2.0
"""Seconds after a worker was killed in which connections may end: those that it had."""
GROWTH = 24 * 2**20
"""Bytes by which a process may grow after its first seconds."""
GROWTH_OF_BUILD = 2**20
"""The same, for each build that it has loaded: code that was once loaded stays in a process."""


@dataclass
class Shared:
    """
    What the clients need to know, and where they report.

    Attributes:
        port: of the server.
        builds: which answers are right.
        build: the number of the newest build.
        stopping: set before the server is told to stop.
        over: set when clients should end.
        found: takes what each client has counted.
    """

    port: int
    builds: Builds
    build: "Synchronized[int]"
    stopping: Event
    over: Event
    found: Any

    def connect(self) -> Stream:
        return Stream(socket.create_connection(("127.0.0.1", self.port), 20))


@dataclass
class Found:
    """
    What a client has seen.

    Attributes:
        counts: requests by what came of them.
        dropped: when connections ended without an answer.
        wrong: answers that are not right, described.
    """

    counts: Counter = field(default_factory=Counter)
    dropped: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def expect(self, kind: str, answer: Answer | None, *statuses: int) -> None:
        """
        Counts an answer that should have one of these statuses.
        """
        if answer is None:
            self.dropped.append(time.monotonic())
        elif answer.status not in statuses:
            self.wrong.append(f"{kind}: expected {statuses}, found {answer.status} {answer.body[:200]!r}")
        self.counts[kind] += 1


Client = Callable[[Shared, Found, random.Random], None]


def client(number: int, kind: str, run: Client, shared: Shared) -> None:
    """
    One process: repeats what a client of this kind does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found, chance = Found(), random.Random(number)
    while not shared.over.is_set():
        try:
            run(shared, found, chance)
        except ConnectionRefusedError:
            if shared.stopping.is_set():
                break
            found.wrong.append(f"{kind}: connection refused")
            time.sleep(0.1)
        except TimeoutError:
            found.wrong.append(f"{kind}: no answer within 20 seconds")
        except OSError:  # reset, or a broken pipe
            found.dropped.append(time.monotonic())
            if shared.stopping.is_set():
                break
    shared.found.put((kind, found))


def ask(shared: Shared, found: Found, chance: random.Random, stream: Stream, seen: int) -> tuple[int, bool]:
    """
    One request that must be answered rightly.

    Returns:
        The build that answered, `seen` or a later one, and whether the connection goes on.
    """
    rows = chance.choice([1, 1, 1, 1, 2, 20])
    observations = shared.builds.observations(chance, rows)
    form = chance.choice(["json", "bytes"])
    if form == "bytes":
        sent = post(observations.astype("<f4").tobytes(), "/predict", "Content-Type: application/octet-stream")
    elif rows == 1:
        sent = post(json.dumps({"observation": observations[0].tolist()}).encode())
    else:
        sent = post(json.dumps({"observations": observations.tolist()}).encode())
    stream.send(sent)
    answer = stream.next()
    found.expect("asked", answer, 200)
    if answer is None:
        return seen, False
    if answer.status == 200:
        if form == "bytes":
            actions = np.frombuffer(answer.body, "<i8")
        else:
            actions = np.atleast_1d(answer.json["action" if rows == 1 else "actions"])
        build = shared.builds.answered(observations, actions, seen, shared.build.value)
        if build is None:
            found.wrong.append(f"after build {seen}: {observations[:2].tolist()} gave {actions[:2].tolist()}")
        else:
            found.counts["saw a new build"] += 0 <= seen < build
            seen = build
    return seen, answer.headers.get("connection") != "close"


def lasting(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    Many requests on one connection: it meets builds in their order.
    """
    with shared.connect() as stream:
        seen, goes_on = -1, True
        while goes_on and not shared.over.is_set():
            seen, goes_on = ask(shared, found, chance, stream, seen)
    if shared.stopping.is_set():
        time.sleep(0.05)


def single(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    One request on a connection.
    """
    with shared.connect() as stream:
        ask(shared, found, chance, stream, -1)
    time.sleep(0.002)


def refused(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    Requests that are answered with an error, each with its own.
    """
    cases = [
        (post(b"{"), 400),
        (post(b"[" * 10_000), 400),
        (post(b'{"observation": [1, 2, 3]}'), 422),
        (post(b'{"observation": [1, 2, 3, "4"]}'), 422),
        (post(b'{"observations": []}'), 422),
        (post(b"abc", "/predict", "Content-Type: application/octet-stream"), 422),
        (post(b"", "/nothing"), 404),
        (b"GET /predict HTTP/1.1\r\nHost: test\r\n\r\n", 405),
        (b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /predict HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"what\r\n\r\n", 400),
    ]
    sent, status = chance.choice(cases)
    with shared.connect() as stream:
        stream.send(sent)
        found.expect("refused", stream.next(), status)
    time.sleep(0.01)


def slow(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    A body that never ends, or never comes.
    """
    with shared.connect() as stream:
        stream.send(post(b" " * 1000)[: -chance.randrange(1, 1000)])
        found.expect("slow", stream.next(), 408)


def vanishing(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    A connection that is reset somewhere in a request.
    """
    sent = post(b'{"observation": [1, 0, 0, 0]}')
    with shared.connect() as stream:
        stream.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.send(sent[: chance.randrange(1, len(sent) + 1)])
        if chance.random() < 0.5:
            time.sleep(0.002)
    found.counts["vanished"] += 1
    time.sleep(0.005)


def flooding(shared: Shared, found: Found, chance: random.Random) -> None:
    """
    Many connections at once, most of which say nothing.
    """
    streams = []
    try:
        for _ in range(200):
            streams.append(shared.connect())
        for stream in streams[::10]:
            ask(shared, found, chance, stream, -1)
    finally:
        for stream in streams:
            stream.close()
    found.counts["connections of floods"] += len(streams)
    time.sleep(0.5)


KINDS: dict[str, tuple[Client, int]] = {
    "lasting": (lasting, 3),
    "single": (single, 1),
    "refused": (refused, 1),
    "slow": (slow, 2),
    "vanishing": (vanishing, 1),
    "flooding": (flooding, 1),
}
"""What clients there are, and how many processes of each."""


def resident(pid: int) -> int:
    """
    The memory of a process in bytes; 0 for one that is gone.
    """
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


@dataclass
class Memory:
    """
    How processes grow.

    Attributes:
        first: of each, after its first seconds, and how many builds there were then.
        last: the same, now.
    """

    born: dict[int, float] = field(default_factory=dict)
    first: dict[int, tuple[int, int]] = field(default_factory=dict)
    last: dict[int, tuple[int, int]] = field(default_factory=dict)

    def look(self, pids: list[int], builds: int, settled: float) -> None:
        """
        Notes the memory of these processes, those that are younger than `settled` seconds excepted.
        """
        now = time.monotonic()
        for pid in pids:
            size = resident(pid)
            if size and now - self.born.setdefault(pid, now) >= settled:
                self.first.setdefault(pid, (size, builds))
                self.last[pid] = size, builds

    def grown(self) -> list[tuple[int, int, int, int]]:
        """
        For each process its number, memory, growth, and the builds that it loaded meanwhile.
        """
        return [
            (pid, size, size - self.first[pid][0], builds - self.first[pid][1])
            for pid, (size, builds) in self.last.items()
        ]


def disturb(server: Running, builds: Builds, build: "Synchronized[int]", seconds: float) -> tuple[list[float], Memory]:
    """
    Builds anew, kills and measures for so long.

    Returns:
        When workers were killed, and the memory of all processes.
    """
    chance, memory, kills = random.Random(0), Memory(), []
    begin = time.monotonic()
    settled, kill = min(5.0, seconds / 5), min(KILL, seconds / 2)
    next_kill, next_build = begin + kill, begin + min(RELOAD, seconds / 4)
    while (now := time.monotonic()) < begin + seconds:
        if now >= next_build:
            builds.change(build.value + 1)
            build.value += 1
            server.signal(signal.SIGHUP)
            next_build += min(RELOAD, seconds / 4)
        if now >= next_kill:
            kills.append(time.monotonic())
            os.kill(chance.choice(server.workers), signal.SIGKILL)
            next_kill += kill
        memory.look([server.process.pid, *server.workers], build.value, settled)
        time.sleep(0.1)
    return kills, memory


def soak(folder: Path, builds: Builds, seconds: float) -> list[str]:
    """
    Runs all of it.

    Args:
        folder: for the server's log.
        builds: of the package that is served.
        seconds: how long.

    Returns:
        What went wrong, a line each.
    """
    context = multiprocessing.get_context("fork")
    arguments = [builds.folder, "--workers", 2, "--body-timeout", 2, "--header-timeout", 5]
    with serving(folder, *arguments) as server:
        build = context.Value("i", 0)
        shared = Shared(server.port, builds, build, context.Event(), context.Event(), context.Queue())
        processes = [
            context.Process(target=client, args=(number, kind, run, shared), daemon=True)
            for kind, (run, count) in KINDS.items()
            for number in range(count)
        ]
        for process in processes:
            process.start()
        kills, memory = disturb(server, builds, build, seconds)
        shared.stopping.set()
        stopped = time.monotonic()
        server.signal(signal.SIGTERM)
        status = server.process.wait(15)
        ended = time.monotonic() - stopped
        shared.over.set()
        found = [shared.found.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        log = server.log.read_text().splitlines()
    return report(found, kills, stopped, memory, log, (status, ended))


def report(
    found: list[tuple[str, Found]],
    kills: list[float],
    stopped: float,
    memory: Memory,
    log: list[str],
    end: tuple[int, float],
) -> list[str]:
    """
    Prints what happened, and returns what should not have.
    """
    counts = sum((each.counts for _, each in found), Counter())
    dropped = [(kind, moment) for kind, each in found for moment in each.dropped]
    excused = [drop for drop in dropped if any(0 <= drop[1] - kill < EXCUSED for kill in kills)]
    # Who is slow when the server ends is not answered any more.
    excused += [drop for drop in dropped if drop[0] in ("slow", "flooding") and drop[1] >= stopped]
    lost = [drop for drop in dropped if drop not in excused]
    wrong = [text for _, each in found for text in each.wrong]
    wrong += [f"lost: a request of a client that is {kind}" for kind, _ in lost]
    for name, count in counts.most_common():
        print(f"{count:10,} {name}")
    print(f"{len(excused):10,} ended with a killed worker; {len(kills)} were killed")
    print(f"{len(lost):10,} lost")
    for pid, size, growth, loaded in memory.grown():
        print(f"process {pid}: {size / 2**20:.1f} MiB, {growth / 2**20:+.1f} MiB while {loaded} builds were loaded")
        if growth > GROWTH + GROWTH_OF_BUILD * loaded:
            wrong.append(f"process {pid} has grown by {growth / 2**20:.1f} MiB")
    print(f"ended with status {end[0]} after {end[1]:.1f} s")
    if end[0] != 0 or end[1] > 10:
        wrong.append(f"SIGTERM: expected status 0 within 10 s, found {end[0]} after {end[1]:.1f} s")
    usual = ("looking for changed packages", "is loaded again", "another one takes its place")
    wrong += [f"log: {line}" for line in log if not line.endswith(usual)]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--standin", action="store_true", help="serve a package written by hand, not a compiled one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wrong = soak(folder, (Doubles if options.standin else CartPole)(folder), 60 * options.minutes)
    for text in wrong[:50]:
        print(f"WRONG {text}")
    print(f"{len(wrong)} failures" if wrong else "no failures")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
