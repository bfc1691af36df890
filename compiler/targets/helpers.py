"""
What a processor without an instruction for it calls a function for: float64 on a Cortex-M, by the names that Arm gives.

A program's own runtime library, libgcc or compiler-rt, has these functions. Where no program is made yet, or an object
file has to be all there is, those of zig's compiler-rt serve; they are weak, and give way to a program's own.
"""

from collections.abc import Sequence
from pathlib import Path

from compiler.targets import elf, toolchain
from compiler.targets.machines import Triple

_PREFIX = "__aeabi_"
_ALL = "helpers"


def called(folder: Path, objects: Sequence[str]) -> list[str]:
    """
    The names of such functions that object files of 32-bit Arm call.
    """
    names = {name for part in objects for name in elf.read((folder / part).read_bytes()).undefined}
    return sorted(name for name in names if name.startswith(_PREFIX))


def compiled(folder: Path, names: Sequence[str], triple: Triple) -> str:
    """
    Makes an object file that defines these functions; returns its name. It takes seconds the first time.
    """
    (folder / "nothing.c").write_text("", "utf-8")
    nothing = toolchain.compile_c(folder, "nothing.c", triple)
    settings = ["-static", "-fcompiler-rt", "-fstrip", "-OReleaseSmall", *toolchain.machine(triple)]
    toolchain.run(folder, "build-lib", *settings, nothing, f"-femit-bin=lib{_ALL}.a")
    roots = [word for name in names for word in ("-u", name)]
    toolchain.run(folder, "ld.lld", "-r", "--gc-sections", "--strip-debug", *roots, f"lib{_ALL}.a", "-o", f"{_ALL}.o")
    return f"{_ALL}.o"
