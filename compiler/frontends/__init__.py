"""
From a checkpoint, whatever tool wrote it, to a model: `read`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from compiler.errors import CheckpointError, UnsupportedError
from compiler.frontends.sb3.policy_file import read_policy_file
from compiler.frontends.sb3.policy_zip import read_zip
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.readers.archive import Archive, is_archive
from compiler.readers.files import read_file

Reader: TypeAlias = Callable[[memoryview, Path, BuildOptions], Model]

PICKLE = b"\x80"
"""How a pickle begins. Before it wrote archives, torch.save wrote a row of them; the reader refuses all others."""
EXPECTED = (
    "expected the .zip that Stable-Baselines3's model.save() writes, the policy.pth in it, or the file that "
    "model.policy.save() writes"
)


def read(path: Path, options: BuildOptions) -> Model:
    """
    The model of a checkpoint. What the file is, is decided by its content, never by its name.

    Raises:
        CheckpointError: the file can't be read, is nothing that is known, is damaged, or contradicts itself.
        UnsupportedError: it is sound but can't be compiled, or does not say enough.
        BuildError: an option contradicts it.
    """
    data = read_file(path)
    reader = _reader(data, path)
    if reader is None:
        raise CheckpointError(str(path), EXPECTED)
    return reader(data, path, options)


def _reader(data: memoryview, path: Path) -> Reader | None:
    if bytes(data[:1]) == PICKLE:
        return read_policy_file
    if not is_archive(data):
        return None
    names = Archive.open(data, str(path)).names
    if "data" in names or "policy.pth" in names:
        return read_zip
    if any(name.endswith("/constants.pkl") for name in names):
        raise UnsupportedError(str(path), f"is a TorchScript archive, which this version does not compile; {EXPECTED}")
    if any(name.endswith("/data.pkl") for name in names):
        return read_policy_file
    return None
