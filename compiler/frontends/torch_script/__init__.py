"""
PyTorch models that come as TorchScript archives.

torch is imported when one of these is read, never before.
"""

from pathlib import Path

from compiler.errors import UnsupportedError
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Read
from compiler.frontends.torch_export import need_torch
from compiler.ir import Model
from compiler.options import BuildOptions

UNTRUSTED = (
    "is a TorchScript archive: code, which torch executes to load it; if you know where the file is from, pass --trust"
)
SHAPELESS = (
    "is a TorchScript archive, which does not say what goes in: give the shapes of its inputs, as in "
    "--example-shapes 1,41"
)


def read_torch_script(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of a TorchScript archive, with the sizes of its example inputs.

    Raises:
        BuildError: the shapes can't be read.
        CheckpointError: the file is damaged.
        UnsupportedError: it is not trusted, can't be compiled, or torch is not installed.
    """
    return read_torch_script_with_source(data, path, options).model


def read_torch_script_with_source(data: memoryview, path: Path, options: BuildOptions) -> Read:
    """
    The same, and torch's answers to compare with.
    """
    _check(path, options)
    from compiler.frontends.torch_script import archive

    return Read(*archive.read(data, path, options))


def list_torch_script(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of a TorchScript archive, with the sizes of its example inputs.
    """
    _check(path, options)
    from compiler.frontends.torch_script import archive

    return archive.operations(data, path, options)


def _check(path: Path, options: BuildOptions) -> None:
    findings = [*([] if options.trust else [UNTRUSTED]), *([] if options.example_shapes else [SHAPELESS])]
    if findings:
        raise UnsupportedError(str(path), *findings)
    need_torch(str(path))
