"""
A live torch.nn.Module to a model: exported in evaluation mode, then read as a file would be.
"""

import copy
import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from compiler.errors import UnsupportedError, quote
from compiler.frontends.lengths import Places, all_lengths
from compiler.frontends.source import Ask
from compiler.frontends.torch_export.dynamic import Dynamic, Shapes, read_dynamic
from compiler.frontends.torch_export.explaining import explained
from compiler.frontends.torch_export.program import translate, translate_fixed
from compiler.frontends.torch_export.quiet import quietly
from compiler.frontends.torch_export.running import asking
from compiler.ir import Length, Model, Origin

FORMAT = "torch-module"


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
        try:
            bound = inspect.signature(module.forward).bind(*arguments, **keywords).arguments
        except TypeError as error:
            text = f"its forward does not take these example inputs: {quote(str(error), 200)}"
            raise UnsupportedError(where, text) from None
        shapes = pytree.tree_map(lambda value: _first(value, batch), dict(bound))
    with _evaluating(module), _unchecked_distributions(), quietly():
        try:
            return torch.export.export(module, arguments, keywords or None, dynamic_shapes=shapes)
        except Exception as error:  # torch.export runs the user's code, and raises whatever that raises
            raise UnsupportedError(where, explained(error)) from error


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


@contextmanager
def _unchecked_distributions() -> Iterator[None]:
    """
    Without torch's checks of what distributions are made of, meanwhile.

    They branch on values, as no graph can. Without them, the mode and the mean are exported: policies' best actions.
    """
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


def read(
    module: torch.nn.Module,
    example_inputs: Sequence[Any],
    *,
    name: str,
    example_keywords: Mapping[str, Any] | None = None,
    dynamic: Dynamic = True,
    allow_nonfinite: bool = False,
    longest: int | None = None,
) -> tuple[Model, Ask]:
    """
    The model of a live module, and what torch answers.
    """
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedError(name, f"must be a torch.nn.Module, found {quote(type(module).__name__)}")
    given, keywords = tuple(example_inputs), dict(example_keywords or {})
    shapes = read_dynamic(module, given, keywords, dynamic, longest, name)
    if shapes.length is not None:
        return _read_lengths(module, given, keywords, shapes, shapes.length, name, allow_nonfinite)
    program = exported(module, given, example_keywords=keywords, dynamic=shapes.batched, where=name)
    model = translate(program, name, _origin(program, name), allow_nonfinite=allow_nonfinite)
    return model, asking(program, name, [state.name for state in model.states])


def _origin(program: ExportedProgram, name: str) -> Origin:
    return Origin(name, digest(program), FORMAT, (("torch", str(torch.__version__)),))


def _read_lengths(
    module: torch.nn.Module,
    given: tuple[Any, ...],
    keywords: Mapping[str, Any],
    shapes: Shapes,
    length: Length,
    name: str,
    allow_nonfinite: bool,
) -> tuple[Model, Ask]:
    """
    The model of a module whose sequences have any length; the module itself answers.
    """
    programs: list[ExportedProgram] = []

    def at(size: int) -> tuple[Model, Places]:
        arguments, others = shapes.examples(module, given, keywords, size)
        programs.append(exported(module, arguments, example_keywords=others, dynamic=shapes.batched, where=name))
        origin = _origin(programs[0], name)
        return translate_fixed(programs[-1], name, origin, allow_nonfinite=allow_nonfinite)

    model = all_lengths(at, length, costly=True)  # torch.export unrolls the steps of recurrent layers
    return model, asking(programs[0], name, module=copy.deepcopy(module).eval().float())


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
