"""
The flat view of a predictor's interface in C.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from compiler.codegen.c_source import paragraph, wrapped
from compiler.codegen.inputs import ArrayView
from compiler.codegen.native_texts import StatusView, described_part, statuses
from compiler.codegen.predictor import PredictorView
from compiler.codegen.results import counted

C_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t", "uint8": "uint8_t", "bool": "uint8_t"}
READERS = {
    "float32": "(float)strtod(*text++, NULL)",
    "float64": "strtod(*text++, NULL)",
    "int64": "strtoll(*text++, NULL, 10)",
    "uint8": "(uint8_t)strtol(*text++, NULL, 10)",
}
"""How a value is made of the next text."""
PRINTED = {
    "float32": ('"%.9g%c"', "(double)action[i]"),
    "float64": ('"%.17g%c"', "action[i]"),
    "int64": ('"%" PRId64 "%c"', "action[i]"),
}
"""How a value of an action and the character after it are printed: by what format, as what."""
MOST_SAMPLED = 8
"""Values of an observation that an example names."""
SLACK = 16
"""float32 by which a room may be longer, to begin on a whole cache line."""


@dataclass(frozen=True)
class LevelView:
    """
    The kernels for one kind of processor.
    """

    suffix: str
    """Which the names of its functions end in."""
    text: str
    """For a comment."""
    predictor: PredictorView
    blocks: bool
    """Whether a batch is computed in blocks."""

    @property
    def room(self) -> int:
        """
        float32 that a batch needs, without what alignment takes.
        """
        view = self.predictor
        return view.workspace if not self.blocks else view.block_room


@dataclass(frozen=True)
class KernelView:
    """
    A function of the kernels, as C declares it.
    """

    name: str
    parameters: list[str]


@dataclass(frozen=True, kw_only=True)
class LibraryView:
    """
    What the views of all models' files in C have in common.
    """

    name: str
    levels: Sequence[Any]
    """From the least processor to the most able; what each is, the views of models say."""
    exports: Sequence[str]
    """Of the kernels, the functions that are there."""
    version: str
    """Of policyc."""

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
    def macro(self) -> str:
        """
        What names of macros begin with.
        """
        return self.name.upper()


@dataclass(frozen=True, kw_only=True)
class NativeView(LibraryView):
    """
    What the templates of C files see.
    """

    levels: Sequence[LevelView]
    exports: Sequence[str]
    """`act`, `rows`, `layers`, `extras`, or some of them."""
    batches: bool
    """Whether the interface takes batches."""

    @property
    def what(self) -> str:
        """
        What it is, for a comment.
        """
        return "A policy"

    @property
    def printing(self) -> str:
        """
        What the example prints.
        """
        return "actions for observations"

    @property
    def computing(self) -> tuple[str, ...]:
        """
        The functions that compute, of which each call begins with one.
        """
        return ("predict", "predict_scores")

    @property
    def predictor(self) -> PredictorView:
        """
        The predictor, for what all levels have in common.
        """
        return self.levels[-1].predictor

    @property
    def masked(self) -> bool:
        """
        Whether the policy takes action masks.
        """
        return self.predictor.masked

    @property
    def recurrent(self) -> bool:
        """
        Whether the policy has a state.
        """
        return self.predictor.recurrent

    @property
    def memory(self) -> int:
        """
        Values of each part of the recurrent state.
        """
        return self.predictor.layers_of_state * self.predictor.units

    @property
    def aligned(self) -> bool:
        """
        Whether a room begins on a whole cache line: for registers, or for float64 that stand in it.
        """
        dtypes = {self.predictor.action.dtype, *(array.dtype for array in self.given)}
        return self.predictor.lanes > 1 or "float64" in dtypes

    @property
    def workspace(self) -> int:
        """
        float32 that one observation needs.
        """
        return max(level.predictor.workspace for level in self.levels) + SLACK * self.aligned

    @property
    def room(self) -> int:
        """
        float32 that a batch needs.
        """
        return max(max(level.room, level.predictor.workspace) for level in self.levels) + SLACK * self.aligned

    @property
    def given(self) -> list[ArrayView]:
        """
        What a caller gives: the parts of an observation, and action masks.
        """
        return [array for array in self.predictor.arrays if array.name not in ("episode_starts", "hidden", "cell")]

    @property
    def names(self) -> list[str]:
        """
        What a caller gives, as arguments.
        """
        return [array.name for array in self.given]

    @property
    def parameters(self) -> list[str]:
        """
        The same as parameters.
        """
        return [_pointer(array) for array in self.given]

    @property
    def documented(self) -> list[str]:
        """
        What each parameter is, in lines of a comment.
        """
        view = self.predictor
        texts = [described_part(part) for part in view.parts]
        if self.masked:
            count = view.score.count
            texts.append(f"action_masks: {count} values, 0 for each choice that is not allowed; NULL allows all.")
        return self._commented([*texts, f"action: takes {view.action_text}."])

    @property
    def documented_scores(self) -> list[str]:
        """
        The same of scores.
        """
        what = f"scores: takes {counted(self.predictor.score.count, 'value')}, the {self.predictor.score.name}"
        masks = ", without regard to action masks" if self.masked else ""
        return self._commented([f"{what}{masks}; may be NULL."])

    @property
    def statuses(self) -> list[StatusView]:
        """
        What a call may say.
        """
        return statuses(self.predictor)

    @property
    def untouched(self) -> list[str]:
        """
        What a call that is refused leaves, in lines of a comment.
        """
        left = "action, scores and state are as they were" if self.recurrent else "action and scores are as they were"
        return self._commented([f"What a call says. After anything but {self.macro}_OK, {left}."])

    @staticmethod
    def _commented(texts: list[str]) -> list[str]:
        return [line for text in texts for line in paragraph(text, " * ", "    ").splitlines()]

    @property
    def signatures(self) -> dict[str, list[str]]:
        """
        The parameters of the functions that compute, by their names.
        """
        result = f"{self.action_type} *action"
        one = [f"{self.name}_state *state", *self.parameters, result]
        return {
            "predict": one,
            "predict_scores": [*one, "float *scores"],
            "predict_batch": ["float *room", "size_t count", *self.parameters, f"{result}s", "float *scores"],
        }

    @property
    def action_type(self) -> str:
        """
        The type of a value of an action.
        """
        return C_TYPES[self.predictor.action.dtype]

    @property
    def example(self) -> list[str]:
        """
        The lines of a program that asks for an action.
        """
        name, macro = self.name, self.macro
        call = wrapped(f"{name}_status status = {name}_predict(", ["&state", *self.names, "action"], ");", width=113)
        return [
            f"static {name}_state state;",
            *map(self.declared, self.given),
            f"{self.action_type} action[{macro}_ACTION_SIZE];",
            f"{name}_reset(&state);",
            *call.splitlines(),
            f"if (status != {macro}_OK)",
            f"    puts({name}_status_text(status));",
        ]

    @property
    def observed(self) -> list[ArrayView]:
        """
        The parts of an observation.
        """
        return [part.array for part in self.predictor.parts]

    @property
    def values(self) -> int:
        """
        How many values an observation has.
        """
        return sum(array.count for array in self.observed)

    @property
    def sample(self) -> str:
        """
        The first values of an observation, as a user of the example writes them.
        """
        values = [
            "0.5" if array.dtype.startswith("float") else "1" for array in self.observed for _ in range(array.count)
        ]
        return " ".join([*values[:MOST_SAMPLED], *(["..."] if len(values) > MOST_SAMPLED else [])])

    @property
    def printed(self) -> tuple[str, str]:
        """
        How the example prints a value of an action.
        """
        return PRINTED[self.predictor.action.dtype]

    def declared(self, array: ArrayView) -> str:
        """
        The declaration of an array for one observation.
        """
        return f"{C_TYPES[array.dtype]} {array.name}[{self.macro}_{array.name.upper()}_SIZE];"

    def reader(self, array: ArrayView) -> str:
        """
        How the example makes a value of the next text.
        """
        return READERS[array.dtype]

    @property
    def kernels(self) -> list[KernelView]:
        """
        The functions that the kernels export.
        """
        view = self.predictor
        arrays = [_pointer(array) for array in view.arrays]
        states = [f"float *{name}" for name in view.results[2:]]
        results = [f"{self.action_type} *actions", "float *scores", *states, "int64_t scored", "float *room"]
        weights = "const void *weights"
        known = {
            "act": [*arrays, weights, *results],
            "rows": ["int64_t count", *arrays, weights, *results],
            "layers": [*arrays, weights, "float *room"],
            "extras": ["int64_t count", *arrays, weights, "float *results", "float *room"],
        }
        return [KernelView(name, known[name]) for name in self.exports]

    def symbols(self, level: LevelView) -> list[str]:
        """
        What the functions of the kernels of a level are called.
        """
        return [f"{self.name}__{name}{level.suffix}" for name in self.exports]

    @property
    def act_arguments(self) -> list[str]:
        """
        What the kernel for one observation is called with.
        """
        given = ["action_masks ? action_masks : all_allowed" if n == "action_masks" else n for n in self.names]
        before = ["&goes_on", "state->hidden", "state->cell"] if self.recurrent else []
        after = ["state->hidden", "state->cell"] if self.recurrent else []
        weights, room = f"{self.name}__weights", f"{self.name}__aligned(state->room)"
        return [*given, *before, weights, "action", "scores", *after, "scores != NULL", room]

    @property
    def row_arguments(self) -> list[str]:
        """
        The same for one row of a batch without masks.
        """
        given = [_row(array.name, array.count) for array in self.given if array.name != "action_masks"]
        view = self.predictor
        scores = f"scores ? {_row('scores', view.score.count)} : NULL"
        results = [_row("actions", view.action.count), scores, "scores != NULL", "work"]
        return [*given, "all_allowed", f"{self.name}__weights", *results]

    @property
    def batch_arguments(self) -> list[str]:
        """
        What the kernel for a batch is called with, after the number of observations.
        """
        weights, room = f"{self.name}__weights", f"{self.name}__aligned(room)"
        return [*self.names, weights, "actions", "scores", "scores != NULL", room]


def _row(name: str, count: int) -> str:
    return f"{name} + row" if count == 1 else f"{name} + row * {count}"


def _pointer(array: ArrayView) -> str:
    return f"const {C_TYPES[array.dtype]} *{array.name}"
