"""
What torch says about itself while it exports, loads and decomposes programs is nothing that users can act on.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """
    Without the warnings that are raised meanwhile.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
