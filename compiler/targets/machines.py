"""
The processors and systems that code can be made for. Adding one is a row in `TRIPLES`.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import llvmlite.binding as llvm

from compiler.errors import BuildError, quote

PORTABLE, NATIVE = "portable", "native"
HOST_ONLY = "can only be had for the machine that builds"


@dataclass(frozen=True)
class Level:
    """
    A kind of processor that kernels are generated and optimised for.
    """

    cpu: str
    """As LLVM names it."""
    features: str
    """As LLVM takes them: `+avx2,-fma`."""
    lanes: int
    """float32 in a register."""
    fma: bool = True
    """Whether a product and a sum are one instruction."""
    blocks: bool = True
    """Whether a batch is computed in blocks, and not observation by observation in less code."""
    suffix: str = ""
    """Which the names of its functions end in, where there are several levels."""


@dataclass(frozen=True)
class Triple:
    """
    A system that code can be made for.
    """

    name: str
    """What the user writes."""
    llvm: str
    """What LLVM calls it."""
    zig: str
    """What zig calls it."""
    levels: tuple[Level, ...]
    """What is made unless the user names a processor."""
    tested: str
    """How the tests run what is made for it."""
    emulator: str = ""
    """The emulator for users' programs that runs its programs elsewhere."""
    freestanding: bool = False
    """Whether there is no operating system and no libc."""
    zig_cpu: str = ""
    """The processor that C is compiled for, where zig's default is too little or too much."""
    together: bool = True
    """Whether one file carries all levels and picks one when it runs; else each level is a file of its own."""

    @property
    def system(self) -> str:
        """
        `linux`, `macos`, `windows`, `none` or `wasm`.
        """
        return next((name for name in ("linux", "macos", "windows", "wasm") if name in self.zig), "none")

    @property
    def kept(self) -> str:
        """
        The features that hold whatever processor is named.

        Some Cortex-M7 have no unit for float64. Of the two instruction sets of Armv7, Thumb is the smaller.
        """
        return {"M": "-fp64", "A": "+thumb-mode"}.get(self.profile, "")

    @property
    def profile(self) -> str:
        """
        `M`, a microcontroller, or `A`, for 32-bit Arm; nothing for others.
        """
        if not self.narrow:
            return ""
        return "M" if self.llvm.startswith("thumb") else "A"

    @property
    def narrow(self) -> bool:
        """
        Whether an integer of 64 bits takes two registers.
        """
        return self.llvm.startswith(("arm-", "armv", "thumb"))

    @property
    def lanes(self) -> int:
        """
        What weights are packed for: the widest registers, whose multiple the others are.
        """
        return max(level.lanes for level in self.levels)


# Written for AVX2 and AVX-512 (x86-64-v3, -v4); the first is for what is older than 2013, and small.
_X86 = (
    Level("x86-64-v2", "", 4, fma=False, blocks=False, suffix="_v2"),
    Level("x86-64-v3", "", 8, suffix="_v3"),
    Level("x86-64-v4", "", 16, suffix="_v4"),
)
_ARM64 = (Level("generic", "+neon", 4),)
_ARMV7 = (Level("generic", "+v7,+vfp3,+neon,+thumb2,+thumb-mode", 4, fma=False),)
_RISCV = (Level("generic-rv64", "+m,+a,+f,+d,+c", 1, blocks=False),)
# The first for every engine, the second for those of 2021 and later.
_WASM = (
    Level("mvp", "", 1, fma=False, blocks=False, suffix="_scalar"),
    Level("generic", "+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint", 4, fma=False, suffix="_simd"),
)
# What a Cortex-M7 executes too: it has more instructions, which --cpu cortex-m7 uses.
_CORTEX_M = (Level("cortex-m4", "-fp64", 1, blocks=False),)

_V3 = ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_NEEDED = {"x86-64-v3": _V3, "x86-64-v4": (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")}
"""What LLVM calls the features of a level of x86-64."""

UNTESTED = "linked, never run"

TRIPLES: Sequence[Triple] = (
    Triple("x86_64-linux-gnu", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu", _X86, "here", "qemu-x86_64"),
    Triple("x86_64-linux-musl", "x86_64-unknown-linux-musl", "x86_64-linux-musl", _X86, "here", "qemu-x86_64"),
    Triple("aarch64-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", _ARM64, "qemu", "qemu-aarch64"),
    Triple("aarch64-linux-musl", "aarch64-unknown-linux-musl", "aarch64-linux-musl", _ARM64, "qemu", "qemu-aarch64"),
    Triple("armv7-linux-gnueabihf", "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", _ARMV7, "qemu", "qemu-arm"),
    Triple(
        "armv7-linux-musleabihf", "armv7-unknown-linux-musleabihf", "arm-linux-musleabihf", _ARMV7, "qemu", "qemu-arm"
    ),
    Triple("riscv64-linux-gnu", "riscv64-unknown-linux-gnu", "riscv64-linux-gnu", _RISCV, "qemu", "qemu-riscv64"),
    Triple("riscv64-linux-musl", "riscv64-unknown-linux-musl", "riscv64-linux-musl", _RISCV, "qemu", "qemu-riscv64"),
    Triple("x86_64-macos", "x86_64-apple-macosx11.0.0", "x86_64-macos", _X86, UNTESTED),
    Triple("aarch64-macos", "arm64-apple-macosx11.0.0", "aarch64-macos", _ARM64, UNTESTED),
    Triple("x86_64-windows-gnu", "x86_64-pc-windows-gnu", "x86_64-windows-gnu", _X86, UNTESTED),
    Triple("aarch64-windows-gnu", "aarch64-pc-windows-gnu", "aarch64-windows-gnu", _ARM64, UNTESTED),
    Triple(
        "thumbv7em-none-eabihf",
        "thumbv7em-none-unknown-eabihf",
        "thumb-freestanding-eabihf",
        _CORTEX_M,
        "qemu-system",
        "qemu-arm",
        freestanding=True,
        zig_cpu="cortex_m4+vfp4d16sp",
    ),
    Triple(
        "wasm32",
        "wasm32-unknown-unknown",
        "wasm32-freestanding",
        _WASM,
        "wasmtime, node, Chromium",
        freestanding=True,
        zig_cpu="mvp",
        together=False,
    ),
)


def find(name: str | None) -> Triple:
    """
    The row of a triple; of this machine's if none is named.

    Raises:
        BuildError: there is none.
    """
    wanted = host() if name is None else name
    for triple in TRIPLES:
        if triple.name == wanted:
            return triple
    known = ", ".join(triple.name for triple in TRIPLES)
    raise BuildError("triple", f"{quote(wanted)} is none that policyc knows; there are {known}")


def is_here(level: Level) -> bool:
    """
    Whether this machine is of a level of x86-64; of other processors there is only one level.
    """
    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in _NEEDED.get(level.cpu, ()))


def host() -> str:
    """
    The triple of this machine.
    """
    parts: list[str] = llvm.get_default_triple().split("-")
    architecture, system, rest = parts[0], parts[2], parts[3:]
    if system.startswith(("darwin", "macosx")):
        return f"{'aarch64' if architecture == 'arm64' else architecture}-macos"
    if system == "windows":
        return f"{architecture}-windows-gnu"
    return f"{architecture}-linux-{'musl' if 'musl' in ''.join(rest) else 'gnu'}"


def for_cpu(triple: Triple, cpu: str | None) -> Triple:
    """
    The triple with the kernels for one kind of processor: `portable` or None for its own, `native`, or LLVM's name.

    Raises:
        BuildError: LLVM does not know the processor, or it is not one of the triple's.
    """
    if cpu in (None, PORTABLE):
        return triple
    if not triple.together:
        raise BuildError("cpu", f"{triple.name} has none to choose from: it is made for each kind there is")
    name, features = cpu or "", triple.kept
    if cpu == NATIVE:
        if triple.name != host():
            raise BuildError("cpu", f"native {HOST_ONLY}, {host()}; name the processor of {triple.name}")
        name, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return replace(triple, levels=(_probed(triple, name, features),))


# How registers are called that hold so many float32, in assembly of any architecture.
_REGISTERS = ((r"%zmm", 16), (r"%ymm", 8), (r"%xmm|\bv\d+\.4s|\bq\d+|\bvf\w+\.v", 4))
# Assembly for Arm names the profile of its processor by the code of a letter.
_PROFILE = re.compile(r"\.eabi_attribute\s+7,\s*(\d+)")


def _probed(triple: Triple, cpu: str, features: str) -> Level:
    """
    What a processor's registers hold, read off the code that LLVM makes of products and sums.
    """
    command = [sys.executable, "-P", "-c", _PROBE, triple.llvm, cpu, features]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if not cpu or found.returncode or "not a recognized" in found.stderr:
        raise BuildError("cpu", f"{quote(cpu)} is no processor that LLVM knows for {triple.name}")
    lanes = next((lanes for pattern, lanes in _REGISTERS if re.search(pattern, found.stdout)), 1)
    level = Level(cpu, features, lanes, fma="fmaf" not in found.stdout, blocks=lanes > 1)
    profiles = {chr(int(code)) for code in _PROFILE.findall(found.stdout)}
    if lanes < triple.levels[0].lanes or level.fma < triple.levels[0].fma or profiles - {triple.profile}:
        raise BuildError("cpu", f"{quote(cpu)} is none of {triple.name}: it lacks what all of those have")
    return level


# In a process of its own: what LLVM does not recognise, it says on standard error and nowhere else.
_PROBE = """
import sys
import llvmlite.binding as llvm
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
triple, cpu, features = sys.argv[1:]
machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
module = llvm.parse_assembly(
    "define void @lanes(ptr %p) { %x = load <16 x float>, ptr %p %y = fmul <16 x float> %x, %x "
    "%z = fadd <16 x float> %y, %x store <16 x float> %z, ptr %p ret void } "
    "define float @fused(float %x) { %y = call float @llvm.fma.f32(float %x, float %x, float %x) ret float %y } "
    "declare float @llvm.fma.f32(float, float, float)"
)
module.triple, module.data_layout = triple, str(machine.target_data)
print(machine.emit_assembly(module))
"""
