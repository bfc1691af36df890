"""
A picture of a run as SVG: requests per second and p99 over the number of connections, both logarithmic.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.http.results import SINGLE, Measured, Result

COLOURS = ("#d1495b", "#8a94a3", "#5c6675", "#2e86ab", "#69a2b0", "#3c8d5a", "#b07aa1", "#c98c2b")
INK, LINES, PAPER = "#1d2430", "#d9dee6", "#ffffff"
WIDTH, HEIGHT, LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 900, 430, 70, 60, 350, 250, 90
TITLE = "JSON, one observation, connections kept"


@dataclass(frozen=True)
class Panel:
    """
    One diagram.
    """

    title: str
    value: Callable[[Measured], float]
    text: Callable[[float], str]
    """How a power of ten is written at the axis."""
    left: float


PANELS = (
    Panel("requests per second", lambda one: one.rate, lambda value: f"{value:,.0f}", LEFT),
    Panel("p99 in ms", lambda one: one.p99 * 1e3, lambda value: f"{value:g}", LEFT + PANEL_WIDTH + GAP),
)


def plot(result: Result) -> str:
    """
    The picture.

    Raises:
        ValueError: there is nothing to draw.
    """
    drawn = [one for one in result.measured if one.kind == SINGLE and one.kept and one.rate > 0]
    if not drawn:
        raise ValueError(f"nothing was measured of: {TITLE}")
    names = list(dict.fromkeys(one.server for one in drawn))
    colours = dict(zip(names, COLOURS, strict=False))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" font-family="sans-serif">',
        f"<title>{escape(', '.join(names))}: {TITLE}</title>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" fill="{PAPER}" stroke="#c5ccd6" rx="6"/>',
        _text(LEFT, 28, f"{TITLE}, one worker", "start", bold=True),
    ]
    for panel in PANELS:
        parts += _panel(panel, drawn, colours)
    parts += _legend(colours)
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, drawn: Sequence[Measured], colours: dict[str, str]) -> Iterator[str]:
    """
    Axes, and a line for each server.
    """
    connections = sorted({one.connections for one in drawn})
    values = [panel.value(one) for one in drawn]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    most = math.log2(connections[-1]) or 1.0

    def x(count: int) -> float:
        return panel.left + PANEL_WIDTH * math.log2(count) / most

    def y(value: float) -> float:
        return TOP + PANEL_HEIGHT * (high - math.log10(value)) / (high - low)

    yield _text(panel.left, TOP - 10, panel.title, "start")
    for power in range(low, high + 1):
        height = y(10.0**power)
        yield f'<path d="M{panel.left} {height:.1f}h{PANEL_WIDTH}" stroke="{LINES}"/>'
        yield _text(panel.left - 8, height + 4, panel.text(10.0**power), "end")
    for count in connections:
        yield _text(x(count), TOP + PANEL_HEIGHT + 18, str(count), "middle")
    yield _text(panel.left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 38, "connections", "middle")
    for name, colour in colours.items():
        own = sorted((one for one in drawn if one.server == name), key=lambda one: one.connections)
        points = [(x(one.connections), y(panel.value(one))) for one in own]
        line = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{colour}"/>' for across, down in points)


def _legend(colours: dict[str, str]) -> Iterator[str]:
    """
    The servers, four in a line.
    """
    for number, (name, colour) in enumerate(colours.items()):
        left, top = LEFT + 200 * (number % 4), TOP + PANEL_HEIGHT + 68 + 22 * (number // 4)
        yield f'<rect x="{left}" y="{top - 9}" width="12" height="10" fill="{colour}"/>'
        yield _text(left + 18, top, name, "start")


def _text(x: float, y: float, content: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" text-anchor="{anchor}"{weight} fill="{INK}">'
        f"{escape(content)}</text>"
    )
