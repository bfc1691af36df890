"""
A live torch.nn.Module to a model: exported in evaluation mode, then read as a file would be.
"""

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from compiler.errors import UnsupportedError, quote
from compiler.frontends.source import Ask
from compiler.frontends.torch_export.program import translate
from compiler.frontends.torch_export.quiet import quietly
from compiler.frontends.torch_export.running import asking
from compiler.ir import Model, Origin

FORMAT = "torch-module"

ADVICE = "export it yourself with torch.export and give the .pt2 file, or make the model exportable"


def exported(
    module: torch.nn.Module,
    example_inputs: Sequence[Any],
    *,
    example_keywords: Mapping[str, Any] | None = None,
    dynamic: bool = True,
    where: str = "module",
) -> ExportedProgram:
    """
    A module as torch.export sees it, in evaluation mode; the module is left as it was.

    Args:
        module: any module.
        example_inputs: arguments of `forward`; their values do not matter, their shapes and dtypes do.
        example_keywords: keyword arguments of `forward`.
        dynamic: whether the first dimension of all inputs is the batch, of any size; else sizes are those given.
        where: the module's name, for messages.

    Raises:
        UnsupportedError: torch.export refuses the module.
    """
    arguments, keywords = tuple(example_inputs), dict(example_keywords or {})
    shapes: Any = None
    if dynamic:
        batch = Dim("batch")
        arguments, keywords = pytree.tree_map(_doubled, (arguments, keywords))
        bound = inspect.signature(module.forward).bind(*arguments, **keywords).arguments
        shapes = pytree.tree_map(lambda value: _first(value, batch), dict(bound))
    with _evaluating(module), quietly():
        try:
            return torch.export.export(module, arguments, keywords or None, dynamic_shapes=shapes)
        except Exception as error:  # torch.export runs the user's code, and raises whatever that raises
            text = f"torch.export refuses the module: {type(error).__name__}: {quote(str(error), 600)}"
            hint = "; with dynamic=False all sizes are fixed" if dynamic else ""
            raise UnsupportedError(where, f"{text}; {ADVICE}{hint}") from error


def _doubled(value: Any) -> Any:
    """
    An example with two samples or more: torch.export takes the size 1 for one that is always 1.
    """
    if not isinstance(value, torch.Tensor) or not value.ndim or value.shape[0] != 1:
        return value
    return value.repeat(2, *(1,) * (value.ndim - 1))


def _first(value: Any, batch: Any) -> Any:
    return {0: batch} if isinstance(value, torch.Tensor) and value.ndim else None


@contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """
    All of a module in evaluation mode, meanwhile.
    """
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def read(
    module: torch.nn.Module,
    example_inputs: Sequence[Any],
    *,
    name: str,
    example_keywords: Mapping[str, Any] | None = None,
    dynamic: bool = True,
    allow_nonfinite: bool = False,
) -> tuple[Model, Ask]:
    """
    The model of a live module, and what torch answers.
    """
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedError(name, f"must be a torch.nn.Module, found {quote(type(module).__name__)}")
    program = exported(module, example_inputs, example_keywords=example_keywords, dynamic=dynamic, where=name)
    origin = Origin(name, digest(program), FORMAT, (("torch", str(torch.__version__)),))
    model = translate(program, name, origin, allow_nonfinite=allow_nonfinite)
    return model, asking(program, name, [state.name for state in model.states])


def digest(program: ExportedProgram) -> str:
    """
    The SHA-256 of a module's graph and of all that it knows, in hexadecimal: its identity, as a file's is its bytes.
    """
    found = hashlib.sha256(str(program.graph).encode())
    known = {**program.constants, **program.state_dict}
    for name, value in known.items():
        if isinstance(value, torch.Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
