"""
An exported program as torch computes it, in eager float32: what a predictor is compared with.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from compiler.frontends.torch_export.batch import batch_of
from compiler.frontends.torch_export.quiet import quietly
from compiler.ops import Array

Ask: TypeAlias = Callable[[Sequence[Array]], list[Array]]
"""Inputs, each with the samples in its first dimension, to outputs of the same form."""


def asking(program: ExportedProgram, where: str) -> Ask:
    """
    What the program answers. A program of fixed sizes is asked sample by sample.

    Args:
        program: as torch.export made it.
        where: the file, for messages.
    """
    with quietly():
        module = program.module(check_guards=False)
    specs = program.graph_signature.input_specs
    given = [spec.arg for spec in specs if spec.kind is InputKind.USER_INPUT]
    kept = [
        isinstance(spec.arg, TensorArgument)
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    recorded = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    batched = bool(batch_of(program, where))

    def once(inputs: Sequence[Array]) -> list[Array]:
        arrays = iter(inputs)
        flat = [
            torch.tensor(next(arrays)).to(recorded[arg.name].dtype) if isinstance(arg, TensorArgument) else arg.value
            for arg in given
        ]
        arguments, others = pytree.tree_unflatten(flat, program.call_spec.in_spec)
        with torch.no_grad(), quietly():
            results = pytree.tree_leaves(module(*arguments, **others))
        answers = [result for result, keep in zip(results, kept, strict=True) if keep]
        return [np.asarray(result.float() if result.is_floating_point() else result) for result in answers]

    def ask(inputs: Sequence[Array]) -> list[Array]:
        if batched:
            return once(inputs)
        answers = [once([array[row] for array in inputs]) for row in range(len(inputs[0]))]
        return [np.stack(each) for each in zip(*answers, strict=True)]

    return ask
