"""
The flat view of an executable whose model is no policy: the arrays that its requests hold, and how long lines may be.
"""

import ast
import json
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from compiler.codegen.general_native import CArray, GeneralNativeView
from compiler.codegen.naming import c_literal
from compiler.codegen.program import BATCH, BATCH_BYTES, MOST_KEYS, NUMBER, PLAIN, WIDTH, FieldView, shown
from compiler.ir import Length
from compiler.ops.lengths import follows

WHOLE = "JSON_WHOLE"
BATCH_WORK = 10_000_000
"""Multiply-adds of the observations that are measured at once."""


@dataclass(frozen=True)
class GeneralField(FieldView):
    """
    An array that the program reads or writes.
    """

    text: str = ""
    """What it is, for the help."""
    follows: int = 0
    """A bit for each dimension that follows the length of sequences: `shape` is for the longest."""

    @property
    def quoted(self) -> str:
        """
        Its name as JSON, as a literal of C.
        """
        return c_literal(json.dumps(ast.literal_eval(f"b{self.key}").decode("utf-8", "surrogatepass")))

    @property
    def kind(self) -> str:
        """
        How its values are read and written.
        """
        return WHOLE if self.dtype == "int64" else super().kind


@dataclass(frozen=True)
class GeneralProgramView:
    """
    What the templates of an executable see besides the interface. What it shares with `ProgramView` has the same names.
    """

    inputs: Sequence[GeneralField]
    states: Sequence[GeneralField]
    outputs: Sequence[GeneralField]
    work: int
    """Multiply-adds of one observation."""
    macro: str
    """What names of macros begin with."""
    length: Length | None
    """The length of sequences, if that is known at run time only."""
    general: ClassVar[bool] = True

    @property
    def parts(self) -> Sequence[GeneralField]:
        """
        What is observed: the inputs.
        """
        return self.inputs

    @property
    def given(self) -> list[GeneralField]:
        """
        All that a request may hold.
        """
        return [*self.inputs, *self.states]

    @property
    def written(self) -> list[GeneralField]:
        """
        What an answer may hold.
        """
        return [*self.outputs, *self.states]

    @property
    def arguments(self) -> list[str]:
        """
        What a request gives, and where an answer comes from, as arguments of the interface.
        """
        length = ["asked->length"] if self.length else []
        given = [f"given.{array.name}" for array in self.inputs]
        return [*length, *given, *(f"result.{array.name}" for array in self.outputs)]

    @property
    def measured(self) -> list[str]:
        """
        What is measured, the longest sequences, as arguments of the interface.
        """
        length = [f"{self.macro}_LONGEST"] if self.length else []
        given = [f"seen.{array.name}" for array in self.inputs]
        return [*length, *given, *(f"found.{array.name}" for array in self.outputs)]

    @property
    def deepest(self) -> int:
        """
        The most dimensions of an array.
        """
        return max(1, *(len(array.shape) for array in [*self.given, *self.written]))

    @property
    def key_room(self) -> int:
        """
        Bytes of the longest key there is.
        """
        return max(len("episode_start"), *(array.key_length for array in [*self.given, *self.written]))

    @property
    def line_most(self) -> int:
        """
        Bytes of the longest line that is read.
        """
        return _most(self.given)

    @property
    def answer_most(self) -> int:
        """
        Bytes of the longest line that is written.
        """
        return _most(self.written)

    @property
    def batch(self) -> int:
        """
        Observations in the batch that is measured.
        """
        row = 8 * sum(array.count for array in [*self.given, *self.written])
        return max(1, min(BATCH, BATCH_BYTES // row, BATCH_WORK // max(1, self.work)))

    @property
    def key_names(self) -> list[str]:
        """
        The keys of a request.
        """
        return ["inputs", *(["episode_start", "state"] if self.states else [])]

    @property
    def known_inputs(self) -> list[str]:
        """
        What messages say of the names of inputs, as literals of C that go on on the next line.
        """
        return _known(self.inputs)

    @property
    def known_states(self) -> list[str]:
        """
        The same of the names of states.
        """
        return _known(self.states)

    @property
    def asked(self) -> list[str]:
        """
        What each input is, as literals of C, for the help.
        """
        lines = _described(self.inputs)
        if self.length:
            lines.append(
                c_literal(
                    f"length: from {self.length.least} to {self.length.most}, one for all inputs; their values say it"
                )
            )
        return lines

    @property
    def told(self) -> list[str]:
        """
        The same of the outputs.
        """
        return _described(self.outputs)


def general_program_view(view: GeneralNativeView) -> GeneralProgramView:
    """
    The view of an executable with this interface.
    """
    inputs = [_field(number, array, "inputs") for number, array in enumerate(view.inputs)]
    states = [_field(len(inputs) + number, array, "state") for number, array in enumerate(view.states)]
    outputs = [_field(number, array, "outputs") for number, array in enumerate(view.outputs)]
    return GeneralProgramView(inputs, states, outputs, view.predictor.work, view.macro, view.length)


def _field(number: int, array: CArray, around: str) -> GeneralField:
    key = ast.literal_eval(array.array.label)
    place = c_literal(f"{around}[{shown(key)}]")
    length = len(key.encode("utf-8", "surrogatepass"))
    return GeneralField(
        name=array.name,
        dtype=array.array.dtype,
        shape=tuple(map(int, array.shape)),
        place=place,
        key=c_literal(key),
        key_length=length,
        limits=(),
        number=number,
        text=f"{shown(key)}: {array.array.text}",
        follows=sum(1 << axis for axis in follows(array.shape)),
    )


def _most(arrays: Sequence[GeneralField]) -> int:
    values = sum(array.count + math.prod(array.shape[:-1]) for array in arrays)
    # A byte of a key takes six where it is written as an escape sequence.
    return PLAIN + NUMBER * values + sum(6 * array.key_length + 16 for array in arrays)


def _known(arrays: Sequence[GeneralField]) -> list[str]:
    text = "the keys " + ", ".join(shown(ast.literal_eval(array.key)) for array in arrays)
    return [c_literal(text[at : at + WIDTH]) for at in range(0, min(len(text), MOST_KEYS), WIDTH)]


def _described(arrays: Sequence[GeneralField]) -> list[str]:
    lines = [line for array in arrays for line in textwrap.wrap(array.text, WIDTH - 20, subsequent_indent="  ")]
    return [c_literal(line) for line in lines]
