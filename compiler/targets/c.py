"""
A library for programs in C and C++: a header, a static and a shared library, and what build systems and readers need.

Firmware, without an operating system, gets no shared library; `single_file` leaves it one header and one object file.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from compiler.errors import BuildError
from compiler.targets import Sources, compiled, exe, general_library, helpers, memory, toolchain, write
from compiler.targets.bridge import emulator_for
from compiler.targets.machines import Triple
from compiler.targets.shared import loaded

EXPORTS = ("act", "rows")
"""The functions of the kernels that the interface calls."""

PARTS = "parts"
"""The folder of object files that become one."""

INTERFACE = (
    "reset",
    "predict",
    "predict_scores",
    "predict_batch",
    "status_text",
    "model_sha256",
    "policyc_version",
)
"""What the names of the public functions end in; those without batches lack one, and those without scores."""


@dataclass(frozen=True)
class Library:
    """
    The files of a library, as the templates of those that go with them see them.
    """

    name: str
    triple: str
    system: str
    """`linux`, `macos`, `windows` or `none`."""
    static: str
    shared: str
    """The shared library; empty if there is none."""
    imports: str
    """What programs for Windows are linked with in the place of the shared library; elsewhere empty."""
    pointer: int
    """Bytes of an address."""

    @property
    def package(self) -> str:
        """
        What the files for CMake begin with: it looks for them in lower case.
        """
        return self.name.lower()

    @property
    def linked(self) -> str:
        """
        What a compiler of C is given to link a program in this folder with the shared library.
        """
        here = {"linux": "-Wl,-rpath,'$ORIGIN'", "macos": "-Wl,-rpath,@loader_path"}
        return f"{self.imports or self.shared} {here.get(self.system, '')}".strip()

    @property
    def shipped(self) -> str:
        """
        The shared library, by the name that programs find it by.
        """
        return f"@rpath/{self.shared}" if self.system == "macos" else self.shared


def library_of(name: str, triple: Triple) -> Library:
    """
    The files of a library for a system.
    """
    shared = {"linux": f"lib{name}.so", "macos": f"lib{name}.dylib", "windows": f"{name}.dll"}.get(triple.system, "")
    imports = f"lib{name}.dll.a" if triple.system == "windows" else ""
    pointer = 4 if triple.narrow else 8
    return Library(name, triple.name, triple.system, f"lib{name}.a", shared, imports, pointer)


def make(work: Path, sources: Sources) -> dict[str, bytes]:
    """
    The files of a library.

    Args:
        work: a folder for intermediate files.
        sources: what it is made of.

    Raises:
        BuildError: `single_file` for a system whose object files can't be joined.
    """
    sources = called(sources)
    if sources.options.single_file:
        names = single_file(work, sources)
    else:
        library = library_of(sources.name, sources.triple)
        objects = compiled(work, sources)
        toolchain.archive(work, library.static, objects)
        names = [f"{library.name}.h", library.static, *shared(work, library, sources, objects)]
        names += accompanying(work, library, sources)
    return {name: (work / name).read_bytes() for name in names}


@contextmanager
def asked(folder: Path, work: Path, sources: Sources) -> Iterator[tuple[ModuleType, str]]:
    """
    The library in a folder, as the module `_native` of a package, and by what means it is asked.

    Loaded into this process where that can be; as a part of a program where there is an emulator for its processor;
    else its kernels are compiled for this machine and asked instead.
    """
    emulator, means = emulator_for(sources.triple), "the library"
    place = work / "asked"
    place.mkdir()
    if emulator:
        program = replace(called(sources), triple=exe.self_contained(sources.triple))
        target = exe.linked(work, program, [str(folder / linkable(sources))])
        with exe.asking([*emulator, str(work / target)], sources) as module:
            yield module, Path(emulator[0]).name
        return
    objects = [str(folder / linkable(sources))]
    if emulator is None:
        sources = exe.for_this_machine(called(sources))
        objects, means = compiled(place, sources), f"the same kernels, compiled for {sources.triple.name}"
    library = library_of(sources.name, sources.triple)
    path = folder / library.shared
    if not path.is_file():
        toolchain.link(place, library.shared, objects, sources.triple, "-shared")
        path = place / library.shared
    if sources.general:
        yield general_library.loaded(path, sources.general, sources.weights), means
    else:
        yield loaded(path, sources.policy, sources.weights), means


def linkable(sources: Sources) -> str:
    """
    The file that programs are linked with.
    """
    single = sources.options.single_file
    return f"{sources.name}.o" if single else library_of(sources.name, sources.triple).static


def called(sources: Sources) -> Sources:
    """
    The same without the kernels of batches, where the interface has none.
    """
    exports = [name for name in sources.view.exports if sources.view.batches or name != "rows"]
    return replace(sources, view=sources.view.exporting(exports))


def single_file(work: Path, sources: Sources) -> list[str]:
    """
    One header and one object file, in which nothing but the interface has a name for the linker of a program.
    """
    if sources.triple.system not in ("linux", "none"):
        elf = "single_file joins object files of ELF, of Linux and of firmware"
        raise BuildError("options", f"{elf}; for {sources.triple.name} leave it out, and take lib{sources.name}.a")
    parts = compiled(work, sources)
    (work / PARTS).mkdir()
    moved = [str((work / part).rename(work / PARTS / part).relative_to(work)) for part in parts]
    needed = helpers.called(work, moved) if sources.triple.profile == "M" else []
    moved += [helpers.compiled(work, needed, sources.triple)] if needed else []
    toolchain.join(work, f"{sources.name}.o", moved)
    return [f"{sources.name}.h", f"{sources.name}.o"]


def facts(work: Path, sources: Sources) -> dict[str, Any]:
    """
    What a microcontroller needs of its memory for what `make` has made; nothing about other systems.
    """
    names = [f"{sources.name}.o", *(f"{sources.name}_kernels{level.suffix}.o" for level in sources.triple.levels)]
    objects = [f"{PARTS}/{name}" if sources.options.single_file else name for name in names]
    needs = memory.needs(work, sources.name, objects, sources.triple, sources.view.computing)
    return {} if needs is None else {"memory": needs.to_json()}


def shared(work: Path, library: Library, sources: Sources, objects: list[str]) -> list[str]:
    """
    The shared library, and what programs are linked with, if that is another file.
    """
    if not library.shared:
        return []
    flags = {
        "linux": ["-shared", f"-Wl,-soname,{library.shared}", "-Wl,-z,relro,-z,now", "-Wl,-z,defs"],
        "macos": ["-dynamiclib", "-install_name", library.shipped],
        # Without an entry there is nothing of C's runtime in it; without a time stamp it is always the same.
        "windows": ["-shared", "-nostdlib", "-Wl,--no-entry", "-Wl,-Brepro", f"-Wl,--out-implib,{library.imports}"],
    }[library.system]
    given = [*objects, *definitions(work, library, sources)]
    toolchain.link(work, library.shared, given, sources.triple, *flags)
    return [library.shared, *([library.imports] if library.imports else [])]


def definitions(work: Path, library: Library, sources: Sources) -> list[str]:
    """
    For Windows, a file with what the library shows; elsewhere its symbols' visibility says it.
    """
    if library.system != "windows":
        return []
    left_out = {
        *(() if sources.view.batches else ("predict_batch",)),
        *({"predict_scores"} - {*sources.view.computing}),
    }
    functions = [name for name in INTERFACE if name not in left_out]
    lines = [f"LIBRARY {library.shared}", "EXPORTS", *(f"    {library.name}_{name}" for name in functions)]
    (work / f"{library.name}.def").write_text("\n".join(lines) + "\n", "utf-8")
    return [f"{library.name}.def"]


def accompanying(work: Path, library: Library, sources: Sources) -> list[str]:
    """
    What goes with a library: an example, instructions, and what CMake and pkg-config read.
    """
    texts = {
        "example.c": "example.c",
        "README.md": "README.md",
        f"{library.package}-config.cmake": "config.cmake",
        f"{library.package}-config-version.cmake": "config-version.cmake",
        f"{library.name}.pc": "library.pc",
    }
    return [write(work, template, name, sources, library=library) for name, template in texts.items()]
