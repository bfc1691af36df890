"""
The command that serves packages over HTTP.
"""

import os
from pathlib import Path
from typing import Any

import click

from compiler.cli.common import FILE, common
from compiler.cli.dataclass_options import options_of
from compiler.errors import BuildError
from compiler.serve.settings import Settings


@click.command("serve")
@click.argument("folders", nargs=-1, required=True, type=FILE)
@options_of(Settings)
@common
def serve_command(folders: tuple[Path, ...], as_json: bool, **choices: Any) -> None:
    """
    Answer POST /predict with the packages in FOLDERS, at http://127.0.0.1:8080.

    Several packages are at /models/NAME/predict, the first one at /predict too. On SIGHUP changed packages are loaded
    again; on SIGTERM what is under way is answered, then the exit status is 0. To import a package executes it.
    """
    # Predictors compute with kernels of their own. NumPy's library for matrices would begin a thread for each other
    # processor, all of which spin for a while: 100 ms of processor time on two, nearly as much as all else takes.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from compiler.serve.server import run
    except ImportError as error:
        raise BuildError("serve", f"needs {error.name}: pip install 'policyc[serve]'") from None
    run(Settings(**choices), folders, as_json)
