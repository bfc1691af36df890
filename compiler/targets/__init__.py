"""
What becomes of generated sources: each target is one module here, with its templates.

A target's module has `EXPORTS`, the functions of the kernels that it needs, and
`make(work: Path, sources: Sources) -> dict[str, bytes]`, which gives the files of the result by their names. If it has
`divides(triple: Triple) -> bool` as well, that says whether several threads may compute one observation. Nothing here
ever sees the model.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.codegen import render_c
from compiler.codegen.general_native import GeneralNativeView
from compiler.codegen.native import NativeView
from compiler.options import BuildOptions
from compiler.targets import objects, toolchain
from compiler.targets.machines import Triple


@dataclass(frozen=True)
class Sources:
    """
    What a target is made of.
    """

    name: str
    """The predictor's name, an identifier: what names in C begin with."""
    triple: Triple
    """What for, with one level or several."""
    view: NativeView | GeneralNativeView
    """What templates of C files see."""
    kernels: Mapping[str, Mapping[str, str]]
    """The files of the kernels' package of each level, by the level's suffix."""
    faces: Mapping[str, str]
    """The Python files of a package that has these kernels in an extension; empty for other targets."""
    weights: bytes | memoryview
    """As the kernels read them."""
    options: BuildOptions
    translated: tuple[Path, ...] = ()
    """The object files of the kernels, one for each level, where an earlier target of the same build made them."""

    @property
    def policy(self) -> NativeView:
        """
        The view, of a policy.
        """
        assert isinstance(self.view, NativeView)
        return self.view

    @property
    def general(self) -> GeneralNativeView | None:
        """
        The view, of a model that is no policy.
        """
        return self.view if isinstance(self.view, GeneralNativeView) else None


def write(work: Path, template: str, name: str, sources: Sources, **more: Any) -> str:
    """
    Renders a template of `native/`, which may see more than the view, to a file; returns its name.
    """
    (work / name).write_text(render_c(template, sources.view, **more), "utf-8")
    return name


def compiled(work: Path, sources: Sources, *flags: str) -> list[str]:
    """
    Compiles the kernels and the interface in C; returns the names of the object files, the interface first.

    Args:
        work: a folder for intermediate files.
        sources: what to compile.
        flags: for the compiler of the interface.
    """
    name, kernels = sources.name, kernels_of(work, sources)
    (work / f"{name}_weights.bin").write_bytes(sources.weights)
    write(work, "header.h", f"{name}.h", sources)
    interface = write(work, "interface.c", f"{name}.c", sources)
    return [toolchain.compile_c(work, interface, sources.triple, *flags), *kernels]


def kernels_of(work: Path, sources: Sources) -> list[str]:
    """
    Compiles the kernels, and writes how they look from C; returns the names of the object files.
    """
    write(work, "internal.h", f"{sources.name}_internal.h", sources)
    kernels = [Path(shutil.copy(path, work)) for path in sources.translated]
    if not kernels:
        kernels = objects.translate(work, sources.kernels, sources.name, sources.view.exports, sources.triple)
    return [path.name for path in kernels]
