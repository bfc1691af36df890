"""
PyTorch models through torch.export: `.pt2` files, live modules, and state dicts with the code of their module.

torch is imported when one of these is read, never before, and need not be installed for anything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.errors import UnsupportedError
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Read
from compiler.ir import Model
from compiler.ops import Array
from compiler.options import BuildOptions

NEEDED = "needs PyTorch, which is not installed: pip install torch"


def read_program(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of a .pt2 file.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it can't be compiled, says what only a trusted file may, or torch is not installed.
    """
    return read_program_with_source(data, path, options).model


def read_program_with_source(data: memoryview, path: Path, options: BuildOptions) -> Read:
    """
    The model of a .pt2 file, and torch's answers to compare with.
    """
    need_torch(str(path))
    from compiler.frontends.torch_export import files

    return Read(*files.read(data, path, options))


def from_module(
    module: Any,
    example_inputs: Sequence[Any],
    *,
    name: str | None = None,
    example_keywords: Mapping[str, Any] | None = None,
    dynamic: Any = True,
    allow_nonfinite: bool = False,
    longest: int | None = None,
) -> Read:
    """
    The model of a live module, in evaluation mode; the module is left as it was.

    Args:
        module: a torch.nn.Module.
        example_inputs: arguments of `forward`; their shapes and dtypes matter, their values do not.
        name: the model's name; that of the class if not given.
        example_keywords: keyword arguments of `forward`.
        dynamic: whether the first dimension of all inputs is a batch of any size; else all sizes are fixed. Or the
            dynamic dimensions of each input as torch.export takes them: the first is the batch, another the length.
        allow_nonfinite: whether weights may be NaN or infinite.
        longest: the largest length, where `dynamic` says none or a larger one.

    Raises:
        BuildError: `dynamic` says what can't be.
        UnsupportedError: it can't be exported or compiled, or torch is not installed.
    """
    need_torch(name or "module")
    from compiler.frontends.torch_export import modules

    return Read(
        *modules.read(
            module,
            example_inputs,
            name=name or type(module).__name__,
            example_keywords=example_keywords,
            dynamic=dynamic,
            allow_nonfinite=allow_nonfinite,
            longest=longest,
        )
    )


def read_state(data: memoryview, path: Path, options: BuildOptions) -> Model:
    """
    The model of a state dict (`.pth` or `.safetensors`) in the module that `options.module` makes.

    Raises:
        BuildError: `module` names nothing that makes one, or is not trusted.
        CheckpointError: the file is damaged, or its tensors are not the module's.
        UnsupportedError: the module can't be exported or compiled, or torch is not installed.
    """
    return read_state_with_source(data, path, options).model


def read_state_with_source(data: memoryview, path: Path, options: BuildOptions) -> Read:
    """
    The same, and torch's answers to compare with.
    """
    need_torch(str(path))
    from compiler.frontends.torch_export import states

    return Read(*states.read(data, path, options))


def list_program(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of a .pt2 file.
    """
    need_torch(str(path))
    from compiler.frontends.torch_export import files

    return files.operations(data, path, options)


def list_state(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of the module that `options.module` makes.
    """
    need_torch(str(path))
    from compiler.frontends.torch_export import states

    return states.operations(data, path, options)


@dataclass(frozen=True)
class Extractor:
    """
    A features extractor of a policy.
    """

    model: Model
    tensors: dict[str, Array]
    """Its parameters and buffers, by their names in the module."""
    keys: list[str]
    """Where it takes a dict, the keys in the order of the model's inputs."""


def read_extractor(data: memoryview, path: Path, tensors: Mapping[str, Array]) -> Extractor:
    """
    The features extractor in a .pt2 file.

    Args:
        data: the file's bytes.
        path: where they are from.
        tensors: what stands in the place of its own parameters and buffers of these names.

    Raises:
        CheckpointError: the file is damaged.
        UnsupportedError: it can't be compiled, or torch is not installed.
    """
    need_torch(str(path))
    from compiler.frontends.torch_export import files

    return Extractor(*files.read_extractor(data, path, tensors))


def need_torch(where: str) -> None:
    """
    Refuses to go on where torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UnsupportedError(where, NEEDED) from None
