"""
A Python package whose kernels are an extension: it imports without NumPy, Numba or a compiler.

The extension keeps to CPython's stable ABI, of which the sources declare what they use: one file serves CPython 3.11
and everything newer, and none of them need be there to make it.
"""

import re
import shutil
from pathlib import Path

from compiler.codegen import render_face, render_general_face
from compiler.codegen.extension import ExtensionView
from compiler.targets import Sources, compiled, kernels_of, toolchain, write
from compiler.targets.bridge import emulator_for
from compiler.targets.exe import for_this_machine
from compiler.targets.machines import Triple

MODEL_FILE = "model.bin"
EXPORTS = ("act", "rows", "layers", "extras")
ENTRY = "PyInit__native"
"""The only symbol that an extension shows, but on macOS: zig's linker has no list of them there."""
# The process has libc, or whatever takes its place: a few functions of it that compilers call, such as memcpy.
LINUX = (
    "-shared",
    "-nostdlib",
    "-Wl,--gc-sections",
    "-Wl,--hash-style=gnu",
    "-Wl,--version-script=exports.map",
    "-Wl,-z,relro",
    "-Wl,-z,now",
)
MACOS = ("-shared", "-Wl,-undefined,dynamic_lookup", "-Wl,-dead_strip")
# Without an entry there is nothing of C's runtime in it, whose parts take a minute to compile.
WINDOWS = ("-shared", "-nostdlib", "-Wl,--no-entry", "-Wl,-Brepro", "-Wl,--gc-sections", "-lcompiler_rt")
# Some systems have no table of calls to leave out.
SMALL = ("-Os", "-fno-plt", "-Wno-unused-command-line-argument")
ARCHITECTURES = {"x86_64": "i386:x86-64", "aarch64": "arm64"}
"""What makers of import libraries for Windows call processors."""


def divides(triple: Triple) -> bool:
    """
    Whether several threads may compute one observation: where libc has what a thread that waits calls, as kernels do.
    """
    return triple.system in ("linux", "macos") and triple.name.partition("-")[0] in ("x86_64", "aarch64")


def make(work: Path, sources: Sources) -> dict[str, bytes]:
    """
    The files of the package: those in Python, and the extension `_native`.
    """
    triple = sources.triple
    view = sources.general or ExtensionView(sources.policy)
    objects = kernels_of(work, sources) if sources.general else compiled(work, sources)
    declarations = write(work, "python_abi.h", "python_abi.h", sources)
    write(work, "python_buffers.h", "python_buffers.h", sources, e=view)
    source = write(work, "extension.c", "extension.c", sources, e=view)
    objects.append(toolchain.compile_c(work, source, triple, *SMALL))
    file = file_of(triple)
    if triple.system == "windows":
        objects.append(_import_library(work, declarations, triple))
    (work / "exports.map").write_text(f"{{ global: {ENTRY}; local: *; }};\n", "utf-8")
    flags = {"macos": MACOS, "windows": WINDOWS}.get(triple.system, LINUX)
    toolchain.link(work, file, objects, triple, *flags)
    return {name: text.encode() for name, text in _faces(sources).items()} | {file: (work / file).read_bytes()}


def _faces(sources: Sources) -> dict[str, str]:
    if sources.general:
        return render_general_face(sources.general.predictor, extension=True)
    return render_face(sources.policy.predictor, extension=True)


def importable(folder: Path, work: Path, sources: Sources) -> tuple[Path, str]:
    """
    A package that can be imported here, and what it is if it is not the one in the folder: the same for this machine.
    """
    if emulator_for(sources.triple) == []:
        return folder, ""
    stand_in = for_this_machine(sources)
    place = work / "stand_in"
    for path in (place, place / sources.name):
        path.mkdir(mode=0o700)
    for name, data in make(place, stand_in).items():
        (place / sources.name / name).write_bytes(data)
    if sources.general:  # whose weights are no part of the extension
        shutil.copyfile(folder / MODEL_FILE, place / sources.name / MODEL_FILE)
    return place / sources.name, f"the same kernels, compiled for {stand_in.triple.name}"


def file_of(triple: Triple) -> str:
    """
    What Python calls an extension for its stable ABI.
    """
    return "_native.pyd" if triple.system == "windows" else "_native.abi3.so"


def declared(text: str) -> tuple[list[str], list[str]]:
    """
    The functions and the data that our declarations of the stable ABI have.
    """
    functions = re.findall(r"^[A-Za-z].*\b(Py\w+)\(.*\);$", re.sub(r"^typedef.*$", "", text, flags=re.MULTILINE), re.M)
    return functions, re.findall(r"^PYTHON_DATA .*?(\w+);$", text, re.MULTILINE)


def _import_library(work: Path, declarations: str, triple: Triple) -> str:
    """
    What tells the linker for Windows that python3.dll has the functions; returns its file's name.
    """
    functions, data = declared((work / declarations).read_text("utf-8"))
    names = [*functions, *(f"{name} DATA" for name in data)]
    (work / "python3.def").write_text(
        "LIBRARY python3.dll\nEXPORTS\n" + "".join(f"{name}\n" for name in names), "utf-8"
    )
    machine = ARCHITECTURES[triple.name.partition("-")[0]]
    toolchain.run(work, "dlltool", "-m", machine, "-D", "python3.dll", "-d", "python3.def", "-l", "python3.lib")
    return "python3.lib"
