"""
The packages that are served, under the names that they have in addresses.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from compiler.errors import BuildError, quote
from compiler.loading import load, unload
from compiler.serve.policies import Policy
from compiler.serve.programs import Program

Endpoint = Policy | Program


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
    """

    name: str
    folder: Path
    package: ModuleType
    endpoint: Endpoint
    manifest: dict[str, Any]
    stamp: str

    @property
    def sha256(self) -> str:
        """
        Of the model file.
        """
        return str(self.manifest["files"]["model.bin"])

    def described(self) -> dict[str, Any]:
        """
        What the model is, as plain values: for `/models` and the page.
        """
        built = ("options", "versions", "verification")
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
    return hashlib.sha256(_manifest_bytes(folder)).hexdigest()


def open_model(folder: Path, fields: tuple[str, ...] = ()) -> Served:
    """
    Imports a package, which executes it.

    Args:
        folder: a package that policyc built for Python.
        fields: names of the numbers of an observation; () for none.

    Raises:
        BuildError: if it is none, can't be imported, or its observations have another number of fields.
    """
    content = _manifest_bytes(folder)
    manifest = msgspec.json.decode(content)
    if not (folder / "__init__.py").is_file():
        raise BuildError(
            quote(str(folder)), "is not built for Python: build it with --target native or numba to serve it"
        )
    package = load(folder, "served")
    try:
        spec = package.SPEC
        endpoint = _endpoint(package, spec, manifest["files"]["model.bin"], folder, fields)
    except BaseException:
        unload(package)
        raise
    return Served(spec["name"], folder, package, endpoint, manifest, hashlib.sha256(content).hexdigest())


def _endpoint(
    package: ModuleType, spec: dict[str, Any], sha256: str, folder: Path, fields: tuple[str, ...]
) -> Endpoint:
    if "observation" not in spec:
        if fields:
            raise BuildError(quote(str(folder)), "--fields is for policies: this is a program with named inputs")
        return Program(package, spec, sha256)
    policy = Policy(package, spec, sha256, fields)
    if fields and (policy.size != len(fields) or len(policy.space["shape"]) != 1):
        observed = f"a vector of {policy.size}" if policy.size else policy.space["kind"]
        raise BuildError(quote(str(folder)), f"--fields names {len(fields)} numbers, its observation is {observed}")
    return policy


def _manifest_bytes(folder: Path) -> bytes:
    try:
        return (folder / "manifest.json").read_bytes()
    except OSError as error:
        reason = "there is no manifest.json" if folder.is_dir() else "there is no such folder"
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            reason = f"manifest.json can't be read: {error.strerror}"
        raise BuildError(quote(str(folder)), f"is not a package that policyc built: {reason}") from None
