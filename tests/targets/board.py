"""
Images for the emulated boards of Cortex-M4 and -M7 processors, with as little memory as a test lends them.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.targets import elf, helpers, toolchain
from tests.targets.replay import HERE, TIMEOUT, Policy

EMULATOR = "qemu-system-arm"
BOARDS = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}
OWN_STACK = 256
"""Bytes that the image's own main takes of the stack."""


@dataclass(frozen=True)
class Image:
    """
    A linked image.
    """

    path: Path
    policy: Policy

    @property
    def flash(self) -> int:
        """
        Bytes of flash that it takes, with everything that belongs to the test.
        """
        return self._size(lambda section: section.address < RAM_BEGINS)

    @property
    def ram(self) -> int:
        """
        Bytes of RAM that it takes, the whole stack included.
        """
        return self._size(lambda section: section.address >= RAM_BEGINS)

    def _size(self, chosen: Any) -> int:
        sections = elf.read(self.path.read_bytes()).sections
        return sum(section.size for section in sections if section.flags & elf.ALLOCATED and chosen(section))


RAM_BEGINS = 0x20000000


def image(policy: Policy, flash: int, ram: int, stack: int) -> Image:
    """
    Links a policy with a program that asks it, for a microcontroller of so many bytes of memory.

    Args:
        stack: bytes for the policy's calls.
    """
    folder, triple = policy.folder, policy.sources.triple
    parts = []
    for source in (HERE / "cortex_m").glob("*.[ch]"):
        (folder / f"image_{source.name}").write_bytes(source.read_bytes())
    for name in ("startup", "main"):
        parts.append(toolchain.compile_c(folder, f"image_{name}.c", triple))
    script = (HERE / "cortex_m" / "image.ld").read_text("utf-8")
    for name, value in (("FLASH", flash), ("RAM", ram), ("STACK", stack + OWN_STACK)):
        script = script.replace(f"@{name}@", str(value))
    (folder / "image.ld").write_text(script, "utf-8")
    called = helpers.called(folder, policy.objects)
    parts += policy.objects + ([helpers.compiled(folder, called, triple)] if called else [])
    toolchain.run(folder, "ld.lld", "-T", "image.ld", "--gc-sections", *parts, "-o", "image.elf")
    return Image(folder / "image.elf", policy)


def asked(made: Image, cpu: str, questions: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], int]:
    """
    What an image answers on a board, and the most bytes of the stack that a call took.
    """
    folder = made.path.parent
    (folder / "questions").write_bytes(questions.tobytes())
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    command = [EMULATOR, "-M", BOARDS[cpu], "-nographic", "-monitor", "none", "-serial", "none", *semihosting]
    subprocess.run([*command, "-kernel", made.path.name], cwd=folder, check=True, timeout=TIMEOUT, capture_output=True)
    answers = (folder / "answers").read_bytes()
    return np.frombuffer(answers[:-8], made.policy.answer), int(np.frombuffer(answers[-8:], np.int64)[0])
