"""
What a user says of a module's dynamic sizes, as torch.export takes it: `{"sentence": {0: "batch", 1: Dim("length")}}`.

torch.export itself unrolls an LSTM, whose length is then fixed. A module with a length is therefore exported several
times, with examples of fixed lengths, and its first dimension dynamic.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from compiler.errors import BuildError, UnsupportedError, quote
from compiler.frontends.lengths import bounded
from compiler.frontends.torch_export.batch import UNBOUNDED
from compiler.ir import Length

Dynamic: TypeAlias = bool | Mapping[str, Any] | Sequence[Any]
"""
Whether the first dimension of all inputs is a batch of any size; or the dynamic dimensions of each input, by its name
or in order: `{0: "batch", 1: torch.export.Dim("length", min=1, max=64)}`.
"""


@dataclass(frozen=True)
class Shapes:
    """
    The dynamic sizes of a module's inputs.
    """

    batched: bool
    length: Length | None
    axes: Mapping[str, Mapping[int, int]]
    """By the parameters of `forward`: the dimensions that follow the length, each with what it is larger than that."""

    def examples(
        self, module: torch.nn.Module, given: tuple[Any, ...], keywords: Mapping[str, Any], length: int
    ) -> Any:
        """
        The arguments and keyword arguments of an example whose sequences have this length.
        """
        bound = inspect.signature(module.forward).bind(*given, **keywords)
        for name, axes in self.axes.items():
            for axis, shift in axes.items():
                bound.arguments[name] = _resized(bound.arguments[name], axis, length + shift)
        return bound.args, bound.kwargs


def _resized(value: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """
    An example of another size: its elements again and again.
    """
    return value.index_select(axis, torch.arange(size, device=value.device) % value.shape[axis])


def read_dynamic(
    module: torch.nn.Module,
    given: tuple[Any, ...],
    keywords: Mapping[str, Any],
    dynamic: Dynamic,
    longest: int | None,
    where: str,
) -> Shapes:
    """
    What `dynamic` says.

    Args:
        module: whose `forward` names the inputs.
        given: the example's arguments.
        keywords: its keyword arguments.
        dynamic: what the user says.
        longest: the largest length, where `dynamic` says none or a larger one.
        where: the module's name, for messages.

    Raises:
        BuildError: it says what is no dimension of an input, or two lengths.
        UnsupportedError: nothing bounds the length, or some inputs have a batch and some none.
    """
    if isinstance(dynamic, bool):
        return Shapes(dynamic, None, {})
    arguments = inspect.signature(module.forward).bind(*given, **keywords).arguments
    named = _by_name(dynamic, list(arguments))
    batches, dims = set(), []
    for name, value in arguments.items():
        spec = _by_axis(named.pop(name, None))
        if spec and not isinstance(value, torch.Tensor):
            raise BuildError("dynamic", f"{quote(name)} is {quote(type(value).__name__)}: only tensors have dimensions")
        if isinstance(value, torch.Tensor):
            batches.add(0 in spec)
            dims += [(name, axis, dim) for axis, dim in spec.items() if axis]
            if any(not 0 <= axis < value.ndim for axis in spec):
                raise BuildError("dynamic", f"{quote(name)} has {value.ndim} dimensions, found {sorted(spec)}")
    if named:
        unknown = ", ".join(map(quote, named))
        raise BuildError("dynamic", f"there is no input {unknown}; there are {', '.join(arguments)}")
    if len(batches) > 1:
        text = "some inputs have a dynamic first dimension, the batch, and some none: all samples would share those"
        raise UnsupportedError(where, text)
    axes: dict[str, dict[int, int]] = {}
    found: dict[tuple[str, int, int | None], str] = {}
    for name, axis, dim in dims:
        root, shift = _root(dim)
        axes.setdefault(name, {})[axis] = shift
        found[root] = f"dimension {axis} of {quote(name)}"
    if len(found) > 1:
        text = f"besides the batch there may be one length, found another for {' and '.join(found.values())}"
        raise BuildError("dynamic", text)
    length = next((bounded(*root, longest, where) for root in found), None)
    return Shapes(True in batches, length, axes)


def _by_name(dynamic: Any, names: list[str]) -> dict[str, Any]:
    if isinstance(dynamic, Mapping):
        return dict(dynamic)
    if not isinstance(dynamic, Sequence) or isinstance(dynamic, str) or len(dynamic) > len(names):
        text = f"must be True, False, or say for each input what is dynamic; found {quote(dynamic)}"
        raise BuildError("dynamic", text)
    return dict(zip(names, dynamic, strict=False))


def _by_axis(spec: Any) -> dict[int, Any]:
    """
    The dynamic dimensions of one input.
    """
    if spec is None:
        return {}
    pairs = spec.items() if isinstance(spec, Mapping) else enumerate(spec)
    return {int(axis): dim for axis, dim in pairs if dim is not None and not isinstance(dim, int)}


def _root(dim: Any) -> tuple[tuple[str, int, int | None], int]:
    """
    Name, smallest and largest of what a dimension follows, and how much larger than that it is.
    """
    if isinstance(dim, str):
        return (dim, 1, None), 0
    root = getattr(dim, "root", dim)
    least, most, name = (getattr(root, key, None) for key in ("min", "max", "__name__"))
    if name is None or least is None or most is None:
        raise BuildError("dynamic", f"a dimension must be a name or a torch.export.Dim with a name, found {quote(dim)}")
    shift = 0 if root is dim else int(dim.fn(UNBOUNDED)) - UNBOUNDED
    if root is not dim and int(dim.fn(1)) - 1 != shift:
        raise BuildError("dynamic", f"{quote(dim)} is no length, and no length and a fixed number more or less")
    return (str(name), max(1, int(least)), int(most) if most < UNBOUNDED else None), shift
