"""
What torch says about itself while it exports, loads and decomposes programs is nothing that users can act on.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """
    Without the warnings that are raised meanwhile, and what is logged: what matters is raised as an error.
    """
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
