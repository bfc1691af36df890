"""
The views of the kernels of fully connected layers.
"""

from dataclasses import dataclass

from compiler.codegen.expressions import plus, share, signature, times
from compiler.codegen.layer import LayerView

CHAINS = 8
"""Sums that must be under way at once to hide the latency of a multiply-add: two begin in a cycle, each takes four."""
SCALAR_CHAINS = 4
"""The same for processors without registers of several values, which begin one at most."""
TILE = 8
"""Outputs that a block kernel computes at once, each in a register."""
WIDE_TILE = 16
"""The same with the registers of AVX-512: each value of the observations is loaded half as often."""
SPARSE = 1 << 20
"""Weights from which on those of inputs that are zero are not even read: memory is what such a layer waits for."""
LARGE = 1 << 16
"""Weights from which on a block kernel is unrolled: for fewer it is not worth the time to compile."""


@dataclass(frozen=True)
class ColumnsView(LayerView):
    """
    A dense layer whose outputs stay in registers while the inputs go by.
    """

    outputs: int = 0
    blocks: int = 0
    width: int = 0
    skips: bool = False
    """Whether the kernel for one observation passes over inputs that are zero."""

    @property
    def divided(self) -> bool:
        """
        Whether threads have blocks of outputs of their own.
        """
        return self.dividing and self.blocks > 1

    @property
    def signature(self) -> str:
        """
        The first line of the kernel.
        """
        return signature(self.function, ["source", "weight", "bias", "target"], divided=self.divided)

    @property
    def block_range(self) -> str:
        """
        The blocks that are computed.
        """
        return f"range({share(str(self.blocks)) if self.divided else self.blocks})"

    @property
    def inputs(self) -> int:
        """
        Values that the layer takes.
        """
        return self.features

    @property
    def registers(self) -> int:
        """
        Registers that the outputs of one block take.
        """
        return self.width // self.lanes

    @property
    def chains(self) -> int:
        """
        Partial sums for each register, so that enough multiply-adds are independent.
        """
        wanted = CHAINS if self.lanes > 1 else SCALAR_CHAINS
        return min(self.inputs, -(-wanted // self.registers))

    @property
    def whole(self) -> int:
        """
        Inputs that the loop over all chains takes; the rest follows one by one.
        """
        return self.inputs - self.inputs % self.chains

    @property
    def accumulators(self) -> list[tuple[int, int]]:
        """
        (register, chain) of every partial sum.
        """
        return [(register, chain) for chain in range(self.chains) for register in range(self.registers)]

    def name(self, register: int, chain: int) -> str:
        """
        The variable of a partial sum.
        """
        return f"a{register}" if self.chains == 1 else f"a{register}_{chain}"

    def fma(self, register: int, chain: int, weight: str) -> str:
        """
        The statement that adds input `i + chain` to a partial sum.
        """
        row = times(plus("i", chain), str(self.width))
        return self._fma(self.name(register, chain), weight, plus(row, register * self.lanes))

    def fma_rest(self, register: int, i: int, weight: str) -> str:
        """
        The statement that adds an input left over by the loop.
        """
        return self._fma(self.name(register, 0), weight, str(i * self.width + register * self.lanes))

    def _fma(self, name: str, weight: str, place: str) -> str:
        return f"{name} = fma(x, load({weight}, {place}), {name})"

    def sum(self, register: int) -> str:
        """
        The expression that adds the partial sums of a register.
        """
        return " + ".join(self.name(register, chain) for chain in range(self.chains))

    @property
    def tile(self) -> int:
        """
        Outputs at once in the block kernel.
        """
        sizes = (WIDE_TILE, TILE, 4, 2, 1) if self.lanes >= WIDE_TILE else (TILE, 4, 2, 1)
        return next(size for size in sizes if self.width % size == 0)

    @property
    def unrolled(self) -> int:
        """
        Inputs in one pass of the block kernel.
        """
        if self.inputs * self.blocks * self.width < LARGE:
            return 1
        return next(count for count in (4, 2, 1) if self.inputs % count == 0)

    @property
    def tiles(self) -> int:
        """
        Tiles that cover the outputs.
        """
        return -(-self.outputs // self.tile)

    @property
    def place(self) -> str:
        """
        Where the weights of the tile that begins with output `first` begin.
        """
        if self.blocks == 1:
            return "first"
        return f"first // {self.width} * {self.inputs * self.width} + first % {self.width}"


@dataclass(frozen=True)
class RowsView(LayerView):
    """
    A dense layer of few outputs, each a dot product.
    """

    outputs: int = 0

    @property
    def inputs(self) -> int:
        """
        Values that the layer takes.
        """
        return self.features

    @property
    def rest(self) -> int:
        """
        Inputs that are left over by whole registers; what stands behind them in the workspace may be NaN.
        """
        return self.inputs % self.lanes

    @property
    def whole(self) -> int:
        """
        Inputs that fill whole registers.
        """
        return self.inputs - self.rest

    @property
    def groups(self) -> list[range]:
        """
        Outputs that are computed together, each in a register.
        """
        return [range(first, min(first + TILE, self.outputs)) for first in range(0, self.outputs, TILE)]
