"""
From a checkpoint, whatever tool wrote it, to a model: `read`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from compiler.errors import CheckpointError, UnsupportedError, quote
from compiler.frontends.onnx_file import is_onnx, list_onnx, read_onnx, read_onnx_with_source
from compiler.frontends.operations import Inventory
from compiler.frontends.sb3.policy_file import read_policy_file
from compiler.frontends.sb3.policy_zip import read_zip
from compiler.frontends.source import Ask
from compiler.frontends.torch_export import (
    list_program,
    list_state,
    read_program,
    read_program_with_source,
    read_state,
    read_state_with_source,
)
from compiler.frontends.torch_script import list_torch_script, read_torch_script, read_torch_script_with_source
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.readers.archive import Archive, is_archive
from compiler.readers.files import read_file
from compiler.readers.safetensors import is_safetensors
from compiler.readers.weights import is_index

Reader: TypeAlias = Callable[[memoryview, Path, BuildOptions], Model]

WITH_SOURCE = {
    read_onnx: read_onnx_with_source,
    read_program: read_program_with_source,
    read_state: read_state_with_source,
    read_torch_script: read_torch_script_with_source,
}
"""Of readers whose library can be asked, those that return what asks it as well."""
LISTING: dict[Reader, Callable[[memoryview, Path, BuildOptions], Inventory]] = {
    read_onnx: list_onnx,
    read_program: list_program,
    read_state: list_state,
    read_torch_script: list_torch_script,
}
"""Of readers of programs, those that list operations."""
PROGRAM = re.compile(r"[^/]+/models/[^/]+\.json|serialized_exported_program\.json")
"""The member of a .pt2 file that describes its program."""

SHOWN = 20
"""Bytes of a file that is nothing known, in a message."""
LISTED = 5
"""Members of such an archive."""

PICKLE = b"\x80"
"""How a pickle begins. Before it wrote archives, torch.save wrote a row of them; the reader refuses all others."""
EXPECTED = (
    "expected the .zip that Stable-Baselines3's model.save() writes, the policy.pth in it, the file that "
    "model.policy.save() writes, the .pt2 that torch.export.save() writes, a TorchScript archive, or an ONNX file"
)
POLICY = (
    "holds a policy of Stable-Baselines3, which is layers, not operations of PyTorch: policyc inspect without --ops "
    "shows them"
)
STATE = (
    "holds tensors only: name what makes their module with --module package.module:factory --trust, or export the "
    "model with torch.export"
)


def read(path: Path, options: BuildOptions) -> Model:
    """
    The model of a checkpoint. What the file is, is decided by its content, never by its name.

    Raises:
        CheckpointError: the file can't be read, is nothing that is known, is damaged, or contradicts itself.
        UnsupportedError: it is sound but can't be compiled, or does not say enough.
        BuildError: an option contradicts it.
    """
    return read_with_source(path, options, asked=False)[0]


def read_with_source(path: Path, options: BuildOptions, *, asked: bool = True) -> tuple[Model, Ask | None]:
    """
    The same, and what asks its source, where the source is a program of PyTorch.

    Args:
        path: the checkpoint.
        options: how to read it.
        asked: whether the source is to be asked at all.
    """
    data = read_file(path)
    reader = _reader(data, path, options)
    if not asked or reader not in WITH_SOURCE:
        return _certain(reader(data, path, options), path, options), None
    found = WITH_SOURCE[reader](data, path, options)
    return _certain(found.model, path, options), found.ask


def _certain(model: Model, path: Path, options: BuildOptions) -> Model:
    """
    The model, unless something had to be assumed and nothing may be.
    """
    if options.strict and model.origin.assumptions:
        texts = (f"would be assumed, but for --strict: {text}" for text in model.origin.assumptions)
        raise UnsupportedError(str(path), *texts)
    return model


def operations(path: Path, options: BuildOptions) -> Inventory:
    """
    All operations of a program of PyTorch or ONNX, those that can't be compiled among them.

    Raises:
        CheckpointError: the file can't be read, is nothing that is known, or is damaged.
        UnsupportedError: it holds a policy, which has layers and no operations, or can't be looked into.
        BuildError: an option contradicts it.
    """
    data = read_file(path)
    reader = _reader(data, path, options)
    if reader not in LISTING:
        reader(data, path, options)  # which says what is wrong with it, if it is no policy
        raise UnsupportedError(str(path), POLICY)
    return LISTING[reader](data, path, options)


def _reader(data: memoryview, path: Path, options: BuildOptions) -> Reader:
    if options.module is not None:
        return read_state
    if is_safetensors(data) or is_index(data):
        raise UnsupportedError(str(path), STATE)
    if bytes(data[:1]) == PICKLE:
        return read_policy_file
    if not is_archive(data):
        if is_onnx(data):
            return read_onnx
        raise CheckpointError(str(path), f"{EXPECTED}; found a file that begins with {quote(bytes(data[:SHOWN]))}")
    names = Archive.open(data, str(path)).names
    if "data" in names or "policy.pth" in names:
        return read_zip
    if any(map(PROGRAM.fullmatch, names)):
        return read_program
    if any(name.endswith("/constants.pkl") for name in names):
        return read_torch_script
    if any(name.endswith("/data.pkl") for name in names):
        return read_policy_file
    found = f"found a zip archive of {', '.join(map(quote, names[:LISTED])) or 'nothing'}"
    agent = next((name for name in names if name.endswith(".zip")), None)
    folder = next((name.removesuffix("/data") for name in names if name.endswith("/data")), None)
    advice = "" if folder is None else f"; zip the files of an agent without the folder {quote(folder)} around them"
    advice = advice if agent is None else f"; take {quote(agent)} out of it"
    raise CheckpointError(str(path), f"{EXPECTED}; {found}{', ...' if len(names) > LISTED else ''}{advice}")
