"""
The text of a kernel's body, line by line: loops over literal sizes, places as sums of variables times factors.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.codegen.expressions import plus, signature, times
from compiler.codegen.source import WIDTH
from compiler.ir import DType, Tensor

Term = tuple[str, int]
"""A variable, or a number, and its factor."""


@dataclass(frozen=True)
class KernelView:
    """
    What the template of general kernels sees.
    """

    function: str
    """The kernel's name in the generated module."""
    title: str
    """One line for the docstring."""
    parameters: tuple[str, ...]
    """A pointer for each input, then one for each result."""
    body: str

    @property
    def signature(self) -> str:
        """
        The first line, or lines, of the kernel.
        """
        return signature(self.function, list(self.parameters))


@dataclass(frozen=True)
class Operand:
    """
    A tensor that a kernel reads or writes: its parameter, its dims, and how its elements are kept.
    """

    name: str
    dims: tuple[int, ...]
    dtype: DType
    constant: bool

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> "Operand":
        """
        The operand of a declared tensor.
        """
        return cls(name, tensor.fixed_shape, tensor.dtype, tensor.data is not None)

    @property
    def strides(self) -> tuple[int, ...]:
        """
        Elements from one place to the next in each dim.
        """
        return strides_of(self.dims)

    @property
    def in_words(self) -> bool:
        """
        Whether its elements are float32 words. Constants of integers and truth values stand as they are in the file.
        """
        return not self.constant or self.dtype is DType.FLOAT32

    def scalar(self, place: str) -> str:
        """
        The expression of one element.
        """
        if self.in_words:
            return f"load_scalar({self.name}, {place})"
        word = "load_integer" if self.dtype is DType.INT64 else "load_byte"
        return f"np.float32({word}({self.name}, {place}))"


class Body:
    """
    Lines with their indentation.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._lines: list[str] = []
        self._depth = 1

    def add(self, *lines: str) -> None:
        """
        Adds statements.
        """
        self._lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """
        What is added inside stands under this head; without a head, where it stands.
        """
        if head:
            self.add(head)
            self._depth += 1
        yield
        if head:
            self._depth -= 1

    @contextmanager
    def loop(self, variable: str, count: int) -> Iterator[str]:
        """
        A loop; yields what its variable is called inside, the number itself where it has one pass.
        """
        with self.block(f"for {variable} in range({count}):" if count != 1 else ""):
            yield variable if count != 1 else "0"

    @contextmanager
    def span(self, variable: str, start: int, stop: int, step: int) -> Iterator[str]:
        """
        A loop from `start` to `stop`; yields what its variable is called inside.
        """
        head = f"for {variable} in range({start}, {stop}, {step}):"
        with self.block(head if stop - start > step else ""):
            yield variable if stop - start > step else str(start)

    @contextmanager
    def loops(self, prefix: str, counts: Sequence[int]) -> Iterator[list[str]]:
        """
        Loops inside each other; yields their variables.
        """
        names = [f"{prefix}{number}" if count != 1 else "0" for number, count in enumerate(counts)]
        depth = self._depth
        for name, count in zip(names, counts, strict=True):
            if count != 1:
                self.add(f"for {name} in range({count}):")
                self._depth += 1
        yield names
        self._depth = depth

    def pieces(self, count: int, variable: str = "i") -> Iterator[tuple[str, int]]:
        """
        Goes through `count` values in registers: yields where each begins, and how many it has: LANES, or the rest.
        """
        rest = count % self.lanes
        whole = count - rest
        if whole:
            several = whole > self.lanes
            with self.block(f"for {variable} in range(0, {whole}, LANES):" if several else ""):
                yield variable if several else "0", self.lanes
        if rest:
            yield str(whole), rest

    def load(self, name: str, place: str, count: int) -> str:
        """
        The expression of `count` values side by side.
        """
        return f"load({name}, {place})" if count == self.lanes else f"load_head({name}, {place}, {count})"

    def store(self, name: str, place: str, count: int, value: str) -> None:
        """
        Writes the first `count` lanes of a vector.
        """
        before = f"store({name}, {place}, " if count == self.lanes else f"store_head({name}, {place}, {count}, "
        if 4 * self._depth + len(before) + len(value) >= WIDTH:
            self.add(f"value = {value}")
            value = "value"
        self.add(f"{before}{value})")

    @property
    def text(self) -> str:
        """
        All lines.
        """
        return "\n".join(self._lines)


def tiles(count: int, size: int) -> Iterator[tuple[int, int, int]]:
    """
    How `count` values are cut: where the tiles of one size begin, where they end, and the size; then what they leave.
    """
    rest = count % size
    if count > rest:
        yield 0, count - rest, size
    if rest:
        yield count - rest, count, rest


def sum_of(*terms: Term) -> str:
    """
    The sum of variables and numbers times their factors.
    """
    found, known = "", 0
    for term, factor in terms:
        if term.lstrip("-").isdecimal():
            known += int(term) * factor
        elif factor:
            sign = "-" if factor < 0 else "+"
            size = abs(factor)
            product = times(term, str(size)) if size != 1 else f"({term})" if sign == "-" and " " in term else term
            found = f"{found} {sign} {product}" if found else product if sign == "+" else f"-{product}"
    if known < 0 and found:
        return f"{found} - {-known}"
    return plus(found or "0", known)


def place_of(variables: Sequence[str], strides: Sequence[int], first: int = 0) -> str:
    """
    The place that these loop variables stand for.
    """
    return sum_of(*zip(variables, strides, strict=True), ("1", first))


def strides_of(dims: Sequence[int]) -> tuple[int, ...]:
    """
    Elements from one place to the next in each dim, in C order.
    """
    found, step = [], 1
    for size in reversed(dims):
        found.append(step)
        step *= size
    return tuple(reversed(found))


def broadcast(dims: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """
    The strides with which a tensor of these dims is read as one of the wanted dims: 0 where it repeats.
    """
    strides = strides_of(dims)
    found = [0 if size == 1 else stride for size, stride in zip(dims, strides, strict=True)]
    return (0,) * (len(wanted) - len(dims)) + tuple(found)
