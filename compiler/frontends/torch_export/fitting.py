"""
Where in a file of weights the tensors of a module are.

A checkpoint of training holds the state dict beside others, and wrappers (DataParallel, Lightning, an agent around its
actor) put something before the names. Taken is the one place that has all of the module's names, and nothing else.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from compiler.errors import CheckpointError, quote
from compiler.ops import Array
from compiler.readers.weights import Weights, uncompiled

COUNTED = "num_batches_tracked"
"""What batch norm counts in training only, and old files lack."""
MOST_PREFIXES = 16
LISTED = 8


@dataclass(frozen=True)
class Expected:
    """
    A tensor of the module: its shape, and other names of the same tensor, where weights are tied.
    """

    shape: tuple[int, ...]
    twins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """
    The module's names in a state dict, under a prefix, and what is wrong even so.
    """

    weights: Weights
    prefix: str
    names: Mapping[str, str]
    """By the module's name, that in the file."""
    missing: tuple[str, ...]
    spare: tuple[str, ...]

    def __str__(self) -> str:
        parts = [quote(self.weights.place)] if self.weights.place else []
        parts += [f"what begins with {quote(self.prefix)}"] if self.prefix else []
        return ", ".join(parts)

    @property
    def faults(self) -> int:
        """
        How many names are wrong.
        """
        return len(self.missing) + len(self.spare)

    def arrays(self) -> dict[str, Array]:
        """
        The tensors by the module's names.
        """
        held = self.weights.load()
        return {name: held[given] for name, given in self.names.items()}


def fitting(expected: Mapping[str, Expected], found: Sequence[Weights], where: str) -> Fit:
    """
    The place that has the module's tensors.

    Args:
        expected: the module's tensors, by name.
        found: the state dicts of the file.
        where: the file, for messages.

    Raises:
        CheckpointError: naming what is missing, unexpected or of another shape, or that there are several such places.
    """
    fits = [fit for weights in found for fit in _fits(expected, weights)]
    whole = [fit for fit in fits if not fit.faults]
    if len(whole) > 1 and str(whole[0]):
        # Actor and critic may differ in nothing but the shape of a layer.
        whole = [fit for fit in whole if not _other_shapes(fit, expected)] or whole
        if len(whole) > 1:
            places = "; ".join(map(str, whole[:LISTED]))
            text = "save those that are meant with torch.save, in a file of their own"
            raise CheckpointError(where, f"the module's tensors may be {places}: {text}")
    best = whole[0] if whole else min(fits, key=lambda fit: (fit.faults, len(str(fit))))
    findings = [f"lacks {_listed(best.missing)} of the module"] if best.missing else []
    findings += [f"holds {_listed(best.spare)}, which the module has not"] if best.spare else []
    findings += _other_shapes(best, expected)[:LISTED]
    if findings:
        raise CheckpointError(f"{where}: {best}" if str(best) else where, *findings)
    return best


def _fits(expected: Mapping[str, Expected], weights: Weights) -> Iterator[Fit]:
    """
    The names of a state dict as they are, and after the prefixes that most of the module's names have there.
    """
    held = {uncompiled(name): name for name in weights.names}
    known = {uncompiled(name): name for name in expected}
    prefixes: Counter[str] = Counter()
    for name in held:
        parts = name.split(".")
        for count in range(1, min(len(parts), MOST_PREFIXES)):
            if ".".join(parts[count:]) in known:
                prefixes[".".join(parts[:count]) + "."] += 1
    for prefix in ("", *(prefix for prefix, _ in prefixes.most_common(MOST_PREFIXES))):
        under = {name.removeprefix(prefix): given for name, given in held.items() if name.startswith(prefix)}
        names = {own: under[plain] for plain, own in known.items() if plain in under}
        missing = [
            own
            for own in expected
            if own not in names and not own.endswith(COUNTED) and not names.keys() & {*expected[own].twins}
        ]
        yield Fit(weights, prefix, names, tuple(missing), tuple(under[plain] for plain in under if plain not in known))


def _other_shapes(fit: Fit, expected: Mapping[str, Expected]) -> list[str]:
    """
    What is to be said of tensors that have not the shapes of the module's.
    """
    return [
        f"{quote(name)} has shape {array.shape}, the module's {expected[name].shape}"
        for name, array in fit.arrays().items()
        if array.shape != expected[name].shape
    ]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(quote, names[:LISTED])) + more
