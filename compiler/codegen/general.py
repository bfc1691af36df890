"""
The view of a predictor whose model is no policy: arrays in, arrays out.
"""

from dataclasses import dataclass, field, replace

from compiler.codegen.blocks import BlockView
from compiler.codegen.general_array import GeneralArray, Memory
from compiler.codegen.lengths import lengths_of
from compiler.codegen.source import call, import_order, python, tuple_source
from compiler.ir import Length

STACK = 16384
"""float32 words of workspace that the entry point for one observation takes from the stack."""
LONG = 100_000
"""Multiply-adds from which on other threads may run meanwhile, which costs 30 ns."""
WORTH_CALLING = 2_000_000
"""Multiply-adds from which on a microsecond before the call no longer matters."""
PART_WORK = 5_000_000
"""Multiply-adds that are worth waking a thread for, which takes some 40 microseconds."""


@dataclass(frozen=True)
class GeneralView:
    """
    What the templates of a general package see. The fields that it shares with a policy's have the same names.
    """

    name: str
    lanes: int
    source: str
    spec: str
    inputs: list[GeneralArray]
    outputs: list[GeneralArray]
    memory: list[Memory]
    batched: bool
    checks: bool
    workspace: int
    weights: int
    weights_at: int
    size: int
    """Bytes of the model file."""
    identity: str
    """The SHA-256 of what stands in it around the weights."""
    model_sha256: str
    steps: list[str]
    """The statements that compute all layers."""
    meetings: int
    """The number of the last meeting of the threads that compute one observation; 0 if one thread does."""
    most_parts: int
    """How many threads one observation is worth."""
    work: int
    """Multiply-adds of one observation."""
    threads: int | None = None
    """Threads for large batches, if that was chosen."""
    length: Length | None = None
    """What sizes follow that are known at run time only: the length of sequences."""
    block: BlockView | None = None
    """The network for a block of observations, if batches are computed in blocks."""
    named: frozenset[str] = frozenset()
    words: list[str] = field(default_factory=list)
    kernels_named: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)

    @property
    def taken(self) -> list[GeneralArray]:
        """
        What kernels take: the inputs and the states.
        """
        return [*self.inputs, *(state.before for state in self.memory)]

    @property
    def divided(self) -> bool:
        """
        Whether several threads may compute one observation.
        """
        return self.meetings > 0

    @property
    def left(self) -> list[GeneralArray]:
        """
        What kernels give: the outputs and the next states.
        """
        return [*self.outputs, *(state.after for state in self.memory)]

    @property
    def kinds(self) -> list[str]:
        """
        The dtypes of the inputs, as the kernels that bring them end.
        """
        return sorted({array.kind for array in self.taken})

    @property
    def stores(self) -> list[tuple[str, str]]:
        """
        The dtypes of the outputs, as the kernels that write them end, and the words that these use.
        """
        words = {"": "store_scalar", "_integers": "store_integer", "_bytes": "store_byte"}
        return sorted({(array.kind, words[array.kind]) for array in self.left})

    @property
    def counted(self) -> list[tuple[int, GeneralArray]]:
        """
        The inputs that hold no more than some whole numbers, each with its place among what is taken.
        """
        return [(number, array) for number, array in enumerate(self.taken) if array.bounded]

    @property
    def whole(self) -> bool:
        """
        Whether an input holds no more than some whole numbers.
        """
        return bool(self.counted)

    @property
    def counted_kinds(self) -> list[str]:
        """
        The dtypes of these inputs, as the kernels that look at them end.
        """
        return sorted({array.kind for _, array in self.counted})

    @property
    def bytes(self) -> bool:
        """
        Whether an input is of bytes.
        """
        return any(array.dtype == "uint8" for array in self.inputs)

    @property
    def parameters(self) -> list[str]:
        """
        The parameters of `predict`.
        """
        return [f"{array.name}: Any" for array in self.inputs]

    @property
    def all_exported(self) -> str:
        """
        The list of the exported names, as source.
        """
        return python(self.exported)

    @property
    def network_parameters(self) -> list[str]:
        """
        The parameters of the kernels that compute all layers.
        """
        numbers = [*(["part", "parts"] if self.divided else []), *(["length"] if self.length else [])]
        pointers = ["inputs: Pointers", "weights: Pointer", "results: Pointers", "work: Pointer"]
        return [*(f"{number}: int" for number in numbers), *pointers, *(["gate: Pointer"] if self.divided else [])]

    @property
    def entry(self) -> str:
        """
        The decorator of the entry point: rows, the inputs, the address of the weights, the outputs, the workspace.
        """
        arrays = ["BUFFER"] * len(self.taken)
        numbers = ["NUMBER"] * (2 if self.length else 1)
        parts = ["BUFFER", "BUFFER", "NUMBER", "NUMBER"] if self.divided else []
        return call("@entry", [*numbers, *arrays, "NUMBER", *["BUFFER"] * (len(self.left) + 1), *parts], 0)

    @property
    def short(self) -> bool:
        """
        Whether there is a shorter way for one observation: of float32 and bytes.

        All kernels are compiled once more for it; where they take long, it would save nothing.
        """
        small = not self.length and not self.divided and self.work < WORTH_CALLING
        return small and all(array.dtype in ("float32", "uint8") for array in self.taken)

    @property
    def least_part(self) -> int:
        """
        Observations that are worth a thread, a block at least; of sequences, the steps of all of them together.
        """
        longest = self.length.most if self.length else 1
        least = self.block.count * longest if self.block else 1
        return max(least, -(-PART_WORK * longest // max(self.work, 1)))

    @property
    def threads_from(self) -> int:
        """
        Of the same, from how many on a batch is computed by several threads; 0 where it never is.
        """
        divided = self.batched and self.work and self.threads != 1
        return 2 * self.least_part if divided else 0

    @property
    def threaded(self) -> bool:
        """
        Whether there is code for several threads.
        """
        return self.divided or self.threads_from > 0

    @property
    def room(self) -> int:
        """
        float32 that a batch needs.
        """
        return max(self.workspace, self.block.words if self.block else 0)

    @property
    def rooms(self) -> str:
        """
        The sizes of workspaces that the face needs to know.
        """
        if self.length:
            return "ROOM"
        return "ROOM, WORKSPACE" if self.block else "WORKSPACE"

    @property
    def rows_room(self) -> str:
        """
        The expression of the size for `rows` observations.
        """
        return f"(ROOM if rows >= {self.block.least} else WORKSPACE)" if self.block else "WORKSPACE"

    @property
    def on_stack(self) -> bool:
        """
        Whether the workspace for one observation comes from the stack.
        """
        return self.workspace <= STACK

    @property
    def short_entry(self) -> str:
        """
        The decorator of the entry point for one observation; it lets other threads run where it takes long.
        """
        after = ["BUFFER"] * (len(self.left) + (not self.on_stack))
        return call("@entry", [*["BUFFER"] * len(self.taken), "NUMBER", *after, f"release_lock={self.work >= LONG}"], 0)

    def short_way(self, native: bool, indent: int = 4, *, kept: bool = False) -> str:
        """
        The beginning of the statement that calls the entry point for one observation, and goes on where it answers.

        An extension has the weights and a workspace of its own. With `kept`, the states and the places of the next ones
        are rows, as an episode keeps them.
        """
        arguments = [array.name if array.flat else f"{array.name}_row" for array in self.taken]
        left = [array.name if self.length else array.row for array in self.outputs]
        left += [state.after.name if kept else state.after.row for state in self.memory]
        if native:
            numbers = ["1", "length"] if self.length else ["1"]
            return call("if not predict_rows", [*numbers, *arguments, *left], indent, 1) + ":"
        room = [] if self.on_stack else ["np.empty(WORKSPACE + 16, np.float32)"]
        return call("if not predict_one", [*arguments, "_address", *left, *room], indent, 1) + ":"

    @property
    def initial_rows(self) -> str:
        """
        The tuple of the states that an episode is given, as rows of its own.
        """
        rows = [
            f"_exactly({array.label}, {array.name}, {array.shape}, np.{array.numpy}).flatten()"
            for array in (state.before for state in self.memory)
        ]
        return tuple_source(rows, len("self._before = "), 8)

    @property
    def kept(self) -> tuple[str, str]:
        """
        What an episode's states, and the places of the next ones, are assigned to: rows.
        """
        before = [state.before.name if state.before.flat else f"{state.before.name}_row" for state in self.memory]
        after = [state.after.name for state in self.memory]
        first, second = (", ".join(names) if len(names) > 1 else f"({names[0]},)" for names in (before, after))
        return first, second

    def result(self, form: str, indent: int = 4) -> str:
        """
        The expression of what `predict` gives, in a statement that is so far indented.
        """
        arrays = [array.given(form) for array in self.outputs]
        return call("return Outputs", arrays, indent).removeprefix("return ") if len(arrays) > 1 else arrays[0]

    @property
    def next_state(self) -> str:
        """
        The next states.
        """
        return ", ".join(state.after.name for state in self.memory)

    def at(self, length: int) -> "GeneralView":
        """
        The same where the sequences have this length.
        """
        inputs, outputs = ([array.at(length) for array in arrays] for arrays in (self.inputs, self.outputs))
        return replace(self, inputs=inputs, outputs=outputs, length=None)

    @property
    def exported(self) -> list[str]:
        """
        The names that the package exports.
        """
        several, stateful = len(self.outputs) > 1, bool(self.memory)
        names = [*(["Outputs"] if several else []), *(["Episode", "State"] if stateful else []), "SPEC", "predict"]
        return sorted(names, key=import_order)

    @property
    def length_alone(self) -> str:
        """
        The expression of what an input says the length is, if it is an array of one observation.
        """
        return next(text for one in self.inputs for text in lengths_of(one.name, one.sizes, 0))

    @property
    def lengths(self) -> str:
        """
        The set of what the inputs say the length is, as source.
        """
        found = [text for place, one in enumerate(self.inputs) for text in lengths_of(f"found[{place}][0]", one.sizes)]
        return f"{{{', '.join(found)}}}"

    def tuple_of(self, names: list[str]) -> str:
        """
        A tuple of variables, as source.
        """
        return tuple_source(names, 14)

    def addresses(self, arrays: list[GeneralArray]) -> str:
        """
        The addresses of the caller's arrays, as a tuple.
        """
        return tuple_source([f"address({array.name})" for array in arrays], 10)

    def moved(self, arrays: list[GeneralArray]) -> str:
        """
        Where those of one observation begin, as a tuple.
        """
        return tuple_source([array.of_row for array in arrays], 1, 12)
