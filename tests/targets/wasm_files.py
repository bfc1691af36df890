"""
Policies as WebAssembly, each made once for all tests of a process; and what asks them outside of Python.
"""

import json
import math
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from compiler import modelfile, products
from compiler.codegen.module import ModuleView
from compiler.ir import Dict as DictSpace
from compiler.ir import Discrete, Model, MultiBinary, MultiDiscrete
from compiler.loading import imported
from compiler.options import BuildOptions
from compiler.package import write_files
from compiler.pipeline import load_model, run_passes
from compiler.targets import Sources, wasm, wasm_bridge
from tests import models, policies

ROOT = Path(__file__).parents[2]
SCRIPTS = ("replay.mjs", "page.mjs", "worker.mjs")

HOSTILE = '</script>"\\\u2028\U0001f600'
"""A key of a Dict observation that must not leave its literal."""

KINDS: dict[str, Any] = {
    "cartpole": lambda: load_model(ROOT / "model" / "cartpole.zip"),
    "pendulum": lambda: load_model(ROOT / "model" / "pendulum.zip"),
    "dict": lambda: policies.observing(policies.PARTS, policies.NARROW),
    "keys": lambda: policies.observing(
        DictSpace((("__proto__", policies.WIDE), (HOSTILE, Discrete(3)), ("constructor", MultiBinary((2,)))))
    ),
    "choice": lambda: policies.observing(Discrete(7), MultiDiscrete((2, 3))),
    "choices": lambda: policies.observing(MultiDiscrete((3, 4)), MultiBinary((4,))),
    "image": lambda: policies.observing(policies.IMAGE),
    "matrix": lambda: models.policy((2, 3), (33, 5), 4, head="rescale", bounds=np.float64, action_shape=(2, 2)),
    "masked": lambda: policies.masked(),
    "recurrent": lambda: policies.recurrent(),
    "memory": lambda: policies.recurrent(1, lambda: Discrete(3)),
    "normalised": lambda: policies.normalised(),
}
"""Of each kind of observation and action one."""


@dataclass(frozen=True)
class Made:
    """
    What was made of a policy.
    """

    name: str
    source: Model
    passed: Model
    options: BuildOptions
    sources: Sources
    files: dict[str, bytes]

    @contextmanager
    def predictor(self, simd: bool) -> Iterator[ModuleType]:
        """
        One of its modules with the face of a Python package, run by wasmtime.
        """
        view = cast(ModuleView, wasm.views(self.sources)[simd])
        data = self.files[wasm.file_of(self.name, self.sources.triple.levels[simd])]
        bridge = wasm_bridge.Bridge(data, view, self.sources.weights, self.sources.policy.predictor)
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), {name: text.encode() for name, text in self.sources.faces.items()})
            with imported(Path(folder), _native=bridge.module()) as module:
                yield module


def make(model: Model, name: str, **choices: Any) -> Made:
    """
    Makes modules of a model, without comparing them with it.
    """
    options, triple = products.resolve(BuildOptions(target="wasm", verify_observations=100, **choices))
    source = products.reduced(model, options)
    passed = run_passes(source, options)
    with tempfile.TemporaryDirectory() as work:
        product = products.make(products.render(passed, modelfile.encode(passed), options, triple, name), Path(work))
    assert product.sources is not None
    return Made(name, source, passed, options, product.sources, product.files)


@cache
def made(kind: str) -> Made:
    """
    The modules of a kind.
    """
    return make(KINDS[kind](), kind)


def placed(folder: Path, *kinds: str) -> Path:
    """
    A folder with the modules of kinds, each in a folder of its name, and the scripts that ask them.
    """
    for kind in kinds:
        (folder / kind).mkdir()
        write_files(folder / kind, made(kind).files)
    for script in SCRIPTS:
        shutil.copy(Path(__file__).with_name(script), folder)
    return folder


def tool(*names: str) -> str:
    """
    The path of the first of these programs that is installed; a test that needs it is skipped if none is.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"{names[0]} is not installed")


def in_node(folder: Path, jobs: list[Any]) -> list[Any]:
    """
    What the jobs give in Node.js.
    """
    node = tool("node", "nodejs")
    (folder / "jobs.json").write_text(json.dumps(encoded(jobs)), "utf-8")
    command = [node, str(folder / "replay.mjs"), str(folder), str(folder / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout)
    return results


def in_chromium(folder: Path, jobs: list[Any], name: str, observation: Any) -> dict[str, Any]:
    """
    What `page.mjs` finds in a headless Chromium.
    """
    chromium = tool("chromium", "chromium-browser", "google-chrome")
    content = encoded({"jobs": jobs, "name": name, "observation": observation})
    (folder / "jobs.json").write_text(json.dumps(content), "utf-8")
    (folder / "page.html").write_text('<!doctype html><script type="module" src="page.mjs"></script>', "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update"]
    with served(folder) as server, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        address = f"http://127.0.0.1:{server.server_address[1]}/page.html"
        command = [chromium, *flags, f"--user-data-dir={profile}", address]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen(command, **silent, start_new_session=True)  # type: ignore[call-overload]
        try:
            found: dict[str, Any] = json.loads(server.said.get(timeout=120))
        finally:
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait(timeout=60)
    assert "failed" not in found, found
    return found


class Server(ThreadingHTTPServer):
    """
    Serves files, and keeps what pages send.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.said: queue.Queue[bytes] = queue.Queue()


TYPES = {".html": "text/html", ".json": "application/json", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class _Handler(SimpleHTTPRequestHandler):
    """
    Serves files; below `/untyped/`, which is no folder, without saying what they are.
    """

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/untyped/", "/"))

    def guess_type(self, path: Any) -> str:
        return "application/octet-stream" if "/untyped/" in self.path else TYPES[Path(path).suffix]

    def do_POST(self) -> None:
        cast(Server, self.server).said.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """
    A server of a folder, for this machine alone.
    """
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def encoded(value: Any) -> Any:
    """
    Values as JSON, with a text for what it lacks.
    """
    match value:
        case np.ndarray() | np.generic():
            return encoded(value.tolist())
        case dict():
            return {key: encoded(part) for key, part in value.items()}
        case list() | tuple():
            return [encoded(part) for part in value]
        case float() if not math.isfinite(value):
            return "#NaN" if math.isnan(value) else "#Infinity" if value > 0 else "#-Infinity"
        case _:
            return value
