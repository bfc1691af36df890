"""
The view of a WebAssembly module and of the ES module around it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from compiler.codegen.inputs import ArrayView, PartView
from compiler.codegen.javascript import NUMBERS, javascript, literal, nested, typescript
from compiler.codegen.native import C_TYPES, NativeView
from compiler.codegen.predictor import PredictorView

VIEWS = {"float32": "Float32Array", "float64": "Float64Array", "int64": "Int32Array"}
"""
The typed arrays that values are given and read as. Of an int64, always a choice, the lower half is enough: BigInt,
which JavaScript has for all of it, takes memory with each value.
"""
ROOM_FOR_ROWS = 1 << 14
"""Bytes for the observations that are computed at a time, unless a few take more."""
MOST_ROWS, LEAST_ROWS = 64, 4
MOST_NAMED = 32
"""Choices up to which the type of an action names each."""


@dataclass(frozen=True)
class ModulePart:
    """
    A part of the observation, as JavaScript gives it.
    """

    view: PartView
    key: str
    """In a Dict observation, as a literal."""
    label: str
    """What messages call it, as a literal."""
    shape: tuple[int, ...]

    @property
    def array(self) -> ArrayView:
        """
        What the kernels read.
        """
        return self.view.array

    @property
    def type(self) -> str:
        """
        The typed array that it is written to.
        """
        return VIEWS.get(self.array.dtype, "Uint8Array")

    @property
    def table(self) -> str:
        """
        What is known of it, as the source of an object.
        """
        known = [f"name: {literal(self.array.name)}", f"label: {self.label}"]
        known += [f"key: {self.key}"] if self.view.key else []
        known += [f"shape: {javascript(self.shape)}", f"size: {self.array.count}"]
        known += [f"choices: {javascript(self.view.sizes)}"] if self.view.sizes else []
        known += [f"type: {self.type}"]
        known += ["image: true"] if self.view.image else []
        line = "{ " + ", ".join(known) + " }"
        return line if len(line) < 110 else "{\n" + "".join(f"    {item},\n" for item in known) + "}"

    @property
    def text(self) -> str:
        """
        What may be given, for a comment.
        """
        text = self.view.text.replace("array-like of shape", "an array of shape").replace(", any real dtype", "")
        for shape in {str(self.shape), self.view.shape}:
            text = text.replace(shape, javascript(self.shape))
        return text.replace("(height, width, channels)", "[height, width, channels]") + "."

    @property
    def element(self) -> str:
        """
        The type of one value.
        """
        return "number | boolean" if self.view.kind == "MultiBinary" else "number"

    @property
    def one(self) -> str:
        """
        The type of one observation's.
        """
        return nested(self.element, len(self.shape))

    @property
    def many(self) -> str:
        """
        The type of a batch's.
        """
        if len(self.shape) < 2:
            return nested(self.element if not self.shape else self.one, 1)
        return f"{nested(self.element, len(self.shape) + 1)} | readonly {NUMBERS}[]"


class Stated(ABC):
    """
    What a module says about itself, as its files need it.
    """

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """
        All of it, by name.
        """

    @property
    def digest(self) -> str:
        """
        The model's SHA-256 as bytes in C.
        """
        return ", ".join(f"0x{byte:02x}" for byte in bytes.fromhex(self.facts["sha256"]))

    @property
    def spec(self) -> str:
        """
        The facts as JavaScript.
        """
        return javascript(self.facts, 0, len("export const SPEC = frozen();"))

    @property
    def spec_type(self) -> str:
        """
        The facts as a type.
        """
        return typescript(self.facts, 0, len("export declare const SPEC: ;"))


@dataclass(frozen=True)
class ModuleView(Stated):
    """
    What the templates of `wasm.c`, `module.mjs` and `module.d.mts` see.
    """

    c: NativeView
    """With one level, where a file in C is made of it."""
    face: ClassVar[str] = "policy"
    """What `load` gives, in words and in the name of the function that makes it."""

    @property
    def predictor(self) -> PredictorView:
        """
        The whole predictor.
        """
        return self.c.predictor

    @property
    def level(self) -> str:
        """
        What the names of the kernels end in.
        """
        return self.c.levels[-1].suffix

    @property
    def arrays(self) -> list[tuple[ArrayView, str]]:
        """
        What is given, with the type of a value in C.
        """
        return [(array, C_TYPES[array.dtype]) for array in self.predictor.arrays]

    @property
    def rows(self) -> int:
        """
        Observations that are computed at a time.
        """
        view = self.predictor
        sizes = {"float64": 8, "int64": 8, "float32": 4}
        each = sum(array.total * sizes.get(array.dtype, 1) for array in view.arrays)
        each += view.action.count * sizes[view.action.dtype] + view.score.count * 4
        return max(LEAST_ROWS, min(MOST_ROWS, ROOM_FOR_ROWS // each) // LEAST_ROWS * LEAST_ROWS)

    @property
    def arguments(self) -> list[str]:
        """
        What a kernel is called with. The next state takes the place of the one before.
        """
        given = [array.name for array, _ in self.arrays]
        states = ["hidden", "cell"] if self.c.recurrent else []
        return [*given, f"{self.c.name}__weights", "actions", "scores", *states, "scored", "room"]

    @property
    def facts(self) -> dict[str, Any]:
        """
        What the module says about itself.
        """
        known = dict(self.predictor.specified)
        return known | {"sha256": self.predictor.model_sha256, "version": self.c.version}

    @property
    def parts(self) -> list[ModulePart]:
        """
        The parts of the observation.
        """
        space = self.facts["observation"]
        spaces = space["spaces"] if space["kind"] == "Dict" else {"": space}
        found = []
        for (key, part), view in zip(spaces.items(), self.predictor.parts, strict=True):
            shape = part["shape"] if "shape" in part else (len(part["nvec"]),) if "nvec" in part else ()
            label = f"observation.{key}" if view.key else "observation"
            found.append(ModulePart(view, literal(key), literal(label), tuple(shape)))
        return found

    @property
    def choice(self) -> bool:
        """
        Whether an action is one number.
        """
        return self.predictor.space == "Discrete"

    @property
    def action_words(self) -> int:
        """
        Places of the typed array of actions that a value takes.
        """
        return 2 if self.predictor.action.dtype == "int64" else 1

    @property
    def action_view(self) -> str:
        """
        The typed array that actions are read from, and given as.
        """
        return VIEWS[self.predictor.action.dtype]

    @property
    def action_type(self) -> str:
        """
        The type of an action.
        """
        if not self.choice:
            return self.action_view
        choices = self.facts["action"]["n"]
        return " | ".join(map(str, range(choices))) if choices <= MOST_NAMED else "number"

    @property
    def action_factor(self) -> str:
        """
        Times how many values an action has, for a comment.
        """
        return "" if self.predictor.action.count == 1 else f" * {self.predictor.action.count}"

    @property
    def action_text(self) -> str:
        """
        What an action is, for a comment.
        """
        shape, count = self.facts["action"].get("shape", ()), self.predictor.action.count
        if self.choice:
            return f"The number of a choice, of {self.facts['action']['n']}."
        values = f"{count} value{'s' if count > 1 else ''}"
        return f"{values}, of shape {javascript(shape)}." if len(shape) > 1 else f"{values}."

    @property
    def counted(self) -> str:
        """
        The type of a batch that may be one typed array.
        """
        return "Batch" if self.predictor.dict else NUMBERS

    @property
    def act_options(self) -> bool:
        """
        Whether anything can go with an observation that `act` is given.
        """
        return self.predictor.masked or self.predictor.has_image or not self.choice

    @property
    def refusals(self) -> str:
        """
        What else is refused, for a comment.
        """
        view = self.predictor
        found = ["NaN or infinity"] if view.checked else []
        found += ["a choice that there is not"] if view.has_choices else []
        return f", with\n * {' or '.join(found)}" if found else ""
