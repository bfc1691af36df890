"""
The batch of an exported program: which of its symbolic sizes it is, and what sizes are when it counts as 1.

A program that was exported with a dynamic first dimension computes as many samples as it is given, which never meet.
The model is that of one sample: every size is what it becomes where the batch is 1. One other symbol may be the length
of sequences: the program is then read several times, as if they had one length or another.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument

from compiler.errors import UnsupportedError, quote
from compiler.frontends.lengths import bounded
from compiler.ir import Length

USUAL = 16
"""What a length counts as where nobody says."""
UNBOUNDED = 1 << 31
"""A largest size from which on there is none."""


class Batch:
    """
    The symbols that are the number of samples; none in a program whose sizes are all fixed.

    Attributes:
        symbols: of the number of samples.
        sequence: the symbol of the length of sequences; None where there is none.
        length: what that counts as.
    """

    def __init__(self, symbols: frozenset[Any], sequence: Any = None, length: int = USUAL) -> None:
        self.symbols, self.sequence, self.length = symbols, sequence, length

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
        known = dict.fromkeys(self.symbols, 1)
        if self.sequence is not None:
            known[self.sequence] = self.length
        found = value.node.expr.subs(known)
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

    def of(self, length: int) -> "Batch":
        """
        The same for sequences of one length.
        """
        return Batch(self.symbols, self.sequence, length)


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
        UnsupportedError: some inputs have a batch and some none, or other dimensions are dynamic, each for itself.
    """
    symbols: set[Any] = set()
    sequences: dict[Any, str] = {}
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
            else:
                what = f"dimension {axis} of input {quote(name)} ({quote(str(size))})"
                sequences |= {symbol: what for symbol in size.node.expr.free_symbols if symbol not in sequences}
        if not value.ndim or not isinstance(value.shape[0], torch.SymInt):
            fixed.append(name)
    findings += _length_findings(symbols, sequences)
    if symbols and fixed:
        names = ", ".join(map(quote, fixed))
        findings.append(
            f"input {names} has no dynamic first dimension, but others have: all samples would share it; give it a "
            "batch of its own, or export all with fixed sizes"
        )
    if findings:
        raise UnsupportedError(where, *findings)
    return Batch(frozenset(symbols), next(iter(sequences), None))


def _length_findings(symbols: set[Any], sequences: dict[Any, str]) -> Iterator[str]:
    for symbol, what in sequences.items():
        if symbol in symbols:
            yield f"{what} depends on the batch, the first dimension: only that may"
    if len(sequences) > 1:
        yield (
            f"{' and '.join(sequences.values())} are dynamic, each for itself: besides the batch one length may be; "
            "export them with one Dim, or with fixed sizes"
        )


def bounds_of(program: ExportedProgram, batch: Batch, longest: int | None, where: str) -> Length:
    """
    The length of the sequences of a program, with its bounds.

    Args:
        program: as torch.export made it.
        batch: what `batch_of` found, with a length.
        longest: the largest length, where the program has none or a larger one.
        where: the file, for messages.

    Raises:
        UnsupportedError: nothing bounds the length, or there is only one.
    """
    found = program.range_constraints.get(batch.sequence)
    least = max(1, int(found.lower)) if found is not None else 1
    most = int(found.upper) if found is not None and bool(found.upper < UNBOUNDED) else None
    return bounded("length", least, most, longest, where)
