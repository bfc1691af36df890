"""
What a process that translates kernels is asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """
    The kernels of one level, which become one object file.
    """

    package: str
    """The folder of the kernels' package."""
    exports: tuple[str, ...]
    """The functions of its `exports.py` that are wanted."""
    prefix: str
    """What the names of the functions begin with, before two underscores."""
    suffix: str
    """What they end in."""
    object: str
    """The file to write."""
    triple: str
    """As LLVM names it, like the two below."""
    cpu: str
    features: str
    fma: bool
    """Whether a product and a sum are one instruction."""
    freestanding: bool
    """Whether there is no libc; the code then lies at a fixed place."""
    narrow: bool
    """Whether an address has 32 bits."""


def write(path: Path, jobs: Sequence[Job]) -> None:
    """
    Writes jobs to a file.
    """
    path.write_text(json.dumps([asdict(job) for job in jobs]), "utf-8")


def read(path: Path) -> list[Job]:
    """
    What `write` wrote.
    """
    return [Job(**{**entry, "exports": tuple(entry["exports"])}) for entry in json.loads(path.read_text("utf-8"))]
