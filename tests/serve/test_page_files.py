"""
The files behind the page: how they are served, and which builds for browsers belong to a model.
"""

import json
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.cli.common import REFUSED
from tests import policies
from tests.serve.packages import place_all
from tests.serve.serving import Running, command, serving

pytest.importorskip("granian", reason="the extra `serve` is not installed")
pytest.importorskip("wasmtime", reason="wasmtime is not installed")
pytest.importorskip("ziglang", reason="ziglang is not installed")
pytest.importorskip("playwright", reason="playwright is not installed")
from tests.serve.browsing import asked


def test_files_are_served_with_care(server: Running) -> None:
    with urllib.request.urlopen(server.url) as answer:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        directives = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        tag = answer.headers["etag"]
    assert directives["default-src"] == "'none'"
    assert "unsafe-inline" not in str(directives)
    again = urllib.request.Request(server.url, headers={"If-None-Match": f'"other", W/{tag}'})
    with pytest.raises(urllib.error.HTTPError, match="304"):
        urllib.request.urlopen(again)
    for path in ("/static/../pages.py", "/static/nothing.js", "/models/cartpole/wasm/manifest.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url + path)
    with urllib.request.urlopen(f"{server.url}/models/cartpole/wasm/cartpole.wasm") as answer:
        assert answer.headers["content-type"] == "application/wasm"
        assert answer.read(4) == b"\0asm"


def test_a_changed_model_counts_for_more_than_its_animation(tmp_path: Path, wasm: Path) -> None:
    (folder,) = place_all(tmp_path, {"model": policies.masked()})
    manifest = json.loads((folder / "manifest.json").read_text())
    built = json.loads((wasm / "manifest.json").read_text())

    def change(source: dict[str, str]) -> None:
        (folder / "manifest.json").write_text(json.dumps(manifest | {"source": source}))

    change(built["source"])
    with serving(tmp_path, folder, "--wasm", wasm) as server:
        module = f"{server.url}/models/model/wasm/cartpole.mjs"
        with urllib.request.urlopen(module) as answer:
            assert answer.read() == (wasm / "cartpole.mjs").read_bytes()
        change(built["source"] | {"sha256": "1" * 64})
        server.signal(signal.SIGHUP)
        wait_for(lambda: "does without WebAssembly" in server.log.read_text())
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(module)
        assert asked(server, "model", {"observation": [0, 0, 0, 0]})
        change(built["source"])
        server.signal(signal.SIGHUP)
        wait_for(lambda: "wasm" in description(server))


def description(server: Running) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/models/model") as answer:
        return json.load(answer)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_build_of_another_model_is_refused(tmp_path: Path, wasm: Path) -> None:
    def refused(*arguments: object) -> str:
        done = subprocess.run(command(*arguments, "--port", 0), capture_output=True, text=True, timeout=60)
        assert done.returncode == REFUSED
        return done.stderr

    assert "was built from 'cartpole.zip'" in refused("generated/pendulum", "--wasm", wasm)
    assert "found target numba" in refused("generated/cartpole", "--wasm", "generated/cartpole")
    changed = tmp_path / "cartpole"
    shutil.copytree(wasm, changed)
    with (changed / "cartpole.mjs").open("a") as file:
        file.write("// more\n")
    assert "cartpole.mjs is missing, or was changed after the build" in refused("generated/cartpole", "--wasm", changed)
