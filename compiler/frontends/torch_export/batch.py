"""
The batch of an exported program: which of its symbolic sizes it is, and what sizes are when it counts as 1.

A program that was exported with a dynamic first dimension computes as many samples as it is given, which never meet.
The model is that of one sample: every size is what it becomes where the batch is 1.
"""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

from compiler.errors import UnsupportedError, quote


class Batch:
    """
    The symbols that are the number of samples; none in a program whose sizes are all fixed.
    """

    def __init__(self, symbols: frozenset[Any]) -> None:
        self.symbols = symbols

    def __bool__(self) -> bool:
        return bool(self.symbols)

    def size(self, value: Any) -> Any:
        """
        A number of the program with the batch as 1.

        Raises:
            UnsupportedError: it depends on the data.
        """
        if not isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
            return value
        found = value.node.expr.subs(dict.fromkeys(self.symbols, 1))
        if found.free_symbols:
            text = "depends on the data: only sizes that are fixed, and the batch, can be compiled"
            raise UnsupportedError(f"size {quote(str(value))}", text)
        if isinstance(value, torch.SymBool):
            return bool(found)
        return int(found) if isinstance(value, torch.SymInt) else float(found)

    def has(self, value: Any) -> bool:
        """
        Whether a number of the program depends on the number of samples.
        """
        return isinstance(value, torch.SymInt) and bool(value.node.expr.free_symbols & self.symbols)


def user_inputs(program: ExportedProgram) -> list[tuple[str, torch.Tensor]]:
    """
    The tensors that a caller gives, by name, as torch.export recorded them.
    """
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    found = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument):
            found.append((spec.arg.name, nodes[spec.arg.name].meta["val"]))
    return found


def batch_of(program: ExportedProgram, where: str) -> Batch:
    """
    The batch of a program.

    Raises:
        UnsupportedError: an input has another dynamic dimension than its first, or some have a batch and some none.
    """
    symbols: set[Any] = set()
    findings, fixed = [], []
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT and not isinstance(spec.arg, TensorArgument | ConstantArgument):
            findings.append(f"input {quote(spec.arg.name)} is no tensor: give numbers as tensors, or export them fixed")
    for name, value in user_inputs(program):
        for axis, size in enumerate(value.shape):
            if not isinstance(size, torch.SymInt):
                continue
            if axis == 0 and size.node.expr.is_Symbol:
                symbols.add(size.node.expr)
            elif size.node.expr.free_symbols:
                text = "only the first dimension, the batch, may be: export the model with fixed sizes elsewhere"
                findings.append(f"input {quote(name)}: dimension {axis} is dynamic ({quote(str(size))}); {text}")
        if not value.ndim or not isinstance(value.shape[0], torch.SymInt):
            fixed.append(name)
    if symbols and fixed:
        names = ", ".join(map(quote, fixed))
        findings.append(
            f"input {names} has no dynamic first dimension, but others have: all samples would share it; give it a "
            "batch of its own, or export all with fixed sizes"
        )
    if findings:
        raise UnsupportedError(where, *findings)
    return Batch(frozenset(symbols))
