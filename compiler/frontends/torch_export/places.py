"""
Where in a tensor its samples lie: so that no view takes elements of one sample for those of another.

A dimension that holds the batch may hold more: of (batch, steps, features) a program makes (batch * steps, features),
whose rows are numbered sample by sample. `within` says how many rows of one sample follow each other there: `steps`.
Were it made from (steps, batch, features), it would be 1. Both have the same size, and to read one as the other mixes
samples, which no size tells.
"""

import math
from typing import Any

import torch

from compiler.frontends.torch_export.batch import Batch

aten = torch.ops.aten

VIEWS = frozenset(
    (
        aten.view.default,
        aten._unsafe_view.default,
        aten.reshape.default,
        aten.flatten.using_ints,
        aten.unflatten.int,
        aten.unsqueeze.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
    )
)
"""Ops that keep all elements in their order."""

APART = "takes elements of one sample for those of another: a view or reshape that does not keep the batch apart"


class Places:
    """
    Of every tensor that has the batch in a dimension, how many elements of one sample follow each other there.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._within: dict[torch.fx.Node, int] = {}

    def follow(self, node: torch.fx.Node) -> str | None:
        """
        Notes where a node's samples are; returns what is wrong, in words, if it mixes them.

        It is asked about all nodes, in order. Tensors that were made of one value have their samples anywhere.
        """
        result = self._first(node)
        held = None if result is None else self._held(result)
        if result is None or held is None:
            return None
        axis, count = held
        if node.target in VIEWS:
            return self._view(node, result, axis, count)
        alike = {
            self._within[given]
            for given in node.all_input_nodes
            if given in self._within
            and (found := self._first(given)) is not None
            and (there := self._held(found))
            and there[1] == count
        }
        if len(alike) > 1:
            return APART
        if alike or count == 1:
            self._within[node] = alike.pop() if alike else 1
        return None

    def _view(self, node: torch.fx.Node, result: torch.Tensor, axis: int, count: int) -> str | None:
        source: Any = node.args[0]
        given = self._first(source)
        held = None if given is None else self._held(given)
        if given is None or held is None or source not in self._within:
            return None
        following = self._within[source] * self._after(given, held[0])
        after = self._after(result, axis)
        if following % after or count % (following // after):
            return APART
        self._within[node] = following // after
        return None

    def _first(self, node: torch.fx.Node) -> torch.Tensor | None:
        found = node.meta.get("val")
        found = found[0] if isinstance(found, list | tuple) and found else found
        return found if isinstance(found, torch.Tensor) else None

    def _held(self, value: torch.Tensor) -> tuple[int, int] | None:
        """
        The dimension that holds the batch, and how many elements of one sample it has.
        """
        for axis, size in enumerate(value.shape):
            if self.batch.has(size):
                return axis, int(self.batch.size(size))
        return None

    def _after(self, value: torch.Tensor, axis: int) -> int:
        return math.prod(int(self.batch.size(size)) for size in value.shape[axis + 1 :])
