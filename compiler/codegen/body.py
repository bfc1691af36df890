"""
The text of a kernel's body, line by line: loops over literal sizes, places as sums of variables times factors.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod

from compiler.codegen.expressions import plus, share, signature, times
from compiler.codegen.source import WIDTH
from compiler.ir import DType, Length, Tensor

Term = tuple[str, int]
"""A variable, or a number, and its factor."""
ENOUGH = 8
"""Passes of a loop from which on parts that are as large as possible do not differ much."""


class Running(int):
    """
    A number of passes that is known at run time only: as an int, the largest that it may be.

    Values stand as for the largest, so that places are literal. A loop may run to the largest where what it computes
    beyond is read by nothing; where values meet, it must run to `text`.

    Attributes:
        text: the expression of the number.
    """

    text: str

    def __new__(cls, most: int, text: str) -> "Running":
        """
        The largest number, and the expression of the number.
        """
        made = super().__new__(cls, most)
        made.text = text
        return made


def running(size: int) -> int:
    """
    A size of a tensor, as kernels see it: what follows the length is the variable `length`, or that and a number.
    """
    if not isinstance(size, Length):
        return size
    shift = f" {'+' if size.shift > 0 else '-'} {abs(size.shift)}" if size.shift else ""
    return Running(int(size), f"length{shift}")


def passes(count: int) -> str:
    """
    The expression of a number of passes.
    """
    return count.text if isinstance(count, Running) else str(count)


def product(dims: Sequence[int]) -> int:
    """
    How many values there are side by side: to be known at run time where only the first dimension is; else the most.
    """
    kept = [size for size in dims if size != 1]
    whole = prod(kept)
    if not kept or not isinstance(kept[0], Running) or any(isinstance(size, Running) for size in kept[1:]):
        return whole
    return Running(whole, times(kept[0].text, str(prod(kept[1:]))) if len(kept) > 1 else kept[0].text)


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
    length: bool = False
    """Whether it takes the length of the sequences as well, before all pointers."""
    divided: bool = False
    """Whether it computes one of several parts: it then takes which, and of how many, before all else."""

    @property
    def signature(self) -> str:
        """
        The first line, or lines, of the kernel.
        """
        return signature(self.function, list(self.parameters), self.length, self.divided)


@dataclass(frozen=True)
class Operand:
    """
    A tensor that a kernel reads or writes: its parameter, its dims, and how its elements are kept.
    """

    name: str
    dims: tuple[int, ...]
    """With `Running` for what follows a length."""
    dtype: DType
    constant: bool
    apart: int = 0
    """Elements from one observation of a block to the next; 0 for constants, and where there is one observation."""

    @classmethod
    def of(cls, name: str, tensor: Tensor, apart: int = 0) -> "Operand":
        """
        The operand of a declared tensor.
        """
        return cls(name, tuple(map(running, tensor.fixed_shape)), tensor.dtype, tensor.data is not None, apart)

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

    A body may be written for several threads, each of which computes a part. The passes of loops that are `shared` need
    nothing of each other: the outermost of these is divided, at the places where one thread would begin a pass too.
    What stands beside such a loop, a tail, is for the first part, which has the fewest passes.

    Args:
        lanes: values in a register.
        divided: whether it is written for several threads.
    """

    def __init__(self, lanes: int, divided: bool = False) -> None:
        self.lanes = lanes
        self.parted = False
        """Whether a loop has been divided."""
        self.dividing = divided
        """Whether a loop that is shared would be divided here."""
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
    def _run(
        self, variable: str, plain: str, shared: bool, count: str, step: str = "1", start: int = 0
    ) -> Iterator[None]:
        """
        A loop of `count` passes, `plain` being its range; each part has its share if it is to be divided.
        """
        divided = shared and self.dividing
        self.parted = self.parted or divided
        with (
            self._within(divided),
            self.block(f"for {variable} in range({share(count, step, start) if divided else plain}):"),
        ):
            yield

    @contextmanager
    def _within(self, divided: bool) -> Iterator[None]:
        """
        What is inside a part is not divided again.
        """
        before = self.dividing
        self.dividing = before and not divided
        yield
        self.dividing = before

    @contextmanager
    def first_part(self, shared: bool = True) -> Iterator[None]:
        """
        What is added inside is for the first part, unless it stands in a loop that is divided.
        """
        alone = shared and self.dividing
        with self._within(alone), self.block("if part == 0:" if alone else ""):
            yield

    @contextmanager
    def loop(self, variable: str, count: int, *, shared: bool = False) -> Iterator[str]:
        """
        A loop; yields what its variable is called inside, the number itself where it has one pass.

        Where it is shared and has one pass, loops inside may be divided.
        """
        if count == 1:
            yield "0"
            return
        with self._run(variable, passes(count), shared, passes(count)):
            yield variable

    @contextmanager
    def span(self, variable: str, start: int, stop: int, step: int, *, shared: bool = False) -> Iterator[str]:
        """
        A loop from `start` to `stop`; yields what its variable is called inside.

        To a stop that is known at run time the last step may be computed in part twice, never beyond the largest: that
        is not divided, for two threads might do so at the same time.
        """
        if isinstance(stop, Running) and stop > step:
            with self.first_part(shared), self.block(f"for {variable}_ in range({start}, {stop.text}, {step}):"):
                self.add(f"{variable} = min({variable}_, {stop - step})")
                yield variable
        elif stop - start > step:
            count = -(-(stop - start) // step)
            with self._run(variable, f"{start}, {stop}, {step}", shared, str(count), str(step), start):
                yield variable
        else:
            with self.first_part(shared):
                yield str(start)

    @contextmanager
    def loops(self, prefix: str, counts: Sequence[int], *, shared: bool = False) -> Iterator[list[str]]:
        """
        Loops inside each other; yields their variables.

        Where they are shared, the outermost that has enough passes is divided.
        """
        names = [f"{prefix}{number}" if count != 1 else "0" for number, count in enumerate(counts)]
        divided = next((place for place, count in enumerate(counts) if count >= ENOUGH), None)
        if divided is None and counts:
            divided = max(range(len(counts)), key=lambda place: counts[place])
        with ExitStack() as around:
            for place, count in enumerate(counts):
                around.enter_context(self.loop(names[place], count, shared=shared and place == divided))
            yield names

    def pieces(self, count: int, variable: str = "i", *, shared: bool = False) -> Iterator[tuple[str, int]]:
        """
        Goes through `count` values in registers: yields where each begins, and how many it has: LANES, or the rest.

        Of a number that is known at run time, the last registers may overlap, or hold values beyond it: what is made
        of them must depend on nothing but the place. `exact_pieces` is for all else.
        """
        if isinstance(count, Running) and count > self.lanes:
            registers = f"-(-({count.text}) // LANES)"
            with self._run(f"{variable}_", f"0, {count.text}, LANES", shared, registers, "LANES"):
                self.add(f"{variable} = min({variable}_, {count - self.lanes})")
                yield variable, self.lanes
            return
        rest = count % self.lanes
        whole = count - rest
        if whole > self.lanes:
            registers = str(whole // self.lanes)
            with self._run(variable, f"0, {whole}, LANES", shared, registers, "LANES"):
                yield variable, self.lanes
        elif whole:
            with self.first_part(shared):
                yield "0", self.lanes
        if rest:
            with self.first_part(shared):
                yield str(whole), rest

    def exact_pieces(self, count: int, variable: str = "i", *, shared: bool = False) -> Iterator[tuple[str, int | str]]:
        """
        The same, each value once and none beyond: of a number that is known at run time the rest is a variable.

        That is not divided.
        """
        if not isinstance(count, Running):
            yield from self.pieces(count, variable, shared=shared)
            return
        with self.first_part(shared):
            yield from self._exact_pieces_of(count, variable)

    def _exact_pieces_of(self, count: Running, variable: str) -> Iterator[tuple[str, int | str]]:
        text = f"({count.text})" if " " in count.text else count.text
        self.add(f"rest = {text} % LANES", f"whole_{variable} = {count.text} - rest")
        with self.block(f"for {variable} in range(0, whole_{variable}, LANES):"):
            yield variable, self.lanes
        if self.lanes > 1:
            with self.block("if rest > 0:"):
                yield f"whole_{variable}", "rest"

    def load(self, name: str, place: str, count: int | str) -> str:
        """
        The expression of `count` values side by side.
        """
        return f"load({name}, {place})" if count == self.lanes else f"load_head({name}, {place}, {count})"

    def store(self, name: str, place: str, count: int | str, value: str) -> None:
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

    Of a number that is known at run time, `Body.span` lets the last tile overlap the one before.
    """
    if isinstance(count, Running):
        yield 0, count, min(size, int(count))
        return
    rest = count % size
    if count > rest:
        yield 0, count - rest, size
    if rest:
        yield count - rest, count, rest


def even_tile(count: int, most: int) -> int:
    """
    The size of tiles of at most `most` values: less if so all are alike, which is half the code, in as many tiles.
    """
    even, rest = divmod(count, -(-count // most))
    return most if rest or isinstance(count, Running) else even


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


def place_of(variables: Sequence[str], strides: Sequence[int], first: int | str = 0) -> str:
    """
    The place that these loop variables stand for.
    """
    begin = (first, 1) if isinstance(first, str) else ("1", first)
    return sum_of(*zip(variables, strides, strict=True), begin)


def offset(*terms: tuple[int, int]) -> int | str:
    """
    The sum of sizes times their strides: an expression if one of the sizes is known at run time only.
    """
    if any(isinstance(size, Running) for size, _ in terms):
        return sum_of(*((passes(size), stride) for size, stride in terms))
    return sum(size * stride for size, stride in terms)


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
