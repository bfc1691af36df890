"""
A real server for tests: packages that are not compiled, and `policyc serve` as a process of its own.
"""

import hashlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from compiler.ir import Model
from tests import models


def place(folder: Path, model: Model) -> Path:
    """
    A package that is not compiled, with as much of a manifest as a server needs.
    """
    models.write(folder, model, plain=True)
    digest = hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
    manifest = {"versions": {"policyc": "0.0"}, "files": {"model.bin": digest}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def place_all(folder: Path, of: Mapping[str, Model]) -> list[Path]:
    """
    Packages of these names, spaces in them replaced.
    """
    return [place(folder / name.replace(" ", "_"), model) for name, model in of.items()]


@contextmanager
def serving(*arguments: object) -> Iterator[str]:
    """
    `policyc serve` with these arguments, for as long as the block runs: HOST:PORT, once it is ready.
    """
    for _ in range(3):  # somebody else may take the port in between
        port = _free_port()
        command = [sys.executable, "-m", "compiler.cli", "serve", *map(str, arguments), "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            if _ready(process, port):
                yield f"127.0.0.1:{port}"
                return
        finally:
            process.terminate()
            said = process.communicate(timeout=20)[0]
    raise AssertionError(f"the server did not start: {said}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _ready(process: "subprocess.Popen[str]", port: int) -> bool:
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return True
        except urllib.error.HTTPError as refused:
            refused.close()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.02)
    return False
