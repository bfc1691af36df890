"""
The views of what callers give to a general predictor, and of what they get.
"""

from dataclasses import dataclass, replace
from math import prod

from compiler.codegen.body import passes, running
from compiler.codegen.inputs import COUNTERS, KINDS
from compiler.codegen.lengths import accepted, copies, extent, shape_text, step_of
from compiler.ir import Length
from compiler.ops.lengths import follows

LARGEST_BYTE = 255


@dataclass(frozen=True)
class GeneralArray:
    """
    An input or an output as the caller knows it.
    """

    name: str
    """A variable."""
    label: str
    """What messages and the specification call it, as a literal."""
    dtype: str
    """As NumPy calls it."""
    shape: str
    """Of one observation, as source."""
    text: str
    """What it is, for docstrings."""
    count: int
    """Values of one observation."""
    place: str
    """The pointer to where it stands in the workspace, or among the weights."""
    sizes: tuple[int, ...] = ()
    """Of one observation, some of which may follow the length."""
    least: int = 0
    """Of whole numbers: the least that may be given."""
    most: int = 0
    """The greatest."""

    @property
    def follows(self) -> bool:
        """
        Whether it has as many values as the length of its sequences says.
        """
        return bool(follows(self.sizes))

    @property
    def extent(self) -> str:
        """
        The expression of how many values of one observation callers give or get.
        """
        return extent(self._dims)

    def at(self, length: int) -> "GeneralArray":
        """
        The same where the sequences have this length.
        """
        sizes = tuple(size.at(length) if isinstance(size, Length) else size for size in self.sizes)
        return replace(self, sizes=sizes, count=prod(sizes), shape=shape_text(sizes))

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(map(running, self.sizes))

    @property
    def accepted(self) -> str:
        """
        The shapes of one observation that a caller may give, as source.
        """
        return accepted(self.sizes)

    @property
    def staged(self) -> list[str]:
        """
        The statements that bring it to its place in the workspace.
        """
        if not self.follows:
            return [f"stage{self.kind}({self.name}, {self.count}, {self.place})"]
        return copies(f"stage{self.kind}", self.name, self.dtype, self._dims, self.place, leaving=False)

    @property
    def delivered(self) -> list[str]:
        """
        The statements that bring it to the caller.
        """
        if not self.follows:
            return [f"give{self.kind}({self.place}, {self.count}, {self.name})"]
        return copies(f"give{self.kind}", self.name, self.dtype, self._dims, self.place, leaving=True)

    @property
    def of_row(self) -> str:
        """
        The pointer to the values of observation `row`.
        """
        move, distance = step_of(self.dtype)
        count = f"{self.extent} * {distance}" if self.follows else str(self.count * distance)
        return f"{move}({self.name}, row * {count})"

    @property
    def numpy(self) -> str:
        """
        The name of its type in NumPy.
        """
        return "bool_" if self.dtype == "bool" else self.dtype

    @property
    def kind(self) -> str:
        """
        How the kernels end that bring its values into the workspace, and back.
        """
        return KINDS[self.dtype]

    @property
    def counter(self) -> str:
        """
        The word that counts the values of a caller's array.
        """
        return COUNTERS[self.dtype]

    @property
    def bounded(self) -> bool:
        """
        Whether values must be looked at: not those that its dtype bounds already.
        """
        return self.dtype == "int64" or (self.dtype == "uint8" and self.most < LARGEST_BYTE)

    @property
    def flat(self) -> bool:
        """
        Whether one observation is a row.
        """
        return self.shape == f"({self.count},)" or (self.follows and len(self.sizes) == 1)

    @property
    def row(self) -> str:
        """
        The expression of the values of one observation, of an array in its shape, as a row.
        """
        return self.name if self.flat else f"{self.name}.ravel()"

    def given(self, form: str) -> str:
        """
        The expression of what the caller gets: in the `shape` of one observation, with `rows` in front, or as it `is`.
        """
        inside = list(map(passes, self._dims))
        if form == "is" or (form == "shape" and self.flat):
            return self.name
        return f"{self.name}.reshape({', '.join(inside if form == 'shape' else ['rows', *inside]) or '()'})"


@dataclass(frozen=True)
class Memory:
    """
    A state: what a step reads, what it leaves, and where among the weights stands what it begins with.
    """

    before: GeneralArray
    after: GeneralArray
    initial: int
    """Its first byte there."""
