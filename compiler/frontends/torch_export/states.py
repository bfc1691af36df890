"""
A state dict in the module that it was taken from: the user's own code makes the module, and says so by --trust.
"""

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compiler.errors import BuildError, quote
from compiler.frontends.operations import Inventory
from compiler.frontends.source import Ask
from compiler.frontends.torch_export import modules
from compiler.frontends.torch_export.dynamic import Dynamic
from compiler.frontends.torch_export.fitting import Expected, fitting
from compiler.frontends.torch_export.listing import inventory
from compiler.ir import Model
from compiler.options import BuildOptions
from compiler.readers.weights import COMPILED_WITH, Weights, read_weights

FORMAT = "torch-state-dict"
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
EXAMPLES = "example_inputs"


def read(data: memoryview, path: Path, options: BuildOptions) -> tuple[Model, Ask]:
    """
    The model of a state dict, and what torch answers.

    Raises:
        BuildError: the option `module` names nothing that makes one, or is not trusted.
        CheckpointError: the file is damaged, or its tensors are not the module's.
        UnsupportedError: the module can't be exported or compiled.
    """
    module, examples, dynamic = made(options)
    found, digest = read_weights(data, path)
    assumptions = fill(module, found, str(path))
    model, ask = modules.read(
        module,
        examples,
        name=path.stem,
        dynamic=dynamic,
        allow_nonfinite=options.allow_nonfinite_weights,
        longest=options.longest,
    )
    origin = replace(model.origin, file=path.name, sha256=digest, format=FORMAT, assumptions=assumptions)
    return replace(model, origin=origin), ask


def operations(data: memoryview, path: Path, options: BuildOptions) -> Inventory:
    """
    The operations of the module, whose tensors the file must have.
    """
    module, examples, *_ = made(options)
    fill(module, read_weights(data, path)[0], str(path))
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
    except (Exception, SystemExit) as error:  # the user's own code raises what it likes
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
    if any(value.is_meta for value in (*module.parameters(), *module.buffers())):
        raise BuildError(f"module {quote(name)}", "makes tensors on the device meta, which hold nothing: use the cpu")
    if not isinstance(examples, (torch.Tensor, tuple, list)):
        found = quote(type(examples).__name__)
        raise BuildError(f"module {quote(name)}", f"must give a tensor or a tuple as its example inputs, found {found}")
    module = module.module if isinstance(module, torch.nn.DataParallel) else getattr(module, COMPILED_WITH, module)
    return module, (examples,) if isinstance(examples, torch.Tensor) else tuple(examples), dynamic


def fill(module: torch.nn.Module, found: Sequence[Weights], where: str) -> tuple[str, ...]:
    """
    Puts the tensors of a file into a module; returns what was assumed about where they are.

    Raises:
        CheckpointError: the file has not the module's tensors, or in several places.
    """
    known = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    twins: dict[Any, list[str]] = {}
    for name, value in known.items():
        twins.setdefault((value.data_ptr(), value.shape, value.stride()) if value.numel() else name, []).append(name)
    expected = {name: Expected(tuple(known[name].shape), tuple(names)) for names in twins.values() for name in names}
    fit = fitting({name: expected[name] for name in known}, found, where)
    arrays = {name: torch.from_numpy(array.copy()) for name, array in fit.arrays().items()}
    module.load_state_dict(arrays, strict=False)
    return (f"that the module's tensors are {fit}",) if str(fit) else ()


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
