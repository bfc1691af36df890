"""
The WebAssembly build of a model that is served: with it the page computes in the browser.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compiler.errors import BuildError, quote
from compiler.serve.models import Served, manifest_bytes, recorded

HOW_IT_IS_BUILT: Final = {
    "target",
    "triple",
    "cpu",
    "single_file",
    "lanes",
    "threads",
    "verify_observations",
    "with_value",
    "strict",
    "trust",
    "without",
}
"""Options that change no action: two builds of one source that differ only in these are the same model."""


@dataclass(frozen=True)
class WasmBuild:
    """
    A folder that `policyc build --target wasm` made.

    Attributes:
        name: of the build: its module is `name.mjs`.
        files: what a browser loads, by their names.
    """

    name: str
    files: dict[str, bytes]


def identity(manifest: Mapping[str, Any]) -> tuple[Any, Any]:
    """
    What two builds of the same model have in common: the source, and the options that say what is computed.
    """
    options = {name: value for name, value in manifest.get("options", {}).items() if name not in HOW_IT_IS_BUILT}
    return manifest.get("source"), options


def open_wasm(folder: Path) -> tuple[dict[str, Any], WasmBuild]:
    """
    Reads a build, none of which is executed here, and its manifest.

    Raises:
        BuildError: the folder is none of target wasm, or its files are not those that its manifest names.
    """
    manifest = recorded(folder, manifest_bytes(folder))
    target = manifest.get("options", {}).get("target", "numba")
    if target != "wasm":
        raise BuildError(quote(str(folder)), f"expected what policyc build --target wasm made, found target {target}")
    digests = {name: digest for name, digest in manifest["files"].items() if Path(name).suffix in (".mjs", ".wasm")}
    files: dict[str, bytes] = {}
    for name, digest in digests.items():
        file = folder / Path(name).name
        files[name] = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BuildError(quote(str(folder)), f"{name} is missing, or was changed after the build: build it again")
    return manifest, WasmBuild(manifest["made"]["name"], files)


def wasm_builds(folders: tuple[Path, ...], models: Mapping[str, Served]) -> dict[str, WasmBuild]:
    """
    The builds of these folders, by the names of the models that they are builds of.

    Args:
        folders: those that were named at the start.
        models: what is served, by name.

    Raises:
        BuildError: a folder is no build for WebAssembly, or of none of the models.
    """
    found: dict[str, WasmBuild] = {}
    for folder in folders:
        manifest, build = open_wasm(folder)
        fitting = [name for name, other in models.items() if identity(other.manifest) == identity(manifest)]
        if not fitting:
            source = manifest["source"]
            others = ", ".join(f"{name} from {m.package.SPEC['source']['file']}" for name, m in models.items())
            raise BuildError(
                quote(str(folder)),
                f"was built from {quote(source['file'])} ({source['sha256'][:12]}), or with other options, than any "
                f"model that is served: {others}",
            )
        found |= dict.fromkeys(fitting, build)
    return found
