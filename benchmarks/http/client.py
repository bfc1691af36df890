"""
A load generator that looks at every answer: slower than wrk, and never used for figures.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.http.servers import HOST
from benchmarks.http.workload import Case, Exchange, Kind

HEAD_END = b"\r\n\r\n"
PATIENCE = 30
"""Seconds until an answer must be there."""


@dataclass
class Verdict:
    """
    What became of requests.
    """

    right: int = 0
    wrong: int = 0
    """Another status, body or action than expected."""
    lost: int = 0
    """Not answered."""
    first: str = ""
    """What was wrong or lost first."""


def check(port: int, path: str, case: Case, questions: Sequence[Exchange], count: int) -> Verdict:
    """
    Sends requests over as many connections as the case says, and compares every answer.

    Args:
        port: where the server listens.
        path: what is posted to.
        case: the kind of request, connections, whether they are kept.
        questions: requests with their answers, sent in turns.
        count: how many requests at least; every connection sends one.
    """
    verdict = Verdict()
    asyncio.run(_all(verdict, port, path, case, questions, max(1, -(-count // case.connections))))
    return verdict


async def _all(verdict: Verdict, port: int, path: str, case: Case, questions: Sequence[Exchange], each: int) -> None:
    turns = (
        [questions[(start * each + step) % len(questions)] for step in range(each)] for start in range(case.connections)
    )
    await asyncio.gather(*(_connection(verdict, port, path, case, turn) for turn in turns))


async def _connection(verdict: Verdict, port: int, path: str, case: Case, turn: Sequence[Exchange]) -> None:
    """
    One client: its requests one after the other, over one connection where the server keeps it.
    """
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    for question in turn:
        try:
            async with asyncio.timeout(PATIENCE):
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(HOST, port)
                writer.write(request(path, case, question.body))
                status, body, kept = await _answer(reader)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            verdict.lost += 1
            verdict.first = verdict.first or f"{type(error).__name__}: {error}"
            kept = False
        else:
            fault = _fault(case.kind, question, status, body)
            verdict.right += not fault
            verdict.wrong += bool(fault)
            verdict.first = verdict.first or fault
        if writer is not None and not (kept and case.kept):
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


def request(path: str, case: Case, body: bytes) -> bytes:
    """
    A request as it goes over the wire.
    """
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Content-Type: {case.kind.content_type}",
        f"Content-Length: {len(body)}",
        f"Connection: {'keep-alive' if case.kept else 'close'}",
    )
    return "\r\n".join(lines).encode() + HEAD_END + body


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """
    Status, body, and whether the server keeps the connection.

    Raises:
        ValueError: what came is no answer with a length.
    """
    first, *lines = (await reader.readuntil(HEAD_END)).decode("latin-1").split("\r\n")
    version, status, *_ = first.split()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    connection = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close")
    return int(status), body, connection.lower() != "close"


def _fault(kind: Kind, question: Exchange, status: int, body: bytes) -> str:
    """
    What is wrong with an answer; nothing if it is right.
    """
    try:
        actions = kind.actions(body) if status == 200 else None
    except (ValueError, KeyError, TypeError):
        actions = None
    return "" if actions == question.actions else f"status {status}, {body[:200]!r}"
