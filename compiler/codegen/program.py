"""
The flat view of an executable: the arrays that its requests hold, and how long lines may be.
"""

import ast
import math
import textwrap
from dataclasses import dataclass, field
from typing import ClassVar

from compiler.codegen.inputs import ArrayView, PartView
from compiler.codegen.naming import c_literal
from compiler.codegen.predictor import PredictorView

C_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t", "uint8": "uint8_t", "bool": "uint8_t"}
KINDS = {
    "float32": "JSON_FLOAT",
    "float64": "JSON_DOUBLE",
    "int64": "JSON_CHOICE",
    "uint8": "JSON_BYTE",
    "bool": "JSON_FLAG",
}
DIGITS = {"float32": 9, "float64": 17}
"""With which a number is the same again after it was read."""
NUMBER = 40
"""Bytes that a number in a line may take, with what separates it from the next."""
PLAIN = 4096
"""Bytes of a line besides its numbers and its keys, with room for spaces."""
SHOWN = 40
"""Characters of a key in messages."""
BATCH, BATCH_BYTES = 1024, 2**22
"""Observations that are measured at once, and what they may take."""
WIDTH = 92
"""Characters of a line of the help."""
MOST_KEYS = 4 * WIDTH
"""Characters that the keys of a Dict may take in a message."""


@dataclass(frozen=True)
class FieldView:
    """
    An array that the program reads or writes.
    """

    name: str
    """The variable, and where there is no Dict also its key."""
    dtype: str
    shape: tuple[int, ...]
    place: str
    """What messages call it, as a literal of C."""
    key: str
    """Its key in a Dict observation, as a literal of C; empty if it is no part of one."""
    key_length: int
    limits: tuple[int, ...]
    """What choices must lie below."""
    number: int
    """Its place in the program's table."""

    @property
    def type(self) -> str:
        """
        The C type of a value.
        """
        return C_TYPES[self.dtype]

    @property
    def kind(self) -> str:
        """
        How its values are read and written.
        """
        return KINDS[self.dtype]

    @property
    def count(self) -> int:
        """
        Its values.
        """
        return math.prod(self.shape)


@dataclass(frozen=True)
class ProgramView:
    """
    What the templates of an executable see besides the interface.
    """

    predictor: PredictorView
    parts: list[FieldView] = field(default_factory=list)
    """Of the observation, in order."""
    given: list[FieldView] = field(default_factory=list)
    """All that a request may hold: the parts, action masks, the state."""
    general: ClassVar[bool] = False
    """Whether the model is no policy."""
    length: ClassVar[None] = None
    """No size of a policy is known at run time only."""

    @property
    def written(self) -> list[FieldView]:
        """
        What an answer may hold.
        """
        view = self.predictor
        shape = ast.literal_eval(view.action_shape)
        names = [("action", view.action.dtype, shape), ("scores", "float32", (view.score.count,))]
        if view.recurrent:
            names += [(name, "float32", (view.layers_of_state, view.units)) for name in ("hidden", "cell")]
        return [
            FieldView(name, dtype, shape, c_literal(name), "", 0, (), at)
            for at, (name, dtype, shape) in enumerate(names)
        ]

    @property
    def arguments(self) -> list[str]:
        """
        What a request gives, as arguments of the interface.
        """
        return [*(f"given.{part.name}" for part in self.parts), *(["masks"] if self.predictor.masked else [])]

    @property
    def measured(self) -> list[str]:
        """
        What is measured, as arguments of the interface.
        """
        return [*(f"seen.{part.name}" for part in self.parts), *(["NULL"] if self.predictor.masked else [])]

    @property
    def deepest(self) -> int:
        """
        The most dimensions of an array.
        """
        return max(len(part.shape) for part in [*self.given, *self.written])

    @property
    def key_room(self) -> int:
        """
        Bytes of the longest key there is.
        """
        return max([*(part.key_length for part in self.parts), len("action_masks"), len("episode_start")])

    @property
    def line_most(self) -> int:
        """
        Bytes of the longest line that is read.
        """
        values = sum(part.count + math.prod(part.shape[:-1]) for part in self.given)
        # A byte of a key takes six where it is written as an escape sequence.
        return PLAIN + NUMBER * values + sum(6 * part.key_length + 16 for part in self.parts)

    @property
    def answer_most(self) -> int:
        """
        Bytes of the longest line that is written.
        """
        return PLAIN + NUMBER * sum(part.count + math.prod(part.shape[:-1]) for part in self.written)

    @property
    def batch(self) -> int:
        """
        Observations in the batch that is measured.
        """
        row = (
            8 * sum(part.count for part in self.parts)
            + 4 * self.predictor.score.count
            + 8 * self.predictor.action.count
        )
        return max(1, min(BATCH, BATCH_BYTES // row))

    @property
    def key_names(self) -> list[str]:
        """
        The keys of a request.
        """
        view = self.predictor
        optional = [("action_masks", view.masked), ("episode_start", view.recurrent), ("state", view.recurrent)]
        return ["observation", *(name for name, there in optional if there), "scores"]

    @property
    def known_keys(self) -> list[str]:
        """
        What messages say of the keys of a Dict observation, as literals of C that go on on the next line.
        """
        text = "the keys " + ", ".join(shown(ast.literal_eval(part.key)) for part in self.predictor.parts)
        return [c_literal(text[at : at + WIDTH]) for at in range(0, min(len(text), MOST_KEYS), WIDTH)]

    @property
    def asked(self) -> list[str]:
        """
        What each part of an observation is, as literals of C, for the help.
        """
        lines = []
        for part in self.predictor.parts:
            label = f"{shown(ast.literal_eval(part.key))}: " if part.key else ""
            text = f"{label}{_described(part)}"
            lines += textwrap.wrap(text, WIDTH - 20, subsequent_indent="  ")
        return [c_literal(line) for line in lines]


def program_view(view: PredictorView) -> ProgramView:
    """
    The view of an executable with this predictor.
    """
    parts = [_part(number, part) for number, part in enumerate(view.parts)]
    given = list(parts)
    for array in view.arrays[len(parts) :]:
        if array.name == "action_masks":
            given.append(_field(len(given), array, (array.count,), "action_masks"))
        elif array.name in ("hidden", "cell"):
            given.append(_field(len(given), array, (array.layers, array.count), f"state.{array.name}"))
    return ProgramView(view, parts, given)


def _field(number: int, array: ArrayView, shape: tuple[int, ...], place: str) -> FieldView:
    return FieldView(array.name, array.dtype, shape, c_literal(place), "", 0, (), number)


def _part(number: int, part: PartView) -> FieldView:
    key = ast.literal_eval(part.key) if part.key else ""
    return FieldView(
        name=part.array.name,
        dtype=part.array.dtype,
        shape=ast.literal_eval(part.shape),
        place=c_literal(f"observation[{shown(key)}]" if part.key else "observation"),
        key=c_literal(key) if part.key else "",
        key_length=len(key.encode("utf-8", "surrogatepass")),
        limits=part.sizes,
        number=number,
    )


def _described(part: PartView) -> str:
    text = part.text.replace("array-like", "numbers").replace(", any real dtype", "")
    return text.replace(", or (height, width, channels)", ", channels first")


def shown(key: str) -> str:
    """
    A key as a message shows it: one line of printable ASCII.
    """
    text = key if len(key) <= SHOWN else f"{key[:SHOWN]}..."
    return '"' + "".join(c if " " <= c <= "~" else "?" for c in text) + '"'
