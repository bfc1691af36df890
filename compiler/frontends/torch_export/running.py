"""
An exported program as torch computes it, in eager float32: what a predictor is compared with.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from compiler.errors import VerificationError, quote
from compiler.frontends.source import Ask
from compiler.frontends.torch_export.batch import batch_of
from compiler.frontends.torch_export.quiet import quietly
from compiler.ops import Array

REDUCED = (torch.float16, torch.bfloat16)
"""What a predictor computes in float32."""


def asking(
    program: ExportedProgram, where: str, states: Sequence[str] = (), module: torch.nn.Module | None = None
) -> Ask:
    """
    What the program answers: for inputs and states, outputs and the states after them.

    A program of fixed sizes is asked sample by sample.

    Args:
        program: as torch.export made it.
        where: the file, for messages.
        states: the buffers that are states, in the model's order.
        module: what answers in the program's place, to inputs of other sizes: the module that it was exported from.
    """
    if module is None:
        with quietly():
            traced: Any = program.module(check_guards=False)
        _widen(traced)
        module = traced
    for name in states:
        _own_buffer(module, name)
    batched = bool(batch_of(program, where))
    kept = [
        isinstance(spec.arg, TensorArgument)
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]

    def once(inputs: Sequence[Array]) -> list[Array]:
        own = dict(zip(states, inputs[len(inputs) - len(states) :], strict=True))
        with torch.no_grad(), quietly(), _without_shortcuts():
            for name, value in own.items():
                module.get_buffer(name).copy_(torch.tensor(value))
            arguments, others = _arguments(program, inputs)
            try:
                results = pytree.tree_leaves(module(*arguments, **others))
            except Exception as error:  # an index that is out of range, as a rule
                text = f"PyTorch itself refuses these inputs: {type(error).__name__}: {quote(str(error), 300)}"
                raise VerificationError(where, text) from error
        answers = [result for result, keep in zip(results, kept, strict=True) if keep]
        answers += [module.get_buffer(name).float() for name in states]
        return [np.asarray((answer.float() if answer.is_floating_point() else answer).clone()) for answer in answers]

    def ask(inputs: Sequence[Array]) -> list[Array]:
        if batched:
            return once(inputs)
        answers = [once([array[row] for array in inputs]) for row in range(len(inputs[0]))]
        return [np.stack(each) for each in zip(*answers, strict=True)]

    return ask


def _widen(module: torch.fx.GraphModule) -> None:
    """
    Lets a program compute in float32 whatever it would round to fewer bits: half precision is how weights are stored.
    """
    for part in module.modules():
        for name, value in (*part._parameters.items(), *part._buffers.items()):
            if value is not None and value.dtype in REDUCED:
                kept = value.detach().float()
                setattr(part, name, torch.nn.Parameter(kept, False) if name in part._parameters else kept)

    def wider(value: Any) -> Any:
        return torch.float32 if value in REDUCED and isinstance(value, torch.dtype) else value

    changed = False
    for node in module.graph.nodes:
        arguments = pytree.tree_map(wider, (node.args, node.kwargs))
        if arguments != (node.args, node.kwargs):
            node.args, node.kwargs = arguments
            changed = True
    if changed:
        module.recompile()


def _own_buffer(module: torch.nn.Module, name: str) -> None:
    """
    Puts a copy in the place of a buffer, which belongs to the module that was exported: answers may not change that.
    """
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    setattr(owner, last, owner.get_buffer(last).clone())


@contextmanager
def _without_shortcuts() -> Iterator[None]:
    """
    Attention as programs have it, meanwhile: torch.nn's fast path gives NaN where all keys are masked, and not 0.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _arguments(program: ExportedProgram, inputs: Sequence[Array]) -> tuple[Any, Any]:
    """
    Arrays as the arguments and keyword arguments that the module takes.
    """
    recorded = {node.name: _dtype(node) for node in program.graph.nodes if node.op == "placeholder"}
    arrays = iter(inputs)
    flat = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if not isinstance(spec.arg, TensorArgument):
            flat.append(spec.arg.value)
            continue
        dtype = recorded[spec.arg.name]
        flat.append(torch.tensor(next(arrays)).to(torch.float32 if dtype in REDUCED else dtype))
    arguments, others = pytree.tree_unflatten(flat, program.call_spec.in_spec)
    return arguments, others


def _dtype(node: torch.fx.Node) -> Any:
    return getattr(node.meta.get("val"), "dtype", None)
