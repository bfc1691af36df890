"""
The second network of a general model: the one for a block of observations of a batch.

What `compiler.ops.blocks` names is computed for all of them at once; stretches of everything else, one observation
after the other, by the kernels that compute one observation.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from compiler.codegen.body import sum_of
from compiler.codegen.calls import place
from compiler.codegen.general_array import GeneralArray
from compiler.codegen.general_kernels import takes_length
from compiler.codegen.source import call
from compiler.codegen.workspace import BlockWorkspace, Stretch, arguments_of, plan_blocks, stays
from compiler.ir import Model, Node
from compiler.modelfile import EncodedModel
from compiler.ops.blocks import BLOCK, LEAST, MOST_WORDS, together

SLOT = "slot"
"""What loops over the observations of a block count with."""


@dataclass(frozen=True)
class BlockPlan:
    """
    The stretches of a model, and where values stand; the first and the last are computed observation by observation.
    """

    stretches: tuple[Stretch, ...]
    workspace: BlockWorkspace

    @property
    def together(self) -> list[Node]:
        """
        The nodes that have a kernel for a block.
        """
        return [stretch.nodes[0] for stretch in self.stretches if stretch.together]


@dataclass(frozen=True)
class BlockView:
    """
    What templates see of the network for a block.
    """

    count: int
    least: int
    words: int
    """float32 of workspace."""
    steps: list[str]
    """Statements, one or more lines each."""


def plan_block(model: Model) -> BlockPlan | None:
    """
    The plan of a model whose batches are worth computing in blocks; None for all others.

    Args:
        model: after all passes.
    """
    chosen = together(model)
    if not chosen:
        return None
    stretches = stretches_of(model, chosen)
    workspace = plan_blocks(model, stretches)
    return BlockPlan(stretches, workspace) if workspace.words <= MOST_WORDS else None


def stretches_of(model: Model, chosen: Set[str]) -> tuple[Stretch, ...]:
    """
    All nodes in order, of which those that give `chosen` are computed for all observations at once.

    The first and the last stretch, which may be empty, go observation by observation.
    """
    found = [Stretch(())]
    for node in model.nodes:
        if node.outputs[0] in chosen:
            found.append(Stretch((node,), together=True))
        elif found[-1].together:
            found.append(Stretch((node,)))
        else:
            found[-1] = Stretch((*found[-1].nodes, node))
    return (*found, Stretch(())) if found[-1].together else tuple(found)


def block_view(
    model: Model,
    encoded: EncodedModel,
    plan: BlockPlan,
    functions: Mapping[str, str],
    kernels: Mapping[str, str],
    inputs: Sequence[GeneralArray],
    outputs: Sequence[GeneralArray],
    divided: Set[str] = frozenset(),
) -> BlockView:
    """
    The network for a block.

    Args:
        model: after all passes.
        encoded: its model file.
        plan: of the block.
        functions: the kernel's name for each node's first output.
        kernels: the same of kernels for a block, where there are some.
        inputs: the views of what callers give, by the order of the model's.
        outputs: the same of what they get.
        divided: the kernels that compute one of several parts: here all of them.
    """

    def pointer(name: str, slot: str) -> str:
        if name in encoded.offsets:
            return place("weights", encoded.offsets[name] // 4)
        begin, apart = plan.workspace.slots[name].offset, plan.workspace.apart[name]
        return f"advance(work, {sum_of((slot, apart), ('1', begin))})" if apart and slot else place("work", begin)

    def computed(node: Node, kernel: str, slot: str, indent: int) -> str:
        pointers = [pointer(name, slot) for name in arguments_of(model, node)]
        numbers = [*(["0", "1"] if kernel in divided else []), *(["length"] if takes_length(model, node) else [])]
        return call(kernel, [*numbers, *pointers], indent)

    def moved(arrays: Sequence[GeneralArray], tensors: Sequence[str]) -> list[GeneralArray]:
        return [
            replace(array, name=array.of_row, place=pointer(name, SLOT))
            for array, name in zip(arrays, tensors, strict=True)
        ]

    staged = [line for array in moved(inputs, model.inputs) for line in array.staged]
    delivered = [line for array in moved(outputs, [one.tensor for one in model.outputs]) for line in array.delivered]
    steps = []
    for number, stretch in enumerate(plan.stretches):
        if stretch.together:
            (node,) = stretch.nodes
            steps.append(computed(node, kernels[node.outputs[0]], "", 4))
            continue
        before, after = staged if number == 0 else [], delivered if number == len(plan.stretches) - 1 else []
        nodes = [node for node in stretch.nodes if not stays(model, node)]
        lines = [*before, *(computed(node, functions[node.outputs[0]], SLOT, 8) for node in nodes), *after]
        if lines:
            row = [f"row = min({SLOT}, rows - 1)"] if before or after else []
            steps.append("\n        ".join([f"for {SLOT} in range({BLOCK}):", *row, *lines]))
    return BlockView(BLOCK, LEAST, plan.workspace.words, steps)
