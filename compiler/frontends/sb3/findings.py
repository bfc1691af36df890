"""
Gathers what is wrong with one checkpoint, so that its user hears of everything at once.
"""

from collections.abc import Callable
from typing import TypeVar

from compiler.errors import BuildError, CheckpointError, PolicycError, UnsupportedError

T = TypeVar("T")

SEVERITY: tuple[type[PolicycError], ...] = (CheckpointError, UnsupportedError, BuildError)
"""The kind of error that is raised for findings of several kinds: the first of these that is among them."""
MOST_FINDINGS = 50


class Findings:
    """
    Findings about one file; `raise_all` turns them into one error.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._found: dict[str, type[PolicycError]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def damaged(self, text: str) -> None:
        """
        Records that the checkpoint contradicts itself or lacks something.
        """
        self._found.setdefault(text, CheckpointError)

    def unsupported(self, text: str) -> None:
        """
        Records something sound that can't be compiled, or can't be known from the file.
        """
        self._found.setdefault(text, UnsupportedError)

    def contradiction(self, text: str) -> None:
        """
        Records an option that is malformed or contradicts the file.
        """
        self._found.setdefault(text, BuildError)

    def attempt(self, compute: Callable[[], T]) -> T | None:
        """
        What `compute` returns; if it is refused, the refusal is recorded, and the result is None.
        """
        try:
            return compute()
        except PolicycError as error:
            inner = error.where.removeprefix(self.where).removeprefix(": ")
            kind = next((kind for kind in SEVERITY if isinstance(error, kind)), CheckpointError)
            for text in error.findings:
                self._found.setdefault(f"{inner}: {text}" if inner else text, kind)
            return None

    def raise_all(self) -> None:
        """
        Raises one error with all findings, if there are any.
        """
        if not self._found:
            return
        kind = next(kind for kind in SEVERITY if kind in self._found.values())
        texts = list(self._found)
        more = [f"and {len(texts) - MOST_FINDINGS:,} more"] if len(texts) > MOST_FINDINGS else []
        raise kind(self.where, *texts[:MOST_FINDINGS], *more)
