"""
The flat view of a whole predictor: constants, calls and texts that the package's templates put in place.
"""

from dataclasses import dataclass, field

from compiler.codegen.calls import ARRANGING, Steps, needed_by_action, place, steps_of
from compiler.codegen.expressions import times
from compiler.codegen.inputs import ArrayView, InputView, PartView, array_views, input_views, part_views
from compiler.codegen.interface import Interface, interface_of
from compiler.codegen.memory import WORDS, MemoryPlan, plan_memory
from compiler.codegen.naming import comment, literal
from compiler.codegen.sampling import SamplingView, sampling_view
from compiler.codegen.source import WIDTH, call, import_order, python
from compiler.codegen.specification import specification
from compiler.ir import Box, Discrete, DType, Model, MultiBinary, MultiDiscrete, Node, Output, Space
from compiler.modelfile import EncodedModel
from compiler.ops import OPS
from compiler.options import BuildOptions

STACK = 16384
"""float32 words of workspace that an entry point takes from the stack; more comes from the heap."""
PARALLEL_WORK = 10_000_000
"""Multiply-adds from which on a batch is split over threads: about 100 microseconds of one thread."""
CHUNK_WORK = 1_000_000
"""Multiply-adds that are worth a thread's while."""
LONG_WORK = 100_000
"""Multiply-adds from which on a single observation is worth releasing the interpreter lock: about 2 microseconds."""
STORES = {DType.FLOAT32: "store_scalar", DType.FLOAT64: "store_double", DType.INT64: "store_integer"}


@dataclass(frozen=True)
class ResultView:
    """
    A result of the kernels: where it stands in the workspace and how it leaves it.
    """

    name: str
    """For a docstring."""
    array: str
    """The caller's array that takes it."""
    dtype: str
    count: int
    """Values per observation."""
    one: str
    """The pointer to it, for one observation."""
    block: str
    """The pointer to it, for a block."""
    load: str
    """The word that reads a value of it."""
    store: str
    """The word that writes a value to the caller."""
    layer: int = 0
    """Of a state."""

    def index(self, row: str, i: str) -> str:
        """
        Where value `i` of observation `row` stands in the caller's array.
        """
        if self.layer:
            row = f"({'' if self.layer == 1 else f'{self.layer} * '}rows + {row})"
        plain = row if " " not in row or row.startswith("(") else f"({row})"
        return f"{row.strip('()')} + {i}" if self.count == 1 else f"{plain} * {self.count} + {i}"


@dataclass(frozen=True)
class ValueView:
    """
    A value that `layers` shows: its name as a literal, its place in the workspace.
    """

    name: str
    offset: int
    count: int
    dtype: str


@dataclass(frozen=True)
class ExtraView:
    """
    What the value or the distribution is made of, besides the scores.
    """

    name: str
    """The output's own name, as a literal."""
    count: int
    one: str
    """The pointer to it, for one observation; of a constant, its place among the weights, in float32."""
    constant: str
    """The shape of a constant, as source; empty for what is computed."""

    @property
    def bytes(self) -> str:
        """
        The slice of a constant among the bytes of the weights.
        """
        first = 4 * int(self.one)
        return f"{first}:{first + 4 * self.count}"


@dataclass(frozen=True)
class PredictorView:
    """
    What the templates of the package see.
    """

    name: str
    source: str
    spec: str
    parts: list[PartView]
    arrays: list[ArrayView]
    inputs: list[InputView]
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
    checks: bool
    """Whether observations and scores that are not finite are refused."""
    workspace: int
    room: str
    """How many float32 a block needs, as source."""
    weights: int
    least_block: int
    threads_from: int
    chunk: int
    steps: Steps
    values: list[ValueView]
    extras: list[ExtraView]
    extra_kernels: list[str]
    """The kernels that only extras need."""
    model_sha256: str
    weights_at: int
    action_vector: bool
    """Whether an action has one dimension."""
    long: bool
    """Whether one observation takes long enough to let other Python threads run meanwhile."""
    sampling: SamplingView | None
    valued: bool
    """Whether the value network is compiled in."""
    words: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    @property
    def on_stack(self) -> bool:
        """
        Whether the workspace for one observation comes from the stack.
        """
        return self.workspace <= STACK

    @property
    def dict(self) -> bool:
        """
        Whether an observation is a dict.
        """
        return bool(self.parts[0].key)

    @property
    def part(self) -> PartView:
        """
        The observation, if it is no dict.
        """
        return self.parts[0]

    @property
    def direct(self) -> bool:
        """
        Whether an observation is one row, so that it can be passed on as it is.
        """
        return not self.dict and self.part.flat

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
    def kinds(self) -> set[str]:
        """
        How the kernels end that bring inputs into the workspace for one observation.
        """
        return {view.kind for view in self.inputs if view.slot is not None}

    @property
    def block_kinds(self) -> set[str]:
        """
        The same for a block.
        """
        return {view.kind for view in self.inputs if view.block_slot is not None}

    @property
    def names(self) -> str:
        """
        The caller's arrays as arguments.
        """
        return ", ".join(array.name for array in self.arrays)

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
    def checked(self) -> list[InputView]:
        """
        The inputs that must be finite.
        """
        return [view for view in self.inputs if view.checked and self.checks]

    @property
    def ranges(self) -> list[InputView]:
        """
        The inputs that are choices.
        """
        return [view for view in self.inputs if view.sizes]

    @property
    def doubles(self) -> bool:
        """
        Whether float64 must be finite.
        """
        return any(view.array.dtype == "float64" for view in self.checked)

    @property
    def part_shapes(self) -> str:
        """
        The parts of a dict observation with their shapes, as a dict.
        """
        items = [f"{part.key}: {part.shape}" for part in self.parts]
        line = "{" + ", ".join(items) + "}"
        return line if len(line) < 100 else "{\n" + "".join(f"    {item},\n" for item in items) + "}"

    @property
    def row_dtypes(self) -> list[str]:
        """
        The dtypes that observations are converted to.
        """
        return sorted({part.array.dtype for part in self.parts if not part.sizes})

    @property
    def labels(self) -> str:
        """
        What messages call the caller's arrays, with the shape of an element, as a tuple of pairs.
        """
        pairs = [f"({part.label}, {part.shape})" for part in self.parts]
        names = {"hidden": "state h, layer", "cell": "state c, layer"}
        for array in self.arrays[len(pairs) :]:
            shape = "arrays[-1].shape[1:]" if array.name in names else "()" if array.count == 1 else f"({array.count},)"
            pairs.append(f"({literal(names.get(array.name, array.name))}, {shape})")
        return tuple_source(pairs, 9, 8)

    @property
    def range_checks(self) -> list[tuple[int, str, str]]:
        """
        Of each part that is made of choices: its place among the arrays, what messages call it, its sizes.
        """
        return [(at, part.label, str(part.sizes)) for at, part in enumerate(self.parts) if part.sizes]

    @property
    def has_box(self) -> bool:
        """
        Whether a part of the observation is no choice.
        """
        return any(not part.sizes for part in self.parts)

    @property
    def has_choices(self) -> bool:
        """
        Whether a part of the observation is a choice.
        """
        return any(part.sizes for part in self.parts)

    @property
    def has_image(self) -> bool:
        """
        Whether a part of the observation is an image.
        """
        return any(part.image for part in self.parts)

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
        return sorted([*names, *(["Episode"] if self.recurrent else [])], key=import_order)

    @property
    def extra_imports(self) -> list[str]:
        """
        What the extras take from the module of kernels, in the order of import sorters.
        """
        names = ["ROOM", "WEIGHTS", "at", "check", "policy", *self.extra_kernels]
        return sorted([*names, *(["Pointers"] if self.steps.extras else [])], key=import_order)

    def unpacked(self, views: list[InputView]) -> str:
        """
        The left side of an assignment that names, of all inputs, these; nothing if there are none.
        """
        names = [view.name if view in views else "_" for view in self.inputs]
        return unpacked(names) if views else ""

    @property
    def unpacked_one(self) -> str:
        """
        The inputs that the layers for one observation read, but those for images.
        """
        return self.unpacked([view for view in self.inputs if view.slot is None or not view.images])

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
    def unpacked_images(self) -> str:
        """
        The inputs that the layers for images read.
        """
        return self.unpacked([view for view in self.inputs if view.images])

    @property
    def unpacked_block(self) -> str:
        """
        The inputs that the layers for blocks read.
        """
        return self.unpacked([view for view in self.inputs if view.block_slot is not None])

    @property
    def unpacked_arrays(self) -> str:
        """
        The left side of an assignment that gives names to the caller's arrays.
        """
        return unpacked([array.name for array in self.arrays])

    @property
    def pointers(self) -> str:
        """
        Where the inputs of observation `row` begin, as a tuple.
        """
        return tuple_source([view.at("row", "rows") for view in self.inputs], len("return "))

    @property
    def results(self) -> list[str]:
        """
        The caller's arrays that results go into.
        """
        return ["actions", "scores", *(["next_hidden", "next_cell"] if self.recurrent else [])]

    def addresses(self, names: list[str]) -> str:
        """
        The tuple of the addresses of arrays.
        """
        return tuple_source([f"address({name})" for name in names], len("results = "))

    @property
    def threaded_entry(self) -> str:
        """
        The decorator of the entry point that splits a batch: all numbers.
        """
        return call("@entry", ["NUMBER"] * (3 + len(self.arrays) + len(self.results)) + ["parallel=True"], 0)

    @property
    def chunk_arrays(self) -> str:
        """
        The caller's arrays from their addresses, as a tuple.
        """
        return tuple_source([f"pointer({array.name}, {array.floats})" for array in self.arrays], 9, 8)

    @property
    def chunk_results(self) -> str:
        """
        The arrays of the results from their addresses, as a tuple.
        """
        words = 1 if self.action.dtype == "float32" else 2
        state = f"rows * {self.layers_of_state * self.units}"
        sizes = [f"rows * {self.action.count * words}", f"rows * {self.score.count} * scored", state, state]
        return tuple_source(
            [f"pointer({name}, {size})" for name, size in zip(self.results, sizes, strict=False)], 10, 8
        )

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


def unpacked(names: list[str]) -> str:
    """
    The left side of an assignment of a tuple.
    """
    plain = ", ".join(names)
    return plain if len(names) > 1 and len(plain) < 90 else tuple_source(names, 20)


def tuple_source(items: list[str], before: int, indent: int = 4) -> str:
    """
    A tuple, over several lines if it does not fit on one that is indented and has `before` characters before it.
    """
    if len(items) == 1:
        return f"({items[0]},)"
    line = f"({', '.join(items)})"
    if indent + before + len(line) <= WIDTH:
        return line
    margin = " " * (indent + 4)
    return "(\n" + "".join(f"{margin}{item},\n" for item in items) + " " * indent + ")"


def predictor_view(
    model: Model, encoded: EncodedModel, digest: str, options: BuildOptions, name: str, functions: dict[str, str]
) -> PredictorView:
    """
    Everything about a predictor but the texts of its kernels.

    Args:
        model: a policy after all passes.
        encoded: its model file.
        digest: the model file's SHA-256.
        options: how to build.
        name: the package's name.
        functions: the kernel's name for each node's first output.

    Raises:
        UnsupportedError: if the model is not a policy with one action.
    """
    interface = interface_of(model)
    plan = plan_memory(model, options.lanes)
    parts = part_views(interface, model)
    arrays = array_views(interface, model, parts)
    inputs = input_views(interface, model, plan, parts, arrays)
    work = sum(OPS[n.op].multiply_adds([model.tensors[i] for i in n.inputs], n.attributes) for n in model.nodes)
    chunk = -(-CHUNK_WORK // max(work, 1) // options.lanes) * options.lanes
    space = interface.policy.action_space
    block = times("WORKSPACE" if not plan.images else str(plan.block_words), "LANES")
    return PredictorView(
        name=name,
        source=comment(model.origin.file),
        spec=python(specification(model, interface, name)),
        parts=parts,
        arrays=arrays,
        inputs=inputs,
        action_shape=str(action_shape(space)),
        action=_result(model, plan, interface.action, "actions"),
        score=_result(model, plan, interface.scores, "scores"),
        states=_states(model, plan, interface),
        space=type(space).__name__,
        discrete=isinstance(space, Discrete) and not interface.recurrent,
        masked=interface.masked,
        recurrent=interface.recurrent,
        layers_of_state=len(interface.hidden),
        units=model.tensors[interface.hidden[0].input].elements if interface.recurrent else 0,
        checks=options.nonfinite == "raise",
        workspace=plan.words,
        room=f"{block} + 16" if not plan.images else f"WORKSPACE + {block} + 16",
        weights=encoded.blob_size // 4,
        least_block=min(options.lanes, max(2, options.lanes * 5 // 8)),
        threads_from=max(2 * chunk, PARALLEL_WORK // max(work, 1)),
        chunk=chunk,
        steps=steps_of(model, encoded, plan, functions, inputs),
        values=[_value(model, plan, node) for node in model.nodes if node.op not in ARRANGING],
        extras=_extras(model, plan, encoded, interface),
        extra_kernels=sorted(functions[name] for name in functions if name not in needed_by_action(model)),
        model_sha256=digest,
        weights_at=encoded.blob_offset,
        action_vector=len(action_shape(space)) == 1,
        long=work >= LONG_WORK,
        sampling=sampling_view(model, interface),
        valued=interface.value is not None,
    )


def action_shape(space: Space) -> tuple[int, ...]:
    """
    The shape of one action.
    """
    match space:
        case Box() | MultiBinary():
            return space.shape
        case MultiDiscrete(nvec=nvec):
            return (len(nvec),)
        case _:
            return ()


def _result(model: Model, plan: MemoryPlan, output: Output, array: str) -> ResultView:
    return _tensor_result(model, plan, output.tensor, comment(output.name), array, 0)


def _states(model: Model, plan: MemoryPlan, interface: Interface) -> list[ResultView]:
    return [
        _tensor_result(model, plan, state.output, comment(state.name), array, layer)
        for layer, states in enumerate(zip(interface.hidden, interface.cell, strict=True))
        for array, state in zip(("next_hidden", "next_cell"), states, strict=True)
    ]


def _tensor_result(model: Model, plan: MemoryPlan, name: str, title: str, array: str, layer: int) -> ResultView:
    tensor = model.tensors[name]
    return ResultView(
        name=title,
        array=array,
        dtype=str(tensor.dtype),
        count=tensor.elements,
        one=place("work", plan.slots[name].offset),
        block=place("work", plan.block_slots[name].offset, "LANES"),
        load="load_double" if tensor.dtype is DType.FLOAT64 else "load_scalar",
        store=STORES[tensor.dtype],
        layer=layer,
    )


def _value(model: Model, plan: MemoryPlan, node: Node) -> ValueView:
    tensor = model.tensors[node.outputs[0]]
    dtype = "float64" if WORDS[tensor.dtype] == 2 else "float32"
    return ValueView(literal(tensor.name), plan.slots[tensor.name].offset, tensor.elements, dtype)


def _extras(model: Model, plan: MemoryPlan, encoded: EncodedModel, interface: Interface) -> list[ExtraView]:
    outputs = [*interface.distribution, *([interface.value] if interface.value else [])]
    views = []
    for output in outputs:
        tensor = model.tensors[output.tensor]
        if tensor.data is None:
            where = place("work", plan.slots[tensor.name].offset)
            views.append(ExtraView(literal(output.name), tensor.elements, where, ""))
        else:
            where = str(encoded.offsets[tensor.name] // 4)
            views.append(ExtraView(literal(output.name), tensor.elements, where, str(tensor.fixed_shape)))
    return views
