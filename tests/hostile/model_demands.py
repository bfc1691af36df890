"""
Model files that cost as much as a file can, and random ones.

Run as a program, this module decodes one file, or a series of random ones, in a process of its own, which the tests
watch for time, memory and crashes.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from compiler.errors import ModelFileError
from compiler.modelfile import decode, encode
from tests.hostile.model_files import Plain, grow, message, seal, sound
from tests.hostile.model_pointers import Wire, circle, shared_list, shared_text


def many_tensors(count: int, **changes: Any) -> bytes:
    """
    As many tensors as there may be, all sound.
    """
    plain = {"dtype": "float32", "shape": [{"size": 1}], "computed": None} | changes
    return seal(message(lambda f: f["tensors"].extend([{"name": f"t{index}", **plain} for index in range(count)])))


def many_constants(count: int) -> bytes:
    """
    As many constants as there may be, all sound.
    """

    def add(fields: Plain) -> None:
        for index in range(count):
            grow(fields, name=f"t{index}")

    return seal(message(add))


def many_attributes(count: int) -> bytes:
    """
    A node with as many attributes as there may be.
    """
    more = [{"name": f"a{index:06}", "int": index} for index in range(count)]
    return seal(message(lambda f: f["nodes"][0]["attributes"].extend(more)))


class Demanding(NamedTuple):
    """
    A file that costs as much as a file can, and how its outcome begins.
    """

    make: Callable[[], bytes]
    outcome: str


UNUSED = "refused: hostile: 51 problems"  # neither given nor constant nor computed
FULL = "refused: hostile: all lists together have more than 131072 elements"
DEMANDING: dict[str, Demanding] = {
    "Dict in itself": Demanding(lambda: circle(1), "refused: hostile: Dict spaces are nested more than 16 deep"),
    "Dict in itself, twice": Demanding(lambda: circle(2), "refused: hostile: Dict spaces are nested more than 16 deep"),
    "Dict in itself, 1000 times": Demanding(lambda: circle(1000), "refused: .* traversal limit"),
    "one text 130,000 times": Demanding(lambda: shared_text(130_000, 1 << 16), "refused: .* traversal limit"),
    "one text of 8 MiB 1000 times": Demanding(lambda: shared_text(1000, 8 << 20), "refused: .* traversal limit"),
    "one list of 100,000 in 20,000 nodes": Demanding(lambda: shared_list(20_000, 100_000), FULL),
    "one list of 1000 in 250 nodes": Demanding(lambda: shared_list(250, 1000), "refused: .* traversal limit"),
    "65,000 tensors": Demanding(lambda: many_tensors(65_000), UNUSED),
    "130,000 tensors without a dimension": Demanding(lambda: many_tensors(130_000, shape=[]), UNUSED),
    "65,000 tensors that are too large": Demanding(
        lambda: many_tensors(65_000, shape=[{"size": 1 << 40}]), "refused: hostile: 51 problems"
    ),
    "65,000 constants": Demanding(lambda: many_constants(65_000), "refused: hostile: .* not what policyc writes"),
    "130,000 attributes": Demanding(lambda: many_attributes(130_000), "refused: hostile: node 'l1': unknown attribute"),
    "130,000 empty nodes": Demanding(lambda: shared_list(130_000, 0), "refused: hostile: 51 problems"),
    "more than 16 MiB of text": Demanding(
        lambda: seal(message(lambda f: f.update(name="x" * (16 << 20)))), "refused: hostile: .* lie before the blob"
    ),
    "15 MiB of text": Demanding(lambda: seal(message(lambda f: f.update(name="x" * (15 << 20)))), "accepted"),
    "15 MiB of broken UTF-8": Demanding(
        lambda: seal(message(lambda f: f.update(name="x" * (15 << 20))).replace(b"x" * 1000, b"\xff" * 1000)),
        "refused: .* not UTF-8",
    ),
}
"""Files that cost as much as a file can; each is decoded in a process of its own."""

INTERESTING = (0, 1, 2, 3, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**29 - 1 << 35 | 7 << 32 | 1, 2**29 - 1 << 35 | 1)


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """
    Files with a few random changes before the blob, sealed again.
    """
    rng = np.random.default_rng(seed)
    base = sound()
    for _ in range(count):
        wire = Wire(base)
        words = wire.blob_word()
        for _ in range(int(rng.integers(1, 4))):
            at, other = int(rng.integers(words)), int(rng.integers(words))
            old = wire.word(at)
            new = (
                old ^ 1 << int(rng.integers(64)),
                INTERESTING[int(rng.integers(len(INTERESTING)))],
                wire.word(other),
                old + 4 * int(rng.integers(-8, 8)) & 2**64 - 1,
                old & 2**32 - 1 | int(rng.integers(2**32)) << 32,
                int(rng.integers(2**63)),
            )[int(rng.integers(6))]
            wire.put(at, new)
        yield wire.sealed()


def survive(data: bytes) -> str:
    """
    Decodes a file; what came of it, in a line. Whatever is accepted must be the file's only form.
    """
    try:
        model = decode(data, "hostile")
    except ModelFileError as error:
        return f"refused: {error}"[:300].partition("\n")[0]
    if encode(model).data != data:
        raise AssertionError("a file was accepted that encode() would not write")
    return "accepted"


def peak_memory() -> int:
    """
    The most memory that this process has had, in KiB. Not getrusage's, which starts with the parent's.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) if found else 0


def demand(data: bytes) -> tuple[str, float, int]:
    """
    Decodes a file; what came of it, the seconds of processor time that it took, and `peak_memory()`.
    """
    started = time.process_time()
    try:
        decode(data, "hostile")
        outcome = "accepted"
    except ModelFileError as error:
        outcome = f"refused: {error}"[:300].partition("\n")[0]
    return outcome, time.process_time() - started, peak_memory()


if __name__ == "__main__":
    if sys.argv[1] == "fuzz":
        for mutant in mutants(int(sys.argv[2]), int(sys.argv[3])):
            print(survive(mutant))
    else:
        print(json.dumps(demand(sys.stdin.buffer.read())))
