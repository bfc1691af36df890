"""
Who may import what: the table of the design, enforced on the sources of compiler/ and generated/.

Every import counts, wherever it stands: in a function, under TYPE_CHECKING, or through `importlib.import_module` with
a literal name. A room may always import itself and the standard library; what else it may import is in `ROOMS`.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Whatever can execute what it reads. `pickle` is matched as a whole name: readers/pickle_machine.py is another thing.
NOWHERE = {"pickle", "_pickle", "pickle5", "cloudpickle", "dill", "marshal", "shelve", "joblib", "runpy"}


@dataclass(frozen=True)
class Room:
    """
    What the modules under one name may import.

    Attributes:
        inside: modules of the compiler, with everything under them; None for any.
        outside: third-party packages.
    """

    inside: frozenset[str] | None
    outside: frozenset[str]


def room(inside: str | None, outside: str = "") -> Room:
    """
    A room from names divided by spaces; `errors`, `options` and `resources` are free to all.
    """
    names = None if inside is None else frozenset({"errors", "options", "resources", *inside.split()})
    return Room(names, frozenset(outside.split()))


# By module of the compiler; the longest name that fits counts.
ROOMS = {
    "": room(None, "numpy"),  # the API, pipeline, verification: everything of the compiler, nothing big from outside
    "errors": room(""),
    "options": room(""),
    "length": room(""),
    "ir": room("length", "numpy"),
    "readers": room("", "numpy"),
    "ops": room("ir", "numpy"),
    "check": room("ir ops", "numpy"),  # legal is what the rows of the op table allow: arity, attributes, shapes
    "frontends": room("readers ir ops check", "numpy"),
    "frontends.onnx_file": room("readers ir ops check", "numpy onnx onnxruntime"),
    "frontends.torch_export": room("readers ir ops check", "numpy torch"),
    "frontends.torch_script": room("readers ir ops check", "numpy torch"),
    "passes": room("ir ops check", "numpy"),
    "codegen": room("ir ops check modelfile", "numpy jinja2"),  # of the model file, where each weight stands in it
    "targets": room("codegen", "numpy numba llvmlite wasmtime"),
    "modelfile": room("ir ops check", "numpy capnp"),
    "compare_source": room(None, "numpy torch stable_baselines3 sb3_contrib gymnasium"),
    "cli": room(None, "click rich"),
    "serve": room(
        "loading __version__", "numpy msgspec granian uvloop prometheus_client rich"
    ),  # a package is served without the compiler
}
GENERATED = Room(frozenset(), frozenset({"numpy", "numba", "llvmlite"}))  # llvmlite is Numba's own, never without it


def absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """
    The full name that a `from ... import` starts from, relative ones resolved.
    """
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """
    The line and the full name of everything that a module imports; of `from a import b`, `a.b`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module, is_package)
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"}:
                yield node.lineno, str(node.args[0].value)


def under(name: str, prefix: str) -> bool:
    """
    Whether a dotted name is another or lies under it.
    """
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def room_of(module: str) -> tuple[str, Room]:
    """
    The room of a module of the compiler (named without `compiler.`), with its name.
    """
    name = max((name for name in ROOMS if under(module, name)), key=len)
    return name, ROOMS[name]


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """
    The imports of one module that the table does not allow.

    Args:
        source: its text.
        module: its full name, such as `compiler.passes.drop_dead_nodes` or `generated.cartpole.kernels`.
        is_package: whether it is the `__init__.py` of that name, which matters for relative imports.
    """
    top, _, rest = module.partition(".")
    if top == "compiler":
        name, allowed = room_of(rest)
        # `frontends.torch_export` may import its neighbours in `frontends`: the house is the first part of the name.
        own = f"compiler.{rest.partition('.')[0]}" if name else "compiler"
    else:
        name, allowed, own = module, GENERATED, ".".join(module.split(".")[:2])
    found = []
    for line, imported in imports(source, module, is_package):
        package = imported.partition(".")[0]
        if package in NOWHERE:
            good = False
        elif under(imported, own) or package in sys.stdlib_module_names or package in allowed.outside:
            good = True
        elif package == "compiler" and top == "compiler":
            inner = imported.partition(".")[2]
            good = allowed.inside is None or any(under(inner, other) for other in allowed.inside if inner)
        else:
            good = False
        if not good:
            found.append(f"{module}:{line}: {name or 'compiler'} may not import {imported}")
    return found


def modules(folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """
    Every module under a folder of the checkout: its file, its full name, and whether it is a package.
    """
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield path, ".".join(parts[:-1] if is_package else parts), is_package


@pytest.mark.parametrize("folder", ["compiler", "generated"])
def test_every_import_is_in_the_table(folder):
    found = [
        text
        for path, module, is_package in modules(ROOT / folder)
        for text in violations(path.read_text(encoding="utf-8"), module, is_package)
    ]
    assert found == []


def test_no_array_is_loaded_with_pickle():
    for path, module, _ in modules(ROOT / "compiler"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
                safe = node.arg == "weights_only"
                assert isinstance(node.value, ast.Constant), f"{module}:{node.value.lineno}: {node.arg}"
                assert node.value.value is safe, f"{module}:{node.value.lineno}: {node.arg} is not {safe}"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("compiler.ir", "import torch"),
        ("compiler.ir", "from compiler import check"),
        ("compiler.ir", "from compiler.ops import table"),
        ("compiler.readers.tensors", "from ..ir import Tensor"),
        ("compiler.readers.tensors", "import pickle"),
        ("compiler.readers.tensors", "def load():\n    from cloudpickle import loads"),
        ("compiler.readers.tensors", "import importlib\nimportlib.import_module('dill')"),
        ("compiler.cli", "import marshal"),
        ("compiler.ops.dense", "from compiler.check import check"),
        ("compiler.ops.dense", "from compiler.passes.fuse_activations import run"),
        ("compiler.frontends.sb3.spaces", "if TYPE_CHECKING:\n    import torch"),
        ("compiler.frontends.sb3.spaces", "import compiler.codegen.naming"),
        ("compiler.frontends.torch_export", "import stable_baselines3"),
        ("compiler.passes.drop_dead_nodes", "from .. import frontends"),
        ("compiler.passes.drop_dead_nodes", "from compiler import build"),
        ("compiler.passes.drop_dead_nodes", "import compiler"),
        ("compiler.codegen.render", "from numba import njit"),
        ("compiler.codegen.render", "import compiler.targets.numba"),
        ("compiler.targets.numba", "from compiler.ir import Model"),
        ("compiler.targets.numba", "import capnp"),
        ("compiler.modelfile", "import torch"),
        ("compiler.pipeline", "import capnp"),
        ("compiler.pipeline", "import click"),
        ("compiler.errors", "import numpy"),
        ("generated.cartpole.kernels", "import compiler"),
        ("generated.cartpole.kernels", "from ..pendulum import predict"),
        ("generated.cartpole", "import torch"),
        ("generated.cartpole", "import pickle"),
    ],
)
def test_the_checker_finds(module, source):
    assert len(violations(source, module, is_package=module == "generated.cartpole")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("compiler.ir", "import numpy as np\nfrom numpy.typing import NDArray\nfrom compiler.errors import quote"),
        ("compiler.ops.dense", "from compiler.ir import Model\nfrom compiler.ops.table import row\nfrom . import xs"),
        ("compiler.frontends.sb3.spaces", "from compiler.readers.archive import read\nfrom ..names import known"),
        ("compiler.frontends.torch_export", "import torch\nfrom compiler.frontends import names"),
        ("compiler.passes.drop_dead_nodes", "from compiler.passes import run\nfrom ..ir import Model"),
        ("compiler.codegen.render", "import jinja2, json\nfrom compiler import ir, options"),
        ("compiler.targets.numba", "import numba\nfrom compiler.codegen.render import Sources"),
        ("compiler.modelfile", "import capnp"),
        ("compiler.pipeline", "from compiler.targets import numba\nfrom compiler import passes"),
        ("compiler.cli", "import click\nfrom rich.table import Table\nimport compiler"),
        ("generated.cartpole", "import numpy\nfrom .kernels import forward"),
        ("generated.cartpole.kernels", "import json\nfrom numba import njit\nfrom generated.cartpole import simd"),
    ],
)
def test_the_checker_accepts(module, source):
    assert violations(source, module, is_package=module == "generated.cartpole") == []
