"""
The flat view of a general predictor's interface in C, and of its extension of Python.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from compiler.codegen.general import LONG, GeneralArray, GeneralView
from compiler.codegen.naming import kernel_names
from compiler.codegen.native import C_TYPES, SLACK, KernelView

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
    def type(self) -> str:
        """
        Of a value.
        """
        return C_TYPES[self.array.dtype]

    @property
    def kind(self) -> str:
        """
        What `python_buffers.h` calls it.
        """
        return self.array.dtype.upper()

    @property
    def shape(self) -> tuple[int, ...]:
        """
        Of one observation.
        """
        found: tuple[int, ...] = ast.literal_eval(self.array.shape)
        return found


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


@dataclass(frozen=True)
class GeneralNativeView:
    """
    What the templates of C files see of a model that is no policy. What it shares with `NativeView` has the same names.
    """

    name: str
    levels: Sequence[GeneralLevel]
    """From the least processor to the most able."""
    version: str
    """Of policyc."""
    exports: Sequence[str] = ("run",)
    """Of the kernels, those that are there."""

    def of_level(self, number: int) -> Self:
        """
        The same with the kernels of one level.
        """
        return replace(self, levels=[self.levels[number]])

    def exporting(self, names: Sequence[str]) -> Self:
        """
        The same with these functions of the kernels.
        """
        return replace(self, exports=names)

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
    def macro(self) -> str:
        """
        What names of macros begin with.
        """
        return self.name.upper()

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
        float32 that a batch needs: its observations are computed one after the other.
        """
        return self.workspace

    @property
    def roomy(self) -> bool:
        """
        Whether the workspace is too large for the stack.
        """
        return 4 * self.workspace > STACK

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
        return [KernelView("run", ["int64_t rows", *given, "const void *weights", *results, "float *room"])]

    def symbols(self, level: GeneralLevel) -> list[str]:
        """
        What the functions of the kernels of a level are called.
        """
        return [f"{self.name}__{name}{level.suffix}" for name in self.exports]

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
        return [*given, "known->weights", *results, "work"]
