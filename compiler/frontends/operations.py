"""
What operations a source is made of, and which of them can be compiled.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Operation:
    """
    One kind of operation, and all places where the source has it.
    """

    name: str
    """As its library calls it: `aten.linear.default`, `Conv`."""
    count: int
    place: str
    """The first node of it, or the first that is refused, with the line of source that is recorded."""
    refusals: tuple[str, ...] = ()
    """Why nodes of it can't be compiled; none: all can."""
    nearest: str | None = None
    """Of an operation that is not compiled at all, the one that is and that has the most similar name."""

    @property
    def supported(self) -> bool:
        """
        Whether all nodes of it are compiled.
        """
        return not self.refusals


@dataclass(frozen=True)
class Inventory:
    """
    All operations of a source, and what else stands in the way of compiling it.
    """

    format: str
    """What the source is, as a model's origin says it."""
    operations: tuple[Operation, ...]
    findings: tuple[str, ...] = ()
    """What is refused besides single operations: inputs, outputs, effects."""

    @property
    def supported(self) -> bool:
        """
        Whether the source can be compiled.
        """
        return not self.findings and all(operation.supported for operation in self.operations)

    def to_json(self) -> dict[str, Any]:
        """
        The same as plain values.
        """
        return {
            "format": self.format,
            "supported": self.supported,
            "operations": [
                {
                    "name": one.name,
                    "count": one.count,
                    "supported": one.supported,
                    "place": one.place,
                    "refusals": list(one.refusals),
                    "nearest": one.nearest,
                }
                for one in self.operations
            ],
            "findings": list(self.findings),
        }


@dataclass
class Collector:
    """
    Gathers nodes by their operation, in the order in which these first appear.
    """

    format: str
    findings: list[str] = field(default_factory=list)
    _places: dict[str, list[str]] = field(default_factory=dict)
    _refused: dict[str, dict[str, str]] = field(default_factory=dict)
    _nearest: dict[str, str | None] = field(default_factory=dict)

    def add(self, name: str, place: str, refusal: str = "", nearest: str | None = None) -> None:
        """
        One node: what it is, where, and why it is refused, if it is.
        """
        self._places.setdefault(name, []).append(place)
        if refusal:
            self._refused.setdefault(name, {}).setdefault(refusal, place)
            self._nearest[name] = nearest

    def inventory(self) -> Inventory:
        """
        All that was gathered: what is refused first, then what there is most of.
        """
        found = [self._operation(name, places) for name, places in self._places.items()]
        found.sort(key=lambda one: (one.supported, -one.count))
        return Inventory(self.format, tuple(found), tuple(dict.fromkeys(self.findings)))

    def _operation(self, name: str, places: list[str]) -> Operation:
        refused: Mapping[str, str] = self._refused.get(name, {})
        place = next(iter(refused.values()), places[0])
        return Operation(name, len(places), place, tuple(refused), self._nearest.get(name))


def without(place: str, texts: Iterable[str]) -> list[str]:
    """
    Findings about a node without its place, which stands beside them.
    """
    return [text.removeprefix(place).removeprefix(":").strip() for text in texts]
