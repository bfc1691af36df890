"""
The flat view of an extension of Python: what it takes of which kind, and where it computes.
"""

import ast
from dataclasses import dataclass

from compiler.codegen.inputs import PartView
from compiler.codegen.naming import c_literal
from compiler.codegen.native import C_TYPES, NativeView

STACK = 1 << 16
"""Bytes that a call takes from the stack at most; more comes from the heap."""
SIZES = {"float32": 4, "float64": 8, "int64": 8, "uint8": 1, "bool": 1}
FORMATS = {"float32": "f", "float64": "d", "int64": "q"}
"""How the buffer protocol names the dtypes of actions."""
ROOM = 64
"""Bytes by which a struct may be longer than its members."""


@dataclass(frozen=True)
class CPartView:
    """
    A part of an observation.
    """

    name: str
    """Of the array that takes it."""
    key: str
    """Its key in a Dict observation, as a literal of C, and the length of that in bytes."""
    key_size: int
    kind: str
    """Its row's dtype, as the C source has it."""
    image: bool
    shape: tuple[int, ...]
    count: int
    type: str
    """Of a value, in C."""

    @property
    def source(self) -> str:
        """
        The initialiser.
        """
        shape = "{" + ", ".join(map(str, self.shape)) + "}" if self.shape else "{0}"
        return "{" + f"{self.kind}, {int(self.image)}, {len(self.shape)}, {shape}, {self.count}" + "}"


@dataclass(frozen=True)
class ExtensionView:
    """
    What the templates of the extension see, besides `c`.
    """

    c: NativeView

    @property
    def parts(self) -> list[CPartView]:
        """
        The parts of an observation, in order.
        """
        return [_part(part) for part in self.c.predictor.parts]

    @property
    def most_dimensions(self) -> int:
        """
        The most dimensions that a part has; at least those of an image.
        """
        return max(3, *(len(part.shape) for part in self.parts))

    @property
    def converted(self) -> list[str]:
        """
        The dtypes that numbers are converted to.
        """
        return sorted({array.dtype for array in self.c.predictor.arrays} & {"float32", "float64", "int64"})

    @staticmethod
    def c_type(dtype: str) -> str:
        """
        What C calls a dtype.
        """
        return C_TYPES[dtype]

    @property
    def columns(self) -> list[str]:
        """
        The initialisers of the arrays that entry points take.
        """
        return [_column(array.dtype, array.total) for array in self.c.predictor.arrays]

    @property
    def results(self) -> list[str]:
        """
        The same of the arrays that they fill: for one observation, which has no scores, then those that a batch has.
        """
        view = self.c.predictor
        memory = [_column("float32", self.c.memory)] * (2 if view.recurrent else 0)
        return [_column(view.action.dtype, view.action.count), *memory]

    @property
    def pointers(self) -> list[str]:
        """
        The arrays of an entry point as arguments of a kernel.
        """
        return [f"given[{place}].data" for place in range(len(self.c.predictor.arrays))]

    @property
    def states(self) -> list[str]:
        """
        The arrays for the next state, as arguments of a kernel; they follow the actions.
        """
        return ["results[1].data", "results[2].data"] if self.c.recurrent else []

    @property
    def action_format(self) -> str:
        """
        How the buffer protocol names the dtype of actions.
        """
        return FORMATS[self.c.predictor.action.dtype]

    @property
    def action_shape(self) -> tuple[int, ...]:
        """
        Of one action.
        """
        shape = ast.literal_eval(self.c.predictor.action_shape)
        assert isinstance(shape, tuple)
        return shape

    @property
    def act_on_stack(self) -> bool:
        """
        Whether what `act` needs comes from the stack.
        """
        view = self.c.predictor
        copies = sum(array.count * SIZES[array.dtype] for array in self.c.given)
        return 4 * self.c.workspace + copies + view.action.count * SIZES[view.action.dtype] + ROOM <= STACK

    @property
    def one_on_stack(self) -> bool:
        """
        Whether the workspace for one observation comes from the stack.
        """
        return 4 * self.c.workspace <= STACK

    @property
    def rows_on_stack(self) -> bool:
        """
        Whether the workspace of a batch comes from the stack.
        """
        return 4 * self.c.room <= STACK

    @property
    def read_parts(self) -> list[str]:
        """
        What was read of the parts of an observation, as arguments of a kernel.
        """
        return [f"read[{place}]" for place in range(len(self.parts))]

    @property
    def documentation(self) -> dict[str, str]:
        """
        What `help` says about the functions, with their signatures in front, as literals.
        """
        masks = ", action_masks=None" if self.c.masked else ""
        one = "The action for one observation: anything with a buffer, or what predict takes."
        many = "Writes the actions of observations to a buffer: see predictor."
        return {
            "act": c_literal(f"act(observation{masks})\n--\n\n{one}"),
            "predict_into": c_literal(f"predict_into(observation, out{masks})\n--\n\n{many}"),
        }

    @property
    def expected(self) -> str:
        """
        What an observation must be where there is no NumPy to convert it, as a literal.
        """
        texts = []
        for part, view in zip(self.parts, self.c.predictor.parts, strict=True):
            what = "of the shape" if part.shape else "a number, or of the shape"
            kinds = {"uint8": "uint8", "int64": "integers"}.get(view.array.dtype, "numbers")
            texts.append(
                f"{ast.literal_eval(view.label)}: expected a contiguous buffer of {kinds}, {what} {part.shape}"
            )
        return c_literal("; ".join(texts))


def _part(part: PartView) -> CPartView:
    key = ast.literal_eval(part.key) if part.key else ""
    return CPartView(
        name=part.array.name,
        key=c_literal(key),
        key_size=len(key.encode("utf-8", "surrogatepass")),
        kind=part.array.dtype.upper(),
        image=part.image and part.shape.count(",") == 2,
        shape=ast.literal_eval(part.shape),
        count=part.array.count,
        type=C_TYPES[part.array.dtype],
    )


def _column(dtype: str, count: int) -> str:
    return "{" + f"{dtype.upper()}, {count}" + "}"
