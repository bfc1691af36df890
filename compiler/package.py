"""
A generated package as a folder: its name, its files, its manifest, and how it takes its place.
"""

import hashlib
import json
import keyword
import math
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler import __version__
from compiler.errors import BuildError, VerificationError, quote
from compiler.ir import Box, Dict, Model, Space
from compiler.loading import MANIFEST
from compiler.options import BuildOptions
from compiler.report import Dropped, layers_of, source_of
from compiler.verify import Verification

MODEL_FILE = "model.bin"
TOOLS = ("numpy", "numba", "llvmlite", "jinja2", "pycapnp")
LEFT_BY_IMPORTS = "__pycache__"
LONGEST_NAME = 100
LARGEST_MANIFEST = 1 << 24
LISTED = 1000
"""Values of an observation whose bounds a manifest gives one by one."""


def package_name(file: str, name: str | None) -> str:
    """
    The name that the user chose, or an identifier made from the name of the source's file.

    `HalfCheetah-v3.zip` becomes `halfcheetah_v3`.

    Raises:
        BuildError: the chosen name is not an ASCII identifier, or is a keyword.
    """
    if name is not None:
        if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
            raise BuildError(
                "name", f"must be an identifier of ASCII letters, digits and _ and no keyword, found {quote(name)}"
            )
        return name
    plain = unicodedata.normalize("NFKD", Path(file).stem).encode("ascii", "ignore").decode().lower()
    made = re.sub(r"[^0-9a-z]+", "_", plain).strip("_")[:LONGEST_NAME] or "policy"
    if made[0].isdigit():
        made = f"policy_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def sha256(data: bytes) -> str:
    """
    The hexadecimal digest.
    """
    return hashlib.sha256(data).hexdigest()


def manifest_for(
    source: Model,
    model: Model,
    options: BuildOptions,
    made: Mapping[str, Any],
    dropped: tuple[Dropped, ...],
    verification: Verification,
    files: Mapping[str, bytes],
) -> bytes:
    """
    What a package says about itself, as JSON: the same bytes on every machine, on every day.

    Args:
        source: the model as it was read.
        model: the same after the passes.
        options: how it was built.
        made: what `made_for` says.
        dropped: the constants that no action depends on.
        verification: what the comparison found.
        files: all other files of the package, by their names.
    """
    tools = [*TOOLS, *(["ziglang"] if made else [])]
    content = {
        "source": source_of(source.origin),
        "options": options.given(),
        **({"made": dict(made)} if made else {}),
        "versions": {"policyc": __version__, **{tool: version(tool) for tool in tools}},
        "assumptions": list(source.origin.assumptions),
        "dropped_tensors": sum(group.tensors for group in dropped),
        "verification": verification.to_manifest(),
        **({"bounds": bounds_of(source.policy.observation_space)} if source.policy else {}),
        "files": {name: sha256(data) for name, data in sorted(files.items())},
    }
    layers = [json.dumps(layer.to_manifest()) for layer in layers_of(model, source)]
    text = json.dumps(content, indent=2).removesuffix("\n}")
    return (text + ',\n  "layers": [\n    ' + ",\n    ".join(layers) + "\n  ]\n}\n").encode()


def bounds_of(space: Space) -> dict[str, Any] | None:
    """
    The bounds of a Box, of a Dict those of its parts by their keys; None for choices, which have none.

    A bound is one number where all values have the same, else a list of them, and None where it is infinite; of more
    than LISTED values it is the widest.
    """
    match space:
        case Dict(spaces=spaces):
            return {key: bounds_of(part) for key, part in spaces}
        case Box(low=low, high=high):
            return {"low": _bound(low, np.min), "high": _bound(high, np.max)}
    return None


def _bound(values: NDArray[np.generic], widest: Callable[[NDArray[np.generic]], Any]) -> Any:
    flat = [value if math.isfinite(value) else None for value in values.ravel().tolist()]
    if flat and len(set(flat)) > 1 and len(flat) <= LISTED:
        return flat
    return None if not flat or None in flat else widest(values).item()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """
    The manifest of a package that policyc wrote; None if the folder has none, or one of something else.
    """
    try:
        with (folder / MANIFEST).open("rb") as file:
            content = json.loads(file.read(LARGEST_MANIFEST))
        ours = isinstance(content["versions"]["policyc"], str) and isinstance(content["files"], dict)
        return content if ours and isinstance(content["options"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """
    Compares every file of a package with its digest in the manifest.

    Raises:
        VerificationError: naming every file that is missing or was changed.
    """
    findings = []
    for name, digest in sorted(manifest["files"].items()):
        if Path(name).name != name or name in (".", ".."):
            findings.append(f"{MANIFEST} lists {quote(name)}, which is no file of the package")
        elif not (folder / name).is_file():
            findings.append(f"{name} is missing")
        elif sha256((folder / name).read_bytes()) != digest:
            findings.append(f"{name} was changed after the build: its SHA-256 is not that in {MANIFEST}")
    if MODEL_FILE not in manifest["files"]:
        findings.append(f"{MANIFEST} does not list {MODEL_FILE}")
    if findings:
        raise VerificationError(quote(str(folder)), *findings, "to have it as it was built: policyc build")


def check_target(target: Path) -> None:
    """
    Refuses a place where something else than a package of policyc is.

    Raises:
        BuildError: saying what is there.
    """
    if target.is_symlink():
        raise BuildError(quote(str(target)), "is a link; remove it, or choose another --out or --name")
    if target.exists() and not target.is_dir():
        raise BuildError(quote(str(target)), "is a file; choose another --out or --name")
    if target.is_dir() and any(target.iterdir()) and read_manifest(target) is None:
        raise BuildError(
            quote(str(target)),
            f"is a folder that policyc did not write (it has no {MANIFEST} of ours); choose another --out or --name",
        )


@contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """
    A new, empty folder with the target's own name, on the target's file system.

    After the block it is gone with all that was left in it; so are the folders above the target that had to be made,
    if nothing came to lie in them.
    """
    above = target.absolute().parent
    missing = [folder for folder in (above, *above.parents) if not folder.exists()]
    try:
        above.mkdir(parents=True, exist_ok=True)
        outer = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=above))
    except OSError as error:
        _remove_empty(missing)
        raise BuildError(quote(str(above)), f"can't be written: {error.strerror or error}") from None
    try:
        inner = outer / target.name
        inner.mkdir(mode=0o700)  # predictors keep compiled code only where nobody else can write
        yield inner
    except OSError as error:
        raise BuildError(quote(str(target)), f"can't be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(outer, ignore_errors=True)
        _remove_empty(missing)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """
    Writes files into a folder of our own, byte for byte.
    """
    for name, data in files.items():
        if Path(name).name != name:
            raise ValueError(f"{name!r} is not a plain file name")
        (folder / name).write_bytes(data)


def place(folder: Path, target: Path) -> None:
    """
    Moves a finished package to its target; an older package there is replaced, files of the user in it are kept.

    Either the new package is in place afterwards, or everything is as it was. Code that Numba compiled goes with it.
    """
    mode = _usual_mode(folder.parent)
    _keep_compiled_code(folder / LEFT_BY_IMPORTS, mode)
    folder.chmod(mode)
    check_target(target)
    if not target.exists():
        folder.rename(target)
        return
    _keep_files_of_the_user(target, folder)
    older = folder.parent / "older"
    target.rename(older)
    try:
        folder.rename(target)
    except BaseException:
        older.rename(target)
        raise


def _keep_compiled_code(folder: Path, mode: int) -> None:
    """
    Leaves what Numba compiled to whoever may read the package; only we may write to it, or predictors would not use it.

    Bytecode goes, which Python makes anew in no time, and the folder where nothing else is in it.
    """
    for file in folder.glob("*.pyc"):
        file.unlink()
    with suppress(OSError):
        folder.chmod(mode & 0o755)
        folder.rmdir()


def _keep_files_of_the_user(older: Path, newer: Path) -> None:
    manifest = read_manifest(older) or {"files": {}}
    ours = {*manifest["files"], MANIFEST, LEFT_BY_IMPORTS}
    for entry in older.iterdir():
        kept = newer / entry.name
        if entry.name in ours or kept.exists():
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, kept, symlinks=True)
        else:
            shutil.copy2(entry, kept, follow_symlinks=False)


def _usual_mode(outer: Path) -> int:
    """
    The permissions that new folders get from the user's umask, which can't be asked for without changing it.
    """
    probe = outer / "probe"
    probe.mkdir()
    return probe.stat().st_mode & 0o777


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            os.rmdir(folder)
