"""
Windows on images: which elements of a side each window meets, and the text that reads them, many windows at once.

Lanes are windows side by side. Where a window reaches beyond the image, the lanes of what it meets there are not read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from compiler.codegen.body import Body, sum_of

NARROW_TAPS = 7
"""Columns of a window up to which registers may hold whole rows: each has statements of its own."""
UNROLLED = 5
"""Columns of a window up to which each has a statement of its own; else there is a loop."""


@dataclass(frozen=True)
class Side:
    """
    One side of an image: window `i` meets, with its element `tap[0]`, the element `i * step + tap[1]` of the image.
    """

    count: int
    """Windows."""
    size: int
    """Elements of the image."""
    step: int
    taps: tuple[tuple[int, int], ...]
    """Evenly spaced."""

    @classmethod
    def of(cls, count: int, size: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Side":
        """
        The side of a convolution or a pooling.
        """
        return cls(count, size, stride, tuple((k, k * dilation - padding) for k in range(kernel)))

    @property
    def gaps(self) -> tuple[int, int]:
        """
        From one tap to the next: elements of the window, and of the image.
        """
        if len(self.taps) < 2:
            return 0, 0
        (k, place), (next_k, next_place) = self.taps[:2]
        return next_k - k, next_place - place

    def inside(self, first: int, last: int, taps: Sequence[tuple[int, int]]) -> bool:
        """
        Whether these taps of windows `first` to `last` meet nothing but the image.
        """
        return all(first * self.step + place >= 0 and last * self.step + place < self.size for _, place in taps)


@dataclass(frozen=True)
class Unit:
    """
    Registers of windows that lie side by side; `stop` is where the last unit like this begins, and `step` further.
    """

    start: int
    stop: int
    step: int
    widths: tuple[int, ...]
    """The windows in each register."""
    inside: bool
    """Whether they meet nothing but the image."""


def units_of(side: Side, vectors: int, lanes: int) -> Iterator[Unit]:
    """
    Units of so many registers that cover all windows; those inside, one after the other, as one.
    """
    wide = vectors * lanes
    found: list[Unit] = []
    for start in range(0, side.count, wide):
        widths = tuple(min(lanes, side.count - at) for at in range(start, min(start + wide, side.count), lanes))
        full = widths == (lanes,) * vectors
        inside = full and side.inside(start, start + wide - 1, side.taps)
        if inside and found and found[-1].inside:
            found[-1] = Unit(found[-1].start, start + wide, wide, widths, True)
        else:
            found.append(Unit(start, start + wide, wide, widths, inside))
    yield from found


@contextmanager
def row_taps(body: Body, side: Side, y: str) -> Iterator[tuple[str, str]]:
    """
    The loop over the rows of the window of row `y`; yields the row of the window and that of the image, inside it.
    """
    gap, pitch = side.gaps
    (k, place), *_ = side.taps
    with body.loop("t", len(side.taps)) as t:
        row = sum_of((y, side.step), (t, pitch), ("1", place))
        if side.inside(0, side.count - 1, side.taps):
            yield sum_of((t, gap), ("1", k)), row
        else:
            body.add(f"row = {row}")
            with body.block(f"if 0 <= row < {side.size}:"):
                yield sum_of((t, gap), ("1", k)), "row"


def column_taps(
    body: Body, side: Side, unit: Unit, at: str, pointer: str, begin: str
) -> Iterator[tuple[str, list[str]]]:
    """
    Goes through the columns of the window.

    Args:
        body: where to.
        side: the columns.
        unit: the windows.
        at: the first of them.
        pointer: the image.
        begin: the place of the image's row.

    Yields:
        The column of the window, and for each register the expression of what it meets; empty where that is nothing.
    """
    if len(side.taps) <= UNROLLED:
        for k, place in side.taps:
            yield str(k), [_meets(body, side, unit, at, v, place, pointer, begin) for v in range(len(unit.widths))]
        return
    gap, pitch = side.gaps
    k, place = side.taps[0]
    with body.block(f"for u in range({len(side.taps)}):"):
        column = sum_of(("u", gap), ("1", k))
        found = []
        for v, width in enumerate(unit.widths):
            first = sum_of((at, side.step), ("u", pitch), ("1", v * body.lanes * side.step + place))
            if unit.inside:
                found.append(_read(body, pointer, sum_of((begin, 1), (first, 1)), side.step, 0, body.lanes, width, v))
                continue
            body.add(
                f"first{v} = {first}",
                f"low{v} = max(0, {_over(f'{side.step - 1} - first{v}', side.step)})",
                f"high{v} = min({width}, {_over(f'{side.size - 1} - first{v}', side.step)} + 1)",
            )
            place_ = sum_of((begin, 1), (f"first{v}", 1))
            if side.step == 2 and body.lanes > 1:
                lanes = body.lanes
                body.add(
                    f"at{v} = {place_}",
                    f"front{v} = load_span({pointer}, at{v}, 2 * low{v}, 2 * high{v} - 1)",
                    f"back{v} = load_span({pointer}, at{v} + {lanes}, 2 * low{v} - {lanes}, 2 * high{v} - {lanes + 1})",
                )
                found.append(f"every_second(front{v}, back{v})")
                continue
            stride = f"{side.step}, " if side.step > 1 else ""
            word = "load_spaced" if side.step > 1 else "load_span"
            found.append(f"{word}({pointer}, {place_}, {stride}low{v}, high{v})")
        yield column, found


def _over(text: str, step: int) -> str:
    return text if step == 1 else f"({text}) // {step}"


def lanes_inside(side: Side, at: int, width: int, place: int) -> tuple[int, int]:
    """
    The first and the last of `width` windows from `at` on that meet the image with a tap, and one further.
    """
    start = at * side.step + place
    low = max(0, -(start // side.step))
    high = min(width, (side.size - 1 - start) // side.step + 1)
    return low, max(low, high)


def _meets(body: Body, side: Side, unit: Unit, at: str, vector: int, place: int, pointer: str, begin: str) -> str:
    width = unit.widths[vector]
    first = sum_of((begin, 1), (at, side.step), ("1", vector * body.lanes * side.step + place))
    if unit.inside:
        return _read(body, pointer, first, side.step, 0, body.lanes, width, vector)
    low, high = lanes_inside(side, unit.start + vector * body.lanes, width, place)
    return _read(body, pointer, first, side.step, low, high, width, vector) if high > low else ""


def _read(body: Body, pointer: str, place: str, step: int, low: int, high: int, width: int, vector: int) -> str:
    top = "LANES" if high == body.lanes else str(high)
    if step == 2 and body.lanes > 1:
        body.add(f"at{vector} = {place}")
        return alternate(body, pointer, f"at{vector}", 2 * low, 2 * high - 1)
    if step > 1:
        return f"load_spaced({pointer}, {place}, {step}, {low}, {top})"
    if low > 0:
        return f"load_span({pointer}, {place}, {low}, {top})"
    return body.load(pointer, place, high)


def alternate(body: Body, pointer: str, place: str, low: int, high: int) -> str:
    """
    The expression of every second of 2 * LANES elements, of which those from `low` to `high` - 1 are read.
    """
    found = []
    for first in (0, body.lanes):
        begin, end = max(low - first, 0), min(high - first, body.lanes)
        at = sum_of((place, 1), ("1", first))
        if end <= begin:
            found.append("splat(0.0)")
        elif begin == 0:
            found.append(body.load(pointer, at, end))
        else:
            found.append(f"load_span({pointer}, {at}, {begin}, {end})")
    return f"every_second({found[0]}, {found[1]})"


def is_narrow(rows: Side, columns: Side, step: tuple[int, int], lanes: int) -> bool:
    """
    Whether registers had better hold whole rows: so short ones that several fit, or that there are as many as lanes.
    """
    taps = 0 < len(columns.taps) <= NARROW_TAPS and len(rows.taps) > 0
    return taps and step == (1, 1) and columns.count <= lanes and rows.count > 1 and lanes > 1


@contextmanager
def rows_taps(body: Body, side: Side, y: str, rows: int) -> Iterator[tuple[str, bool]]:
    """
    The loop over the rows of the windows of several rows from `y` on.

    Inside, `row0`, `row1` and so on are the rows of the image, and if they are checked, `in0`, `in1` and so on 1 if
    there is such a row, else 0; yields the row of the window, and whether they are checked.
    """
    gap, pitch = side.gaps
    (k, place), *_ = side.taps
    checked = not side.inside(0, side.count - 1, side.taps)
    with body.loop("t", len(side.taps)) as t:
        for row in range(rows):
            body.add(f"row{row} = {sum_of((y, side.step), (t, pitch), ('1', row * side.step + place))}")
            if checked:
                body.add(f"in{row} = 1 if 0 <= row{row} < {side.size} else 0")
        yield sum_of((t, gap), ("1", k)), checked


def whole_rows(body: Body, side: Side, begin: str, place: int, rows: range, checked: bool) -> list[str]:
    """
    What windows meet with a column, a term for each row: their sum is a register with one row after the other.

    Args:
        body: whose lanes.
        side: the columns.
        begin: where the channel begins, and the column of the window's first place.
        place: that column.
        rows: the rows, by their numbers in `rows_taps`.
        checked: whether there may be no such row.
    """
    low, high = lanes_inside(side, 0, side.count, place)
    if high <= low:
        return []
    found = []
    for number, row in enumerate(rows):
        shift = number * side.count
        first = sum_of((begin, 1), (f"row{row}", side.size), ("1", -shift * side.step))
        last = f"{high + shift} * in{row}" if checked else str(high + shift)
        if side.step == 2:
            found.append(_alternate_row(body, row, first, 2 * (low + shift), 2 * (high + shift) - 1, checked))
        elif side.step > 1:
            found.append(f"load_spaced(image, {first}, {side.step}, {low + shift}, {last})")
        else:
            found.append(f"load_span(image, {first}, {low + shift}, {last})")
    return found


def _alternate_row(body: Body, row: int, place: str, low: int, high: int, checked: bool) -> str:
    """
    The expression of every second element of a row, of which those from `low` to `high` - 1 are read.
    """
    body.add(f"at = {place}")
    for name, first in ((f"front{row}", 0), (f"back{row}", body.lanes)):
        begin, end = max(low - first, 0), min(high - first, body.lanes)
        if end <= begin:
            body.add(f"{name} = splat(0.0)")
            continue
        last = f"{end} * in{row}" if checked else str(end)
        body.add(f"{name} = load_span(image, {sum_of(('at', 1), ('1', first))}, {begin}, {last})")
    return f"every_second(front{row}, back{row})"
