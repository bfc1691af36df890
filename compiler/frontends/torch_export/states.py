"""
A state dict in the module that it was taken from: the user's own code makes the module, and says so by --trust.
"""

import hashlib
import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compiler.errors import BuildError, CheckpointError, quote
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.frontends.torch_export import modules
from compiler.frontends.torch_export.dynamic import Dynamic
from compiler.frontends.torch_export.listing import inventory
from compiler.ir import Model
from compiler.ops import Array
from compiler.options import BuildOptions
from compiler.readers.safetensors import is_safetensors, read_safetensors
from compiler.readers.tensors import read_tensors

FORMAT = "torch-state-dict"
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
EXAMPLES = "example_inputs"
LISTED = 8


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of a state dict, and what torch answers.

    Raises:
        BuildError: the option `module` names nothing that makes one, or is not trusted.
        CheckpointError: the file is damaged, or its tensors are not the module's.
        UnsupportedError: the module can't be exported or compiled.
    """
    where = str(path)
    tensors = read_safetensors(data, where) if is_safetensors(data) else read_tensors(data, where).tensors
    module, examples, dynamic = made(options)
    fill(module, tensors, where)
    model, ask = modules.read(
        module,
        examples,
        name=path.stem,
        dynamic=dynamic,
        allow_nonfinite=options.allow_nonfinite_weights,
        longest=options.longest,
    )
    digest = hashlib.sha256(data).hexdigest()
    return replace(model, origin=replace(model.origin, file=path.name, sha256=digest, format=FORMAT)), ask


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of the module; the state dict itself holds none.
    """
    module, examples, *_ = made(options)
    program = modules.exported(module, examples, where=str(path))
    return inventory(program, str(path), FORMAT)


def made(options: BuildOptions) -> tuple[torch.nn.Module, Sequence[Any], Dynamic]:
    """
    What the factory makes: a module, an example of its inputs, and what is dynamic of them: the batch, if it says none.
    """
    name = options.module or ""
    if not FACTORY.fullmatch(name):
        raise BuildError("options", f"module must be package.module:factory, found {quote(name)}")
    if not options.trust:
        raise BuildError("options", f"module {quote(name)} is imported and called: pass --trust to allow it")
    package, _, path = name.partition(":")
    try:
        with _working_folder():
            factory: Any = importlib.import_module(package)
            for part in path.split("."):
                factory = getattr(factory, part)
            found = factory()
    except Exception as error:  # the user's own code raises what it likes
        raise BuildError(f"module {quote(name)}", f"{type(error).__name__}: {quote(str(error), 300)}") from error
    parts = found if isinstance(found, tuple) and 2 <= len(found) <= 3 else (found, None)
    module, examples, dynamic = (*parts, True)[:3]
    if not isinstance(module, torch.nn.Module):
        found = quote(type(module).__name__)
        text = f"must give a torch.nn.Module, or one, its example inputs, and what is dynamic; found {found}"
        raise BuildError(f"module {quote(name)}", text)
    examples = getattr(module, EXAMPLES, None) if examples is None else examples
    if callable(examples):
        examples = examples()
    if examples is None:
        ways = f"return (module, inputs) or (module, inputs, dynamic), or give the module an attribute {EXAMPLES}"
        text = f"gives no example inputs: {ways}"
        raise BuildError(f"module {quote(name)}", text)
    return module, (examples,) if isinstance(examples, torch.Tensor) else tuple(examples), dynamic


def fill(module: torch.nn.Module, tensors: Mapping[str, Array], where: str) -> None:
    """
    Puts the tensors of a file into a module.

    Raises:
        CheckpointError: naming what is missing, unexpected or of another shape.
    """
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items() if hasattr(value, "shape")}
    findings = []
    missing = [name for name in expected if name not in tensors]
    spare = [name for name in tensors if name not in expected]
    other = [name for name in expected if name in tensors and expected[name] != tensors[name].shape]
    if missing:
        findings.append(f"lacks {_listed(missing)} of the module")
    if spare:
        findings.append(f"holds {_listed(spare)}, which the module has not")
    findings += [
        f"{quote(name)} has shape {tensors[name].shape}, the module's {expected[name]}" for name in other[:LISTED]
    ]
    if findings:
        raise CheckpointError(where, *findings)
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in tensors.items()})


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(quote, names[:LISTED])) + more


@contextmanager
def _working_folder() -> Iterator[None]:
    """
    Modules of the folder in which the command is given can be imported, as by `python -m`.
    """
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
