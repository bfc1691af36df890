"""
Ops that are not translated: all of a program at once, each with its place and what is nearest to it.
"""

import difflib
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from compiler.errors import UnsupportedError
from compiler.frontends.torch_export.sources import place
from compiler.frontends.torch_export.translate_elementwise import TRAINING
from compiler.frontends.torch_export.translations import TRANSLATIONS

RANDOM = ("rand", "bernoulli", "multinomial", "normal", "native_dropout")
"""In the names of ops that draw numbers."""
MOST_MISSING = 50
CLOSE = 0.6


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
        if node.op != "call_function" or not _gives_tensors(node.meta.get("val")):
            continue
        random = _is_random(node)
        if not random and computed.isdisjoint(node.all_input_nodes):
            continue
        computed.add(node)
        if random or (node.target is not operator.getitem and node.target not in TRANSLATIONS):
            missing.setdefault(str(node.target), []).append(node)
    findings = [_missing(op, found) for op, found in list(missing.items())[:MOST_MISSING]]
    if findings:
        raise UnsupportedError(where, *findings)


def _gives_tensors(recorded: Any) -> bool:
    """
    Whether a node gives tensors, not sizes.
    """
    if isinstance(recorded, list | tuple):
        return any(map(_gives_tensors, recorded))
    return isinstance(recorded, torch.Tensor)


def _missing(op: str, nodes: Iterable[torch.fx.Node]) -> str:
    """
    One op that is missing: where it is, and what is nearest to it.
    """
    first, *more = nodes
    others = f", and {len(more)} more of it" if more else ""
    if _is_random(first):
        return f"{place(first)}{others} {TRAINING}"
    names = {_plain(str(known)): str(known) for known in TRANSLATIONS}
    near = difflib.get_close_matches(_plain(op), names, n=1, cutoff=CLOSE)
    nearest = f"; the nearest that is: {names[near[0]]}" if near else ""
    return f"{place(first)} is not compiled{others}{nearest}"


def _is_random(node: torch.fx.Node) -> bool:
    return any(word in str(node.target) for word in RANDOM)


def _plain(op: str) -> str:
    """
    The name of an op without its overload: `cumsum` of `aten.cumsum.default`.
    """
    return op.removeprefix("aten.").partition(".")[0]
