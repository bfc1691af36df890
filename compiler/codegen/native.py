"""
The flat view of a predictor's interface in C.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.codegen.inputs import ArrayView
from compiler.codegen.predictor import PredictorView

C_TYPES = {"float32": "float", "float64": "double", "int64": "int64_t", "uint8": "uint8_t", "bool": "uint8_t"}
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


@dataclass(frozen=True)
class NativeView:
    """
    What the templates of C files see.
    """

    name: str
    levels: Sequence[LevelView]
    """From the least processor to the most able."""
    exports: Sequence[str]
    """Of the kernels, those that are there: `act`, `rows`, `layers`, `extras`."""
    batches: bool
    """Whether the interface takes batches."""
    version: str
    """Of policyc."""

    @property
    def predictor(self) -> PredictorView:
        """
        The predictor, for what all levels have in common.
        """
        return self.levels[-1].predictor

    @property
    def macro(self) -> str:
        """
        What names of macros begin with.
        """
        return self.name.upper()

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
        Whether a room begins on a whole cache line.
        """
        return self.predictor.lanes > 1

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
        What each parameter is.
        """
        view = self.predictor
        lines = [f"{part.array.name}: {part.array.count} values, {part.text}." for part in view.parts]
        lines = [line.replace("array-like of shape", "of shape").replace(", any real dtype", "") for line in lines]
        lines = [line.replace(", or (height, width, channels)", "") for line in lines]
        if self.masked:
            count = view.score.count
            lines.append(
                f"action_masks: {count} values, 1 for each choice that is allowed, 0 for others; NULL allows all."
            )
        return [*lines, f"action: takes {view.action.count} value{'s' if view.action.count > 1 else ''}."]

    @property
    def action_type(self) -> str:
        """
        The type of a value of an action.
        """
        return C_TYPES[self.predictor.action.dtype]

    @property
    def action_argument(self) -> str:
        """
        How an action is passed, in an example.
        """
        return "&action" if self.predictor.action.count == 1 else "action"

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
