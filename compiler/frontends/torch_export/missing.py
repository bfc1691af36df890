"""
Ops that are not translated: all of a program at once, each with its place and what is nearest to it.
"""

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from compiler.errors import UnsupportedError
from compiler.frontends.nearest import nearest
from compiler.frontends.torch_export.sources import place
from compiler.frontends.torch_export.translate_elementwise import TRAINING
from compiler.frontends.torch_export.translations import TRANSLATIONS

RANDOM = ("rand", "bernoulli", "multinomial", "normal", "native_dropout", "exponential", "poisson")
"""In the names of ops that draw numbers."""
DEPENDENT = ("nonzero", "unique", "masked_select")
"""In the names of ops whose results' sizes depend on the data."""
MOST_MISSING = 50


def check_ops(nodes: Sequence[torch.fx.Node], given: Iterable[torch.fx.Node], where: str) -> None:
    """
    Refuses ops that are not translated and depend on an input.

    Args:
        nodes: those of the program that are needed, in order.
        given: the nodes of what is not known at build time.
        where: the file, for messages.
    """
    computed = set(given)
    missing: dict[str, list[torch.fx.Node]] = {}
    for node in nodes:
        if node.op != "call_function" or not gives_tensors(node.meta.get("val")):
            continue
        random = is_random(node)
        if not random and computed.isdisjoint(node.all_input_nodes):
            continue
        computed.add(node)
        if random or (node.target is not operator.getitem and node.target not in TRANSLATIONS):
            missing.setdefault(str(node.target), []).append(node)
    findings = [_missing(op, found) for op, found in list(missing.items())[:MOST_MISSING]]
    if findings:
        raise UnsupportedError(where, *findings)


def gives_tensors(recorded: Any) -> bool:
    """
    Whether a node gives tensors, not sizes.
    """
    if isinstance(recorded, list | tuple):
        return any(map(gives_tensors, recorded))
    return isinstance(recorded, torch.Tensor)


def _missing(op: str, nodes: Iterable[torch.fx.Node]) -> str:
    """
    One op that is missing: where it is, and what is nearest to it.
    """
    first, *more = nodes
    others = f", and {len(more)} more of it" if more else ""
    if is_random(first):
        return f"{place(first)}{others} {TRAINING}"
    if any(word in str(first.target) for word in DEPENDENT):
        return (
            f"{place(first)} gives as many elements as the data say, which can't be compiled{others}; use torch.where"
        )
    found = nearest_to(first)
    instead = f"; the nearest that is: {found}" if found else ""
    return f"{place(first)} is not compiled{others}{instead}"


def nearest_to(node: torch.fx.Node) -> str | None:
    """
    The op that is translated and whose name is most like that of a node's.
    """
    if not str(node.target).startswith("aten."):
        return None
    names = {_plain(str(known)): str(known) for known in reversed(TRANSLATIONS)}
    return nearest(_plain(str(node.target)).strip("_"), names)


def is_random(node: torch.fx.Node) -> bool:
    """
    Whether a node draws numbers.
    """
    return any(word in str(node.target) for word in RANDOM)


def _plain(op: str) -> str:
    """
    The name of an op without its overload: `cumsum` of `aten.cumsum.default`.
    """
    return op.removeprefix("aten.").partition(".")[0]
