"""
The flat view of a general predictor's interface in C, and of its extension of Python.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.codegen.c_source import paragraph, wrapped
from compiler.codegen.general import LONG, GeneralView
from compiler.codegen.general_array import GeneralArray
from compiler.codegen.naming import comment, kernel_names
from compiler.codegen.native import C_TYPES, MOST_SAMPLED, READERS, SLACK, KernelView, LibraryView
from compiler.codegen.native_texts import StatusView
from compiler.ir import Length

STACK = 1 << 16
"""Bytes that a call takes from the stack at most; more is kept by the module."""
_WORDS = """
alignas alignof asm auto bool break case catch char class const constexpr continue default delete do double
else enum explicit export extern false float for friend goto if inline int int32_t int64_t long main mutable
namespace new noexcept null nullptr operator private protected public register restrict return short signed
size_t sizeof static static_assert struct switch template this throw true try typedef typename typeof uint8_t
union unsigned using virtual void volatile while
"""
C_TAKEN = (*_WORDS.split(), "count", "i", "room", "rows", "state", "status", "weights")
"""Names that mean something else where C and C++ have inputs and outputs as parameters."""


@dataclass(frozen=True)
class CArray:
    """
    An input, an output or a state in C.
    """

    array: GeneralArray
    name: str
    """The parameter."""

    @property
    def count(self) -> int:
        """
        Values of one observation.
        """
        return self.array.count

    @property
    def extent(self) -> str:
        """
        The expression of how many values there are of one observation: of `length`, where they follow it.
        """
        return self.array.extent

    @property
    def type(self) -> str:
        """
        Of a value.
        """
        return C_TYPES[self.array.dtype]

    @property
    def dtype(self) -> str:
        """
        As NumPy calls it.
        """
        return self.array.dtype

    @property
    def total(self) -> int:
        """
        The same as `count`, as all arrays call it.
        """
        return self.array.count

    @property
    def label(self) -> str:
        """
        What the model calls it, for a comment.
        """
        return comment(ast.literal_eval(self.array.label))

    @property
    def reader(self) -> str:
        """
        How a value is made of the next text.
        """
        return "(uint8_t)strtol(*text++, NULL, 10)" if self.array.dtype == "bool" else READERS[self.array.dtype]

    @property
    def printed(self) -> str:
        """
        How a value is printed: the format without the percent sign's letter, and the cast.
        """
        formats = {"float32": '"%.9g%c", (double)', "int64": '"%" PRId64 "%c", ', "bool": '"%d%c", '}
        return formats[self.array.dtype]

    @property
    def kind(self) -> str:
        """
        What `python_buffers.h` calls it.
        """
        return self.array.dtype.upper()

    @property
    def shape(self) -> tuple[int, ...]:
        """
        Of one observation; some sizes may follow the length.
        """
        return self.array.sizes


@dataclass(frozen=True)
class GeneralLevel:
    """
    The kernels for one kind of processor.
    """

    suffix: str
    """Which the names of its functions end in."""
    text: str
    """For a comment."""
    predictor: GeneralView


@dataclass(frozen=True, kw_only=True)
class GeneralNativeView(LibraryView):
    """
    What the templates of C files see of a model that is no policy. What it shares with `NativeView` has the same names.
    """

    levels: Sequence[GeneralLevel]
    exports: Sequence[str] = ("run",)

    @property
    def predictor(self) -> GeneralView:
        """
        The predictor, for what all levels have in common.
        """
        return self.levels[-1].predictor

    @property
    def what(self) -> str:
        """
        What it is, for a comment.
        """
        return "A model"

    @property
    def printing(self) -> str:
        """
        What the example prints.
        """
        return "outputs for inputs"

    @property
    def computing(self) -> tuple[str, ...]:
        """
        The functions that compute, of which each call begins with one.
        """
        return ("predict",)

    @property
    def batches(self) -> bool:
        """
        Whether the interface takes batches.
        """
        return self.predictor.batched

    @property
    def recurrent(self) -> bool:
        """
        Whether there are states.
        """
        return bool(self.predictor.memory)

    @property
    def length(self) -> Length | None:
        """
        What sizes follow that are known at run time only: the length of sequences.
        """
        return self.predictor.length

    def at(self, length: int) -> "GeneralNativeView":
        """
        The same where the sequences have this length.
        """
        return replace(self, levels=[replace(level, predictor=level.predictor.at(length)) for level in self.levels])

    @property
    def aligned(self) -> bool:
        """
        Whether a room begins on a whole cache line.
        """
        return self.predictor.lanes > 1

    @property
    def workspace(self) -> int:
        """
        float32 that one observation needs.
        """
        return max(level.predictor.workspace for level in self.levels) + SLACK

    @property
    def room(self) -> int:
        """
        float32 that a batch needs.
        """
        return max(level.predictor.room for level in self.levels) + SLACK

    @property
    def roomy(self) -> bool:
        """
        Whether the workspace for one observation is too large for the stack.
        """
        return 4 * self.workspace > STACK

    @property
    def kept(self) -> bool:
        """
        Whether an extension keeps a workspace from one call to the next.

        It is too large for the stack, or must hold no garbage, with which kernels compute behind the end of a sequence.
        """
        return 4 * self.room > STACK or self.length is not None or self.divided

    @property
    def divided(self) -> bool:
        """
        Whether several threads may compute one observation.
        """
        return self.predictor.divided

    @property
    def long_from(self) -> int:
        """
        Observations from which on other threads of Python may run meanwhile.
        """
        return -(-LONG // max(1, self.predictor.work))

    @property
    def arrays(self) -> dict[str, CArray]:
        """
        Everything that kernels take and give, by its name in Python.
        """
        everything = [*self.predictor.taken, *self.predictor.left]
        names = kernel_names([array.name for array in everything], C_TAKEN)
        return {array.name: CArray(array, name) for array, name in zip(everything, names, strict=True)}

    @property
    def inputs(self) -> list[CArray]:
        """
        What a caller gives for each observation.
        """
        return [self.arrays[array.name] for array in self.predictor.inputs]

    @property
    def outputs(self) -> list[CArray]:
        """
        What a caller gets for each observation.
        """
        return [self.arrays[array.name] for array in self.predictor.outputs]

    @property
    def states(self) -> list[CArray]:
        """
        What a step leaves for the next.
        """
        return [self.arrays[state.before.name] for state in self.predictor.memory]

    @property
    def taken(self) -> list[CArray]:
        """
        What kernels take.
        """
        return [*self.inputs, *self.states]

    @property
    def left(self) -> list[CArray]:
        """
        What kernels give.
        """
        return [self.arrays[array.name] for array in self.predictor.left]

    @property
    def kernels(self) -> list[KernelView]:
        """
        The functions that the kernels export.
        """
        given = [f"const {array.type} *{array.name}" for array in self.taken]
        results = [f"{array.type} *{array.name}" for array in self.left]
        length = ["int64_t length"] if self.length else []
        shared = ["int64_t *gate", "int64_t *following", "int64_t part", "int64_t parts"] if self.divided else []
        parameters = ["int64_t rows", *length, *given, "const void *weights", *results, "float *room", *shared]
        return [KernelView("run", parameters)]

    def symbols(self, level: GeneralLevel) -> list[str]:
        """
        What the functions of the kernels of a level are called.
        """
        return [f"{self.name}__{name}{level.suffix}" for name in self.exports]

    @property
    def signatures(self) -> dict[str, list[str]]:
        """
        The parameters of the functions that compute, by their names.
        """
        given = [f"const {array.type} *{array.name}" for array in self.inputs]
        results = [f"{array.type} *{array.name}" for array in self.outputs]
        length = ["size_t length"] if self.length else []
        return {
            "predict": [f"{self.name}_state *state", *length, *given, *results],
            "predict_batch": ["float *room", "size_t count", *length, *given, *results],
        }

    @property
    def statuses(self) -> list[StatusView]:
        """
        What a call may say.
        """
        never = "Never given by this model"
        finite = "A value of an input is NaN or infinite" + (", or one of the state." if self.recurrent else ".")
        where = "A whole number in an input is not between its bounds, which are said where it is given."
        inexact = "a whole number in an input is not between its bounds"
        return [
            StatusView("OK", 0, "ok", "The outputs are there."),
            StatusView(
                "NOT_FINITE",
                -2,
                "inputs must be finite numbers, but one holds NaN or infinity",
                finite if self.predictor.checks else f"{never}, which computes with NaN and infinity, as PyTorch does.",
            ),
            StatusView(
                "OUT_OF_RANGE",
                -4,
                inexact,
                where if self.predictor.whole else f"{never}, whose inputs have no such bounds.",
            ),
            *([self._wrong_length] if self.length else []),
        ]

    @property
    def _wrong_length(self) -> StatusView:
        assert self.length
        bounds = f"{self.length.least} to {self.length.most}"
        note = f"The length of the sequences is not from {self.macro}_SHORTEST to {self.macro}_LONGEST."
        return StatusView("WRONG_LENGTH", -5, f"the length of the sequences must be from {bounds}", note)

    @property
    def documented(self) -> list[str]:
        """
        What each parameter is, in lines of a comment.
        """
        texts = []
        if self.length:
            label = f"`{self.length.name}`, " if self.length.name != "length" else ""
            bounds = f"from {self.macro}_SHORTEST to {self.macro}_LONGEST"
            texts.append(f"length: {label}of the sequences, {bounds}: how many values arrays have follows it.")
        texts += [f"{array.name}: {self._text(array)}." for array in self.inputs]
        texts += [f"{array.name}: takes {self._text(array)}." for array in self.outputs]
        return [line for text in texts for line in paragraph(text, " * ", "    ").splitlines()]

    @staticmethod
    def _text(array: CArray) -> str:
        label = f"`{array.label}`, " if array.label != array.name else ""
        order = ", the last one running fastest" if len(array.shape) > 1 else ""
        return f"{label}{array.array.text}{order}{', 0 for false' if array.dtype == 'bool' else ''}"

    @property
    def example(self) -> list[str]:
        """
        The lines of a program that asks it.
        """
        call = wrapped(f"{self.name}_status status = {self.name}_predict(", self.asked, ");", width=113)
        return [
            f"static {self.name}_state state;",
            *(f"static {self.sized(array)};" for array in [*self.inputs, *self.outputs]),
            *([f"size_t length = {self.macro}_LONGEST;"] if self.length else []),
            f"{self.name}_reset(&state);",
            *call.splitlines(),
            f"if (status != {self.macro}_OK)",
            f"    puts({self.name}_status_text(status));",
        ]

    @property
    def asked(self) -> list[str]:
        """
        What the example calls `predict` with.
        """
        length = ["length"] if self.length else []
        return ["&state", *length, *(array.name for array in [*self.inputs, *self.outputs])]

    def sized(self, array: CArray) -> str:
        """
        The declaration of an array with the values of one observation.
        """
        return f"{array.type} {array.name}[{self.macro}_{array.name.upper()}_SIZE]"

    @property
    def sizes(self) -> dict[str, str]:
        """
        For each input and output, the expression of how many values one observation has.
        """
        return {
            array.name: array.extent if array.array.follows else f"{self.macro}_{array.name.upper()}_SIZE"
            for array in [*self.inputs, *self.outputs]
        }

    @property
    def values(self) -> str:
        """
        The expression of how many values all inputs together have.
        """
        fixed = sum(array.count for array in self.inputs if not array.array.follows)
        following = [array.extent for array in self.inputs if array.array.follows]
        return " + ".join([*following, *([str(fixed)] if fixed or not following else [])])

    @property
    def sample(self) -> str:
        """
        The first values of an observation, the shortest, as a user of the example writes them.
        """
        if self.length:
            return self.at(self.length.least).sample
        values = ["0.5" if array.dtype == "float32" else "1" for array in self.inputs for _ in range(array.count)]
        return " ".join([*values[:MOST_SAMPLED], *(["..."] if len(values) > MOST_SAMPLED else [])])

    @property
    def initial(self) -> list[tuple[CArray, int]]:
        """
        The states, with the first byte among the weights of what each begins with.
        """
        return [(self.arrays[state.before.name], state.initial) for state in self.predictor.memory]

    @property
    def one_arguments(self) -> list[str]:
        """
        What the kernel for one observation is called with.
        """
        states = [f"state->{array.name}" for array in self.states]
        return self._arguments(states, "state->room")

    @property
    def batch_arguments(self) -> list[str]:
        """
        The same for a batch, after the number of observations.
        """
        return self._arguments([], "room")

    def _arguments(self, states: list[str], room: str) -> list[str]:
        length = ["(int64_t)length"] if self.length else []
        given = [array.name for array in self.inputs] + states
        results = [array.name for array in self.outputs] + states
        return [*length, *given, f"{self.name}__weights", *results, f"{self.name}__aligned({room})"]

    @property
    def converted(self) -> list[str]:
        """
        The dtypes that `python_buffers.h` converts numbers to: none, the face has done that.
        """
        return []

    @property
    def most_dimensions(self) -> int:
        """
        Of the parts of an observation, which only policies have; an image has three.
        """
        return 3

    @property
    def pointers(self) -> list[str]:
        """
        What the extension calls a kernel with, after the number of observations.
        """
        given = [f"given[{place}].data" for place in range(len(self.taken))]
        results = [f"given[{len(given) + place}].data" for place in range(len(self.left))]
        length = ["length"] if self.length else []
        shared = ["together[1].data", "together[2].data", "part", "parts"] if self.divided else []
        return [*length, *given, "known->weights", *results, "work", *shared]
