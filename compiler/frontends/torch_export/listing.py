"""
All operations of an exported program, those that can't be compiled among them.
"""

import operator
from collections.abc import Iterator

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from compiler.errors import UnsupportedError
from compiler.frontends.operations import Collector, Inventory, without
from compiler.frontends.torch_export.missing import gives_tensors, is_random, nearest_to
from compiler.frontends.torch_export.program import decomposed, tried
from compiler.frontends.torch_export.sources import place
from compiler.frontends.torch_export.translate_elementwise import TRAINING
from compiler.frontends.torch_export.translations import TRANSLATIONS


def inventory(program: ExportedProgram, where: str, form: str) -> Inventory:
    """
    All operations of a program, as torch decomposes it for policyc.

    Args:
        program: as torch.export made it.
        where: the file, for messages.
        form: what the source is, as a model's origin says it.
    """
    program = decomposed(program)
    found = Collector(form)
    refused: dict[torch.fx.Node, str] = {}
    try:
        for node, reason in tried(program, where):
            refused[node] = reason
    except UnsupportedError as error:
        found.findings += error.findings
    computed = set(_given(program))
    for node in program.graph.nodes:
        if node.op != "call_function":
            continue
        if not computed.isdisjoint(node.all_input_nodes):
            computed.add(node)
        if node.target is operator.getitem or not gives_tensors(node.meta.get("val")):
            continue
        name, at = str(node.target), place(node)
        if is_random(node):
            found.add(name, at, TRAINING)
        elif node in computed and node.target not in TRANSLATIONS:
            found.add(name, at, "is not compiled", nearest_to(node))
        else:
            (reason,) = without(at, [refused.get(node, "")])
            found.add(name, at, reason)
    return found.inventory()


def _given(program: ExportedProgram) -> Iterator[torch.fx.Node]:
    """
    The nodes of what is not known at build time.
    """
    kinds = {spec.arg.name: spec.kind for spec in program.graph_signature.input_specs}
    for node in program.graph.nodes:
        if node.op == "placeholder" and kinds[node.name] is InputKind.USER_INPUT:
            yield node
