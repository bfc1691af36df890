"""
What torch says about itself while it exports, loads and decomposes programs is nothing that users can act on.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def quietly() -> Iterator[None]:
    """
    Without the warnings, the logs and the standard error of what is done meanwhile: what matters is raised as an error.

    Of a module that can't be exported, torch prints the graph that it has got so far.
    """
    before = logging.root.manager.disable
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
