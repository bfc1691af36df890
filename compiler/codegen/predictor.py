"""
The flat view of a whole predictor: constants, calls and texts that the package's templates put in place.
"""

from dataclasses import dataclass, field

from compiler.codegen.calls import Steps, steps_of
from compiler.codegen.expressions import times
from compiler.codegen.general import PART_WORK
from compiler.codegen.given import GivenView
from compiler.codegen.inputs import array_views, input_views, part_views
from compiler.codegen.interface import interface_of, shape_of
from compiler.codegen.memory import ARRANGING, plan_memory
from compiler.codegen.naming import comment
from compiler.codegen.results import (
    ExtraView,
    ResultView,
    ValueView,
    action_text,
    extra_views,
    result_view,
    state_views,
    value_view,
)
from compiler.codegen.sampling import SamplingView, sampling_view
from compiler.codegen.source import call, import_order, python, tuple_source
from compiler.codegen.specification import specification
from compiler.ir import Discrete, Model
from compiler.modelfile import EncodedModel
from compiler.ops import OPS
from compiler.options import BuildOptions

STACK = 16384
"""float32 words of workspace that an entry point takes from the stack; more comes from the heap."""
LONG_WORK = 100_000
"""Multiply-adds from which on a single observation is worth releasing the interpreter lock: about 2 microseconds."""


@dataclass(frozen=True)
class PredictorView(GivenView):
    """
    What the templates of the package see.
    """

    name: str
    lanes: int
    """float32 in a register."""
    source: str
    spec: str
    specified: dict[str, object]
    """What a predictor says about itself: `spec` is its source in Python."""
    action_shape: str
    action: ResultView
    score: ResultView
    states: list[ResultView]
    """The next states: h of the first layer, c of the first layer, h of the second, ..."""
    space: str
    """The kind of the action space."""
    discrete: bool
    """Whether `act` returns an int."""
    masked: bool
    recurrent: bool
    layers_of_state: int
    units: int
    """Of a recurrent layer."""
    workspace: int
    room: str
    """How many float32 a block needs, as source."""
    block_room: int
    """The same as a number, without what alignment takes."""
    weights: int
    least_block: int
    least_part: int
    """Observations that are worth a thread, a block at least."""
    threads: int | None
    """Threads for large batches, if that was chosen."""
    steps: Steps
    values: list[ValueView]
    extras: list[ExtraView]
    model_sha256: str
    weights_at: int
    action_vector: bool
    """Whether an action has one dimension."""
    long: bool
    """Whether one observation takes long enough to let other Python threads run meanwhile."""
    long_from: int
    """Observations that together take so long."""
    sampling: SamplingView | None
    valued: bool
    """Whether the value network is compiled in."""
    action_text: str
    """What an action is, for those who read it in C."""
    spliced: bool
    """Whether a part of the policy is made of the ops of general models."""
    named: frozenset[str] = frozenset()
    """All names in the file that is rendered."""
    words: list[str] = field(default_factory=list)
    """What it takes from simd.py."""
    kernels_named: list[str] = field(default_factory=list)
    """What it takes from kernels.py."""
    functions: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    @property
    def on_stack(self) -> bool:
        """
        Whether the workspace for one observation comes from the stack.
        """
        return self.workspace <= STACK

    @property
    def flat(self) -> bool:
        """
        Whether an observation is all that there is to pass on, but for masks.
        """
        return self.direct and not self.recurrent

    @property
    def images(self) -> bool:
        """
        Whether a part of the network works on images, observation by observation.
        """
        return bool(self.steps.images)

    @property
    def extra_results(self) -> list[ExtraView]:
        """
        The extras that are computed for each observation.
        """
        return [extra for extra in self.extras if not extra.constant]

    @property
    def extra_constants(self) -> list[ExtraView]:
        """
        The extras that are the same for all observations.
        """
        return [extra for extra in self.extras if extra.constant]

    @property
    def deviations(self) -> ExtraView:
        """
        The standard deviations that an action is drawn with, where they are constants.
        """
        return next(extra for extra in self.extra_constants if extra.name in ('"std"', '"noise_std"'))

    @property
    def offered(self) -> list[tuple[str, str, str]]:
        """
        What the package offers besides what all packages do: the call, the name, what it gives.
        """
        offers = []
        if self.valued:
            offers.append(("value(observation)", "value", "the critic's estimate of the return"))
        if self.sampling is not None:
            offers += self.sampling.offers
        return offers

    @property
    def exported(self) -> list[str]:
        """
        The names that the package exports, in the order of import sorters.
        """
        names = ["SPEC", "act", "layers", "predict", "scores", *(name for _, name, _ in self.offered)]
        return sorted([*names, "Episode" if self.recurrent else "predict_into"], key=import_order)

    @property
    def all_exported(self) -> str:
        """
        The list of them, as source.
        """
        return python(self.exported, before=len("__all__ = "))

    @property
    def immediate(self) -> list[str]:
        """
        Those of them that an extension has itself, so that they need no other module.
        """
        return [name for name in self.exported if name in ("act", "predict_into") and not self.recurrent]

    @property
    def later(self) -> list[str]:
        """
        The others, but for SPEC.
        """
        return [name for name in self.exported if name not in ("SPEC", *self.immediate)]

    @property
    def unpacked_extras(self) -> str:
        """
        The inputs that the layers of the extras read where the caller has them.
        """
        text = " ".join(self.steps.extras)
        return self.unpacked([view for view in self.inputs if view.slot is None and view.name in text])

    @property
    def extra_table(self) -> str:
        """
        The names and sizes of the extras that are computed, as a tuple.
        """
        return tuple_source([f"({extra.name}, {extra.count})" for extra in self.extra_results], 41, 0)

    @property
    def results(self) -> list[str]:
        """
        The caller's arrays that results go into.
        """
        return ["actions", "scores", *(["next_hidden", "next_cell"] if self.recurrent else [])]

    @property
    def threads_from(self) -> int:
        """
        From how many observations on a batch is computed by several threads.
        """
        return 2 * self.least_part

    def entry(self, *, before: int = 0, after: int = 0, settings: str = "") -> str:
        """
        The decorator of an entry point.

        Args:
            before: numbers before the caller's arrays; the address of the weights follows these.
            after: arrays after that.
            settings: keyword arguments.
        """
        types = ["NUMBER"] * before + ["BUFFER"] * len(self.arrays) + ["NUMBER"] + ["BUFFER"] * after
        return call("@entry", [*types, *([settings] if settings else [])], 0)


def is_spliced(model: Model) -> bool:
    """
    Whether a model has kernels of general models.
    """
    return any(OPS[node.op].template == "nest" for node in model.nodes)


def predictor_view(
    model: Model,
    encoded: EncodedModel,
    digest: str,
    options: BuildOptions,
    lanes: int,
    name: str,
    functions: dict[str, str],
) -> PredictorView:
    """
    Everything about a predictor but the texts of its kernels.

    Args:
        model: a policy after all passes.
        encoded: its model file.
        digest: the model file's SHA-256.
        options: how to build.
        lanes: float32 in a register: those of the options, which weights are packed for, or fewer.
        name: the package's name.
        functions: the kernel's name for each node's first output.

    Raises:
        UnsupportedError: if the model is not a policy with one action.
    """
    interface = interface_of(model)
    plan = plan_memory(model, lanes, options.lanes)
    parts = part_views(interface, model)
    arrays = array_views(interface, model, parts)
    inputs = input_views(interface, model, plan, parts, arrays)
    work = sum(OPS[n.op].multiply_adds([model.tensors[i] for i in n.inputs], n.attributes) for n in model.nodes)
    space, specified = interface.policy.action_space, specification(model, interface, name)
    block = times("WORKSPACE" if not plan.images else str(plan.block_words), "LANES")
    return PredictorView(
        name=name,
        lanes=lanes,
        source=comment(model.origin.file),
        spec=python(specified),
        specified=specified,
        parts=parts,
        arrays=arrays,
        inputs=inputs,
        action_shape=str(shape_of(space)),
        action=result_view(model, plan, interface.action, "actions"),
        score=result_view(model, plan, interface.scores, "scores"),
        states=state_views(model, plan, interface),
        space=type(space).__name__,
        discrete=isinstance(space, Discrete) and not interface.recurrent,
        masked=interface.masked,
        recurrent=interface.recurrent,
        layers_of_state=len(interface.hidden),
        units=model.tensors[interface.hidden[0].input].elements if interface.recurrent else 0,
        checks=options.nonfinite == "raise",
        workspace=plan.words,
        room=f"{block} + 16" if not plan.images else f"WORKSPACE + {block} + 16",
        block_room=plan.block_words * lanes + (plan.words if plan.images else 0),
        weights=encoded.blob_size // 4,
        least_block=min(lanes, max(2, lanes * 5 // 8)),
        least_part=max(lanes, -(-PART_WORK // max(work, 1))),
        threads=options.threads,
        steps=steps_of(model, encoded, plan, functions, inputs),
        values=[value_view(model, plan, node) for node in model.nodes if node.op not in ARRANGING],
        extras=extra_views(model, plan, encoded, interface),
        model_sha256=digest,
        weights_at=encoded.blob_offset,
        action_vector=len(shape_of(space)) == 1,
        long=work >= LONG_WORK,
        long_from=max(1, -(-LONG_WORK // max(work, 1))),
        sampling=sampling_view(model, interface),
        valued=interface.value is not None,
        action_text=action_text(space),
        spliced=is_spliced(model),
    )
