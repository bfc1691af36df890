"""
What a hostile case is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MARKER = "policyc-was-executed"
"""The file that every payload makes in the working folder when it is really loaded."""

TRIPWIRE = "tests.hostile.tripwire"
"""A module that makes the marker when it is imported."""


@dataclass(frozen=True)
class HostileCase:
    """
    A file that must be survived.

    Attributes:
        row: its row in the table of hostile inputs.
        file: the name that it comes under.
        make: its bytes, always the same ones.
        words: what the refusal must say, in any case of letters; all of them.
        by: which part refuses it: a reader, or the build that follows; nobody refuses what is harmless.
        reader: how the readers are given it: an SB3 zip, a file of torch.save, a pickle, or a file of VecNormalize.
        fires: whether unpickling it makes the marker; checked, so that the payloads stay real.
    """

    row: int
    file: str
    make: Callable[[], bytes]
    words: tuple[str, ...] = ()
    by: Literal["reader", "build", "nobody"] = "reader"
    reader: Literal["zip", "tensors", "pickle", "vecnormalize"] = "tensors"
    fires: bool = False
