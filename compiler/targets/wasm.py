"""
WebAssembly: a module with SIMD, one without, and the ES module around them with its types.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from compiler.codegen import render_c
from compiler.codegen.general_module import GeneralModuleView
from compiler.codegen.module import ModuleView
from compiler.targets import Sources, general_wasm, objects, toolchain
from compiler.targets.machines import Level
from compiler.targets.wasm_bridge import Bridge

EXPORTS = ("act", "rows")
STACK = 16384
"""Bytes. Kernels compute in the room that they are given; what they call each other with takes some hundred."""


def make(work: Path, sources: Sources) -> dict[str, bytes]:
    """
    The files of the target: `NAME.wasm`, `NAME.scalar.wasm`, `NAME.mjs`, `NAME.d.mts`.
    """
    name = sources.name
    kernels = objects.translate(work, sources.kernels, name, sources.view.exports, sources.triple)
    (work / f"{name}_weights.bin").write_bytes(sources.weights)
    modules = {
        file_of(name, level): _module(work, sources, level, kernel.name)
        for level, kernel in zip(sources.triple.levels, kernels, strict=True)
    }
    view = GeneralModuleView(sources.general) if sources.general else ModuleView(sources.policy)
    texts = {f"{name}{ending}": render_c(f"module{ending}", view.c, m=view) for ending in (".mjs", ".d.mts")}
    return modules | {file: text.encode() for file, text in texts.items()}


@contextmanager
def asked(folder: Path, work: Path, sources: Sources) -> Iterator[tuple[ModuleType, str]]:
    """
    One of the modules as the kernels of a package, and by what means it answers.

    Args:
        folder: where the files of the target lie.
        work: not used.
        sources: of `variants`.

    Raises:
        BuildError: wasmtime is not installed.
    """
    file = folder / file_of(sources.name, sources.triple.levels[-1])
    data = file.read_bytes()
    if sources.general:
        view = GeneralModuleView(sources.general)
        yield general_wasm.Bridge(data, view, sources.weights).module(), "wasmtime"
    else:
        yield Bridge(data, ModuleView(sources.policy), sources.weights).module(), "wasmtime"


def variants(sources: Sources) -> list[Sources]:
    """
    The modules, each of which is asked: with one level.
    """
    return [
        replace(sources, triple=replace(sources.triple, levels=(level,)), view=sources.view.of_level(number))
        for number, level in enumerate(sources.triple.levels)
    ]


def file_of(name: str, level: Level) -> str:
    """
    The name of the module for a level.
    """
    return f"{name}.wasm" if level.lanes > 1 else f"{name}.scalar.wasm"


def views(sources: Sources) -> list[ModuleView] | list[GeneralModuleView]:
    """
    What is in each module.
    """
    numbers = range(len(sources.view.levels))
    if sources.general:
        return [GeneralModuleView(sources.general.of_level(number)) for number in numbers]
    return [ModuleView(sources.policy.of_level(number)) for number in numbers]


def _module(work: Path, sources: Sources, level: Level, kernels: str) -> bytes:
    """
    Links the kernels of one level with their memory.
    """
    view = next(view for view in views(sources) if view.level == level.suffix)
    source = f"{sources.name}{level.suffix}.c"
    (work / source).write_text(render_c("wasm.c", view.c, m=view), "utf-8")
    compiled = toolchain.compile_c(work, source, sources.triple)
    target = file_of(sources.name, level)
    if isinstance(view, GeneralModuleView):
        exported = ["run", "reset", "model_sha256", *(array.symbol for array in view.arrays)]
    else:
        arrays = [array.name for array, _ in view.arrays]
        exported = ["act", "rows", "model_sha256", *arrays, "actions", "scores", "room"]
    toolchain.link_wasm(work, target, [compiled, kernels], exported, STACK)
    return (work / target).read_bytes()
