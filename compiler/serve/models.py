"""
The packages that are served, under the names that they have in addresses.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from compiler.errors import BuildError, quote
from compiler.loading import load, no_package, unload
from compiler.serve.answers import RequestError
from compiler.serve.endpoint import Endpoint
from compiler.serve.policies import Policy
from compiler.serve.programs import Program
from compiler.serve.sessions import Sessions


@dataclass(frozen=True)
class Served:
    """
    One package, imported.

    Attributes:
        name: as SPEC says.
        folder: where it lies.
        package: the imported package.
        endpoint: what answers requests for it.
        manifest: what its build recorded.
        stamp: of all its files: another one means another build.
        seconds: that one observation takes in the predictor, measured when it was imported.
    """

    name: str
    folder: Path
    package: ModuleType
    endpoint: Endpoint
    manifest: dict[str, Any]
    stamp: str
    seconds: float

    @property
    def sha256(self) -> str:
        """
        Of the model file.
        """
        return str(self.manifest["files"]["model.bin"])

    @property
    def identity(self) -> dict[str, str]:
        """
        Which model it is, for metrics.
        """
        return {
            "model": self.name,
            "sha256": self.sha256,
            "version": str(self.manifest.get("versions", {}).get("policyc", "")),
            "source_sha256": str(self.package.SPEC["source"]["sha256"]),
        }

    def described(self) -> dict[str, Any]:
        """
        What the model is, as plain values: for `/models` and the page.
        """
        built = ("options", "versions", "verification", "bounds", "layers")
        shown: dict[str, Any] = {key: self.manifest[key] for key in built if key in self.manifest}
        if isinstance(self.endpoint, Policy) and self.endpoint.fields:
            shown["fields"] = self.endpoint.fields
        return {
            "name": self.name,
            "url": f"/models/{self.name}/predict",
            "kind": "policy" if isinstance(self.endpoint, Policy) else "program",
            "sha256": self.sha256,
            "spec": self.package.SPEC,
            **shown,
        }

    def close(self) -> None:
        """
        Takes the package out of the import system; requests under way still end.
        """
        unload(self.package)


def stamp_of(folder: Path) -> str:
    """
    The SHA-256 of the manifest, which names those of all other files.

    Raises:
        BuildError: if the folder is no package that policyc built.
    """
    return hashlib.sha256(manifest_bytes(folder)).hexdigest()


def open_model(folder: Path, sessions: Sessions, fields: tuple[str, ...] = ()) -> Served:
    """
    Imports a package, which executes it.

    Args:
        folder: a package that policyc built for Python.
        sessions: where states of its clients are kept.
        fields: names of the numbers of an observation; () for none.

    Raises:
        BuildError: if it is none, can't be imported, or its observations have another number of fields.
    """
    content = manifest_bytes(folder)
    manifest = recorded(folder, content)
    if not (folder / "__init__.py").is_file():
        raise BuildError(
            quote(str(folder)), "is not built for Python: build it with --target native or numba to serve it"
        )
    package = load(folder, "served")
    try:
        spec = package.SPEC
        endpoint = _endpoint(package, manifest["files"]["model.bin"], sessions, folder, fields)
    except BaseException:
        unload(package)
        raise
    stamp = hashlib.sha256(content).hexdigest()
    return Served(spec["name"], folder, package, endpoint, manifest, stamp, _seconds(endpoint))


def _seconds(endpoint: Endpoint) -> float:
    """
    How long one observation takes: the second time, after what is compiled or read at the first.
    """
    question = endpoint.example()
    spent = 0.0
    for _ in range(2):
        begin = time.perf_counter()
        try:
            endpoint.compute(question)
        except RequestError:  # zeros may be refused, as an observation of sizes may
            return 0.0
        spent = time.perf_counter() - begin
    return spent


def _endpoint(package: ModuleType, sha256: str, sessions: Sessions, folder: Path, fields: tuple[str, ...]) -> Endpoint:
    spec = package.SPEC
    if "observation" not in spec:
        if fields:
            raise BuildError(quote(str(folder)), "--fields is for policies: this is a program with named inputs")
        return Program(package, spec, sha256, sessions)
    space = spec["observation"]
    if fields and (space["kind"] != "Box" or tuple(space["shape"]) != (len(fields),)):
        observed = f"of shape {tuple(space['shape'])}" if space["kind"] == "Box" else f"a {space['kind']}"
        raise BuildError(quote(str(folder)), f"--fields names {len(fields)} numbers, its observation is {observed}")
    try:
        return Policy(package, spec, sha256, sessions, fields)
    except ValueError as error:  # a name twice, one that requests have anyway, or with characters that no key may have
        raise BuildError(quote(str(folder)), f"its names can't be keys of JSON objects here: {error}") from None


class _Files(msgspec.Struct):
    model: str = msgspec.field(name="model.bin")


class _Recorded(msgspec.Struct):
    files: _Files


def recorded(folder: Path, content: bytes) -> dict[str, Any]:
    """
    A manifest, which may be half written or a person's while a package is replaced.

    Raises:
        BuildError: if it is not what a build writes.
    """
    try:
        msgspec.json.decode(content, type=_Recorded)
        return dict(msgspec.json.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BuildError(quote(str(folder)), f"manifest.json is damaged, build it again: {error}") from None


def manifest_bytes(folder: Path) -> bytes:
    """
    The manifest of a package, as it lies there.

    Raises:
        BuildError: if the folder is no package that policyc built.
    """
    try:
        return (folder / "manifest.json").read_bytes()
    except OSError as error:
        reason = no_package(folder)
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"manifest.json can't be read: {error.strerror}"
        raise BuildError(quote(str(folder)), f"is not a package that policyc built: {reason}") from None
