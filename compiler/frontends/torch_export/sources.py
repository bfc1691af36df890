"""
Where a node of an exported program comes from, in the words of the module: for the names of nodes and for messages.
"""

import re
from pathlib import PurePath

import torch

from compiler.errors import quote

FRAME = re.compile(r'File "(?P<file>[^"]*)", line (?P<line>\d+), in (?P<function>[^\n]*)(?:\n\s*(?P<code>[^\n]*))?')
LEAVES = "torch.nn.modules."
LIBRARY = "/torch/nn/"
"""In the path of torch's own layers: a user's line is the one that called them."""


def label(node: torch.fx.Node) -> str:
    """
    The module that a node is in, as `layers.0.attention`; of an op outside torch.nn's own layers, its name as well.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return str(node.name)
    path, kind = stack[-1][0], str(stack[-1][1])
    path = str(path).removeprefix("L['self'].")
    if not path:
        return str(node.name)
    return path if LEAVES in kind else f"{path}.{node.name}"


def place(node: torch.fx.Node) -> str:
    """
    A node with its op and the line of source that torch.export recorded.
    """
    text = f"{quote(label(node))} ({node.target})"
    frames = list(FRAME.finditer(str(node.meta.get("stack_trace") or "")))
    if not frames:
        return text
    own = [frame for frame in frames if LIBRARY not in frame["file"].replace("\\", "/")]
    last = (own or frames)[-1]
    code = f": {quote(last['code'].strip())}" if last["code"] else ""
    return f"{text} at {quote(PurePath(last['file']).name)[1:-1]}:{last['line']}{code}"
