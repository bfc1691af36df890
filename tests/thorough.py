"""
How much is tested: one of each kind that differs, or all of them, which takes several times as long.
"""

import os
from collections.abc import Iterable
from typing import TypeVar

Kind = TypeVar("Kind")

THOROUGH = os.environ.get("POLICYC_THOROUGH") == "1"
"""Set by `nox -s thorough`."""


def chosen(kinds: Iterable[Kind], *always: Kind) -> list[Kind]:
    """
    The kinds that are tested: all, or those that always are.
    """
    return [kind for kind in kinds if THOROUGH or kind in always]
