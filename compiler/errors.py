"""
What policyc raises at its users: one base class, and a subclass for each stage that can refuse.

A message names the file and the thing in it, what was expected, what was found, and what to do. Texts that come out
of a checkpoint go through `quote` before they enter a message, so that a hostile name cannot forge terminal output.
"""

from collections.abc import Sequence
from pathlib import Path


def quote(text: object, limit: int = 80) -> str:
    """
    The text as an ASCII literal on one line, cut to about `limit` characters: safe in a message or a terminal.
    """
    shown = ascii(text)
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


class PolicycError(Exception):
    """
    A source, an option or a build that policyc refuses.

    Args:
        where: the file (or the part of one) that is refused.
        findings: everything that is wrong with it, each a sentence for the user; at least one.
    """

    def __init__(self, where: str | Path, *findings: str) -> None:
        if not findings:
            raise ValueError("a PolicycError needs at least one finding")
        self.where = str(where)
        self.findings: Sequence[str] = findings
        super().__init__(self.where, *findings)

    def __str__(self) -> str:
        if len(self.findings) == 1:
            return f"{self.where}: {self.findings[0]}"
        return "\n".join([f"{self.where}: {len(self.findings)} problems", *(f"  - {text}" for text in self.findings)])


class CheckpointError(PolicycError):
    """
    The checkpoint is damaged, lies about itself, or holds what a policy file never holds.
    """


class UnsupportedError(PolicycError):
    """
    The checkpoint is sound, but policyc cannot compile what it describes, or cannot know it from the file.
    """


class ModelFileError(PolicycError):
    """
    The model file is damaged, truncated, or of a newer schema.
    """


class BuildError(PolicycError):
    """
    The predictor could not be generated or written.
    """


class VerificationError(PolicycError):
    """
    The predictor does not give what its source model gives.
    """


class ServeError(PolicycError):
    """
    A server can't begin: its address, certificate or packages are not as they must be, or its workers die.
    """
