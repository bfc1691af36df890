"""
The operation that is supported and whose name is most like that of one which is not.
"""

import difflib
from collections.abc import Mapping

SHORTEST = 3
"""Letters of a name that says something where it is a part of another."""
CLOSE = 0.78


def nearest(name: str, known: Mapping[str, str], close: float = CLOSE) -> str | None:
    """
    What is most like a name: of what it is a part of, what is a part of it, and what has nearly the same letters.

    Args:
        name: the operation's name without its overload.
        known: what is supported, by such names.
        close: how like another name must be, from 0 to 1.
    """
    parts = [other for other in known if len(other) >= SHORTEST and (other in name or name in other)]
    like = [*parts, *difflib.get_close_matches(name, known, n=1, cutoff=close)]
    if not like:
        return None
    return known[max(like, key=lambda other: difflib.SequenceMatcher(None, name, other).ratio())]
