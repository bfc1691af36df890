"""
A static executable that answers JSON lines: nothing of the machine is needed, the libc is inside.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from compiler.codegen.general_program import general_program_view
from compiler.codegen.program import program_view
from compiler.errors import BuildError
from compiler.targets import Sources, compiled, general_bridge, toolchain, write
from compiler.targets.bridge import bridged, emulator_for
from compiler.targets.machines import NATIVE, Triple, find, for_cpu

EXPORTS = ("act", "rows")
PARTS = ("main", "answer", "bench", "json", "json_text", "json_numbers")
"""The files in C that the program has besides the interface."""


def make(work: Path, sources: Sources) -> dict[str, bytes]:
    """
    Compiles and links the program.

    Args:
        work: a folder for intermediate files.
        sources: what to compile.

    Returns:
        The executable, by its name.

    Raises:
        BuildError: the triple has no operating system that starts programs.
    """
    triple = sources.triple
    if triple.freestanding:
        other = "wasm" if triple.system == "wasm" else "c"
        raise BuildError(triple.name, f"has no operating system that starts programs: build with --target {other}")
    needed = [export for export in sources.view.exports if export != "rows" or sources.view.batches]
    sources = replace(sources, triple=self_contained(triple), view=sources.view.exporting(needed))
    target = linked(work, sources, compiled(work, sources))
    return {target: (work / target).read_bytes()}


def linked(work: Path, sources: Sources, around: Sequence[str]) -> str:
    """
    Links the program around object files, or a library, that have the interface; returns its name.
    """
    program = general_program_view(sources.general) if sources.general else program_view(sources.policy.predictor)
    objects, name = list(around), sources.name
    write(work, "header.h", f"{name}.h", sources)
    for header in ("internal.h", "json.h", "program.h"):
        write(work, header, f"{name}_{header}", sources, program=program)
    for part in PARTS:
        source = write(work, f"{part}.c", f"{name}_{part}.c", sources, program=program)
        objects.append(toolchain.compile_c(work, source, sources.triple, "-Os"))
    target = file_name(sources)
    static = ["-static"] if sources.triple.system == "linux" else []
    collected = ["-Wl,-dead_strip"] if sources.triple.system == "macos" else ["-Wl,--gc-sections"]
    toolchain.link(work, target, objects, sources.triple, *static, *collected)
    return target


def file_name(sources: Sources) -> str:
    """
    What the executable is called.
    """
    return f"{sources.name}.exe" if sources.triple.system == "windows" else sources.name


def self_contained(triple: Triple) -> Triple:
    """
    The triple with the libc that is linked in: on Linux musl, which is made for that.
    """
    return replace(triple, zig=triple.zig.replace("-gnu", "-musl")) if triple.system == "linux" else triple


@contextmanager
def asked(folder: Path, work: Path, sources: Sources) -> Iterator[tuple[ModuleType, str]]:
    """
    The program in a folder, as the module `_native` of a package, and by what means it is asked.

    Where nothing here runs programs of its triple, its kernels are compiled for this machine and asked instead.
    """
    emulator = emulator_for(sources.triple)
    path, means = folder / file_name(sources), "its standard input"
    if emulator is None:
        stand_in = for_this_machine(sources)
        place = work / "stand_in"
        place.mkdir()
        ((name, data),) = make(place, stand_in).items()
        path, emulator, means = place / name, [], f"the same kernels, compiled for {stand_in.triple.name}"
        path.write_bytes(data)
    elif emulator:
        means = Path(emulator[0]).name
    path.chmod(0o755)
    with asking([*emulator, str(path)], sources) as module:
        yield module, means


def asking(command: Sequence[str], sources: Sources) -> AbstractContextManager[ModuleType]:
    """
    What a command starts, the program of these sources, as the module `_native` of a package.
    """
    if sources.general:
        return general_bridge.bridged(command, sources.general, sources.weights)
    return bridged(command, sources)


def for_this_machine(sources: Sources) -> Sources:
    """
    The kernels for the most able processor of a triple, with registers as wide, for the machine that builds.
    """
    here = for_cpu(find(None), NATIVE)
    wanted = sources.triple.levels[-1]
    level = replace(here.levels[0], lanes=wanted.lanes, blocks=wanted.blocks, suffix=wanted.suffix)
    return replace(sources, triple=replace(here, levels=(level,)), view=sources.view.of_level(-1))
