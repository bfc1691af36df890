"""
The calls that compute a model: for one observation, and for a block of them.
"""

from dataclasses import dataclass

from compiler.codegen.expressions import times
from compiler.codegen.inputs import InputView, aliases_of
from compiler.codegen.memory import ARRANGING, MemoryPlan
from compiler.codegen.naming import BLOCK
from compiler.codegen.source import call
from compiler.ir import Model, Node
from compiler.modelfile import EncodedModel


@dataclass(frozen=True)
class Steps:
    """
    Statements, in order.
    """

    images: list[str]
    """What works on images, for one observation; `one` follows."""
    one: list[str]
    """All layers for one observation, but those of `images`."""
    extras: list[str]
    """What only the value and the distribution need, for one observation."""
    bring: list[str]
    """For a block: brings the inputs to its workspace, which begins at `work`."""
    move: list[str]
    """For a block: moves what was made of the image of one observation into its lane."""
    repeat: list[str]
    """For a block: fills the lanes without an observation with what was moved into the first."""
    block: list[str]
    """All layers for a block, but those of images."""


def steps_of(
    model: Model, encoded: EncodedModel, plan: MemoryPlan, functions: dict[str, str], inputs: list[InputView]
) -> Steps:
    """
    The calls for a model.

    Args:
        model: after all passes.
        encoded: its model file: where the constants stand.
        plan: where everything else stands.
        functions: the kernel's name for each node's first output.
        inputs: the views of the inputs and states, which `Writer` names by the order of the model's.
    """
    writer = _Writer(model, encoded, plan, functions, inputs)
    needed = needed_by_action(model)
    nodes = [node for node in model.nodes if node.op not in ARRANGING]
    chosen = [node for node in nodes if node.outputs[0] in needed]
    of_images = [node for node in chosen if node.outputs[0] in plan.images]
    others = [node for node in chosen if node.outputs[0] not in plan.images]
    staged = [view for view in inputs if view.slot is not None]
    left = _leaving_images(model, plan)
    return Steps(
        images=[*(stage(view) for view in staged if view.images), *map(writer.one, of_images)],
        one=[*(stage(view) for view in staged if not view.images), *map(writer.one, others)],
        extras=[writer.one(node) for node in nodes if node.outputs[0] not in needed],
        bring=[bring(view) for view in inputs if view.block_slot is not None],
        move=[
            call(
                "move",
                [
                    place("image", plan.slots[name].offset),
                    str(model.tensors[name].elements),
                    "lane",
                    place("work", plan.block_slots[name].offset, "LANES"),
                ],
                8,
            )
            for name in left
        ],
        repeat=[
            call(
                "repeat",
                [place("work", plan.block_slots[name].offset, "LANES"), str(model.tensors[name].elements), "count"],
            )
            for name in left
        ],
        block=[writer.block(node) for node in others],
    )


def stage(view: InputView) -> str:
    """
    The statement that copies an input into the workspace for one observation.
    """
    assert view.slot is not None
    target = place("work", view.slot.offset)
    if view.array.dtype == "float64":
        return call(f"stage{view.kind}", [view.name, str(view.count), target])
    return call(f"stage{view.kind}", [view.name, str(view.count), str(view.slot.words), target])


def bring(view: InputView) -> str:
    """
    The statement that brings an input of up to LANES observations into the workspace of a block.
    """
    assert view.block_slot is not None
    target = place("work", view.block_slot.offset, "LANES")
    return call(f"transpose{view.kind}", [view.name, str(view.count), "count", target])


def place(base: str, offset: int, factor: str = "") -> str:
    """
    The pointer to a place in a workspace or in the weights.
    """
    if offset == 0:
        return base
    return f"advance({base}, {times(str(offset), factor) if factor else offset})"


def needed_by_action(model: Model) -> set[str]:
    """
    The tensors that the action, its scores and the next states depend on.
    """
    needed = {output.tensor for output in model.outputs if output.role in ("action", "scores")}
    needed |= {state.output for state in model.states}
    for node in reversed(model.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    return needed


def _leaving_images(model: Model, plan: MemoryPlan) -> list[str]:
    """
    What kernels for blocks read of what is computed observation by observation.
    """
    found = []
    for node in model.nodes:
        if node.outputs[0] in plan.images:
            continue
        if node.op in ARRANGING and node.inputs[0] in plan.images:
            found.append(node.outputs[0])
        elif node.op not in ARRANGING:
            found += [name for name in node.inputs if name in plan.images]
    return list(dict.fromkeys(found))


class _Writer:
    """
    Writes the call of one node's kernel.
    """

    def __init__(
        self,
        model: Model,
        encoded: EncodedModel,
        plan: MemoryPlan,
        functions: dict[str, str],
        inputs: list[InputView],
    ) -> None:
        self.model, self.encoded, self.plan, self.functions = model, encoded, plan, functions
        tensors = (*model.inputs, *(state.input for state in model.states))
        self.in_place = {
            alias: view.name
            for tensor, view in zip(tensors, inputs, strict=True)
            if view.slot is None
            for alias in aliases_of(model, tensor)
        }

    def one(self, node: Node) -> str:
        """
        For one observation.
        """
        pointers = [self.in_place.get(name) or self._constant(name) or self._place(name) for name in node.inputs]
        return call(self.functions[node.outputs[0]], [*pointers, *map(self._place, node.outputs)])

    def block(self, node: Node) -> str:
        """
        For LANES observations.
        """
        pointers = [self._constant(name) or self._block_place(name) for name in node.inputs]
        return call(self.functions[node.outputs[0]] + BLOCK, [*pointers, self._block_place(node.outputs[0])])

    def _constant(self, name: str) -> str:
        if self.model.tensors[name].data is None:
            return ""
        return place("weights", self.encoded.offsets[name] // 4)

    def _place(self, name: str) -> str:
        return place("work", self.plan.slots[name].offset)

    def _block_place(self, name: str) -> str:
        return place("work", self.plan.block_slots[name].offset, "LANES")
