"""
The view of a WebAssembly module whose model is no policy, and of the ES module around it.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.codegen.body import passes, running
from compiler.codegen.general_native import CArray, GeneralNativeView
from compiler.codegen.javascript import javascript, literal, nested
from compiler.codegen.module import LEAST_ROWS, MOST_ROWS, ROOM_FOR_ROWS, Stated
from compiler.ops.lengths import follows

VIEWS = {"float32": "Float32Array", "int64": "BigInt64Array", "uint8": "Uint8Array", "bool": "Uint8Array"}
"""The typed arrays that lie over the module's memory."""
GIVEN = {"float32": "Float32Array", "int64": "Float64Array", "uint8": "Uint8Array", "bool": "Uint8Array"}
"""Those that outputs are given as: whole numbers as numbers, all of which a float64 holds that a float32 does."""
WIDTHS = {"float32": 4, "int64": 8, "uint8": 1, "bool": 1}


@dataclass(frozen=True)
class ModuleArray:
    """
    An array of the module's memory.
    """

    symbol: str
    """What the module exports it as."""
    array: CArray
    label: str
    """Its name, as a literal."""
    following: bool
    """Whether the model has a length that sizes may follow."""

    @property
    def dtype(self) -> str:
        """
        As NumPy calls it.
        """
        return self.array.dtype

    @property
    def type(self) -> str:
        """
        Of a value, in C.
        """
        return self.array.type

    @property
    def count(self) -> int:
        """
        Values of one observation.
        """
        return self.array.count

    @property
    def table(self) -> str:
        """
        What JavaScript knows of it, as the source of an object.
        """
        known = [
            f"name: {self.label}",
            f"symbol: {literal(self.symbol)}",
            f"shape: {javascript([*map(int, self.array.shape)])}",
            *([f"follows: {javascript(follows(self.array.shape))}"] if self.following else []),
            f"size: {self.count}",
            f"dtype: {literal(self.dtype)}",
            f"view: {VIEWS[self.dtype]}",
            f"given: {GIVEN[self.dtype]}",
        ]
        line = "{ " + ", ".join(known) + " }"
        return line if len(line) < 110 else "{\n" + "".join(f"    {item},\n" for item in known) + "}"

    @property
    def text(self) -> str:
        """
        What it is, for a comment.
        """
        sizes = ", ".join(passes(running(size)) for size in self.array.shape)
        return f"{self.dtype}, {f'of shape [{sizes}]' if sizes else 'one value'}."

    @property
    def values(self) -> str:
        """
        The type of what may be given for it.
        """
        element = "number | boolean" if self.dtype == "bool" else "number"
        rank = len(self.array.shape)
        one = nested(element, rank) if rank else f"{element} | NumericArray"
        return f"{one} | BigInt64Array" if self.dtype == "int64" else one

    @property
    def many(self) -> str:
        """
        The type of what may be given for several observations.
        """
        element = "number | boolean" if self.dtype == "bool" else "number"
        whole = " | BigInt64Array" if self.dtype == "int64" else ""
        return f"{nested(element, len(self.array.shape) + 1)}{whole}"

    @property
    def result(self) -> str:
        """
        The type of what is given.
        """
        return GIVEN[self.dtype]


@dataclass(frozen=True)
class GeneralModuleView(Stated):
    """
    What the templates of `wasm.c`, `module.mjs` and `module.d.mts` see of a model that is no policy.
    """

    c: GeneralNativeView
    """With one level, where a file in C is made of it."""
    face: ClassVar[str] = "model"
    """What `load` gives, in words and in the name of the function that makes it."""

    @property
    def level(self) -> str:
        """
        What the names of the kernels end in.
        """
        return self.c.levels[-1].suffix

    @property
    def inputs(self) -> list[ModuleArray]:
        """
        What is given.
        """
        return self._arrays("given", self.c.inputs)

    @property
    def outputs(self) -> list[ModuleArray]:
        """
        What comes out.
        """
        return self._arrays("result", self.c.outputs)

    @property
    def states(self) -> list[ModuleArray]:
        """
        What a step leaves for the next, which takes the place of what it began with.
        """
        return self._arrays("state", self.c.states)

    @property
    def initial(self) -> list[tuple[ModuleArray, int]]:
        """
        The states, with the first byte among the weights of what each begins with.
        """
        return [(array, place) for array, (_, place) in zip(self.states, self.c.initial, strict=True)]

    @property
    def arrays(self) -> list[ModuleArray]:
        """
        All of them.
        """
        return [*self.inputs, *self.outputs, *self.states]

    @property
    def rows(self) -> int:
        """
        Observations that are computed at a time.
        """
        if not self.c.batches:
            return 1
        each = sum(array.count * WIDTHS[array.dtype] for array in self.arrays)
        return max(LEAST_ROWS, min(MOST_ROWS, ROOM_FOR_ROWS // each) // LEAST_ROWS * LEAST_ROWS)

    @property
    def arguments(self) -> list[str]:
        """
        What the kernel is called with, after the number of observations.
        """
        states = [array.symbol for array in self.states]
        given, results = ([array.symbol for array in arrays] + states for arrays in (self.inputs, self.outputs))
        return [*(["length"] if self.c.length else []), *given, f"{self.c.name}__weights", *results, "room"]

    @property
    def facts(self) -> dict[str, Any]:
        """
        What the module says about itself.
        """
        known = dict(ast.literal_eval(self.c.predictor.spec))
        return known | {"sha256": self.c.predictor.model_sha256, "version": self.c.version}

    def _arrays(self, what: str, arrays: Sequence[CArray]) -> list[ModuleArray]:
        return [
            ModuleArray(f"{what}_{number}", array, literal(ast.literal_eval(array.array.label)), bool(self.c.length))
            for number, array in enumerate(arrays)
        ]
