"""
The C compiler and linker: those of the `ziglang` package, one for every system.
"""

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from compiler.errors import BuildError
from compiler.targets.machines import Triple

LINKER = "lld, in zig"

# No time, no path, nothing of this machine may get into what is made: for Windows, -g0 alone leaves a path.
REPRODUCIBLE = ("-g0", "-s", "-fno-ident", "-Wno-builtin-macro-redefined", "-D__DATE__=", "-D__TIME__=", "-D__FILE__=")
STRICT = ("-std=c23", "-Wall", "-Wextra", "-Werror", "-Wno-c23-extensions")
SMALL = (
    "-fomit-frame-pointer",
    "-fno-asynchronous-unwind-tables",
    "-fno-unwind-tables",
    "-ffunction-sections",
    "-fdata-sections",
)


def zig() -> Path:
    """
    The program.

    Raises:
        BuildError: the package is not installed.
    """
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise BuildError(
            "ziglang",
            "is not installed; it is the compiler and linker of native targets: pip install 'policyc[native]'",
        )
    folder = Path(found.origin).parent
    return folder / ("zig.exe" if os.name == "nt" else "zig")


def run(folder: Path, *arguments: str | Path) -> None:
    """
    Runs zig in a folder.

    Raises:
        BuildError: with what it says, if it fails.
    """
    command = [str(zig()), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise BuildError("ziglang", f"zig {' '.join(map(str, arguments[:2]))} failed: {said[-2000:]}")


def compile_c(folder: Path, source: str, triple: Triple, *flags: str) -> str:
    """
    Compiles a file of C in a folder; returns the name of the object file.
    """
    target = f"{Path(source).stem}.o"
    freestanding = ("-ffreestanding", "-fno-builtin") if triple.freestanding else ("-fPIC",)
    settings = [*STRICT, *REPRODUCIBLE, *SMALL, *machine(triple), *freestanding, "-fvisibility=hidden", *flags]
    # zig adds checks of its own to C unless told otherwise.
    run(folder, "cc", "-c", "-O2", "-fno-sanitize=all", "-fno-stack-protector", *settings, source, "-o", target)
    return target


def machine(triple: Triple) -> list[str]:
    """
    The flags that say what for.
    """
    return ["-target", triple.zig, *([f"-mcpu={triple.zig_cpu}"] if triple.zig_cpu else [])]


def archive(folder: Path, target: str, objects: Sequence[str]) -> None:
    """
    Makes a static library, without times and owners.
    """
    (folder / target).unlink(missing_ok=True)
    run(folder, "ar", "rcsD", target, *objects)


def join(folder: Path, target: str, objects: Sequence[str]) -> None:
    """
    Makes one object file of several, for ELF, without the names that nothing outside needs.
    """
    run(folder, "ld.lld", "-r", "--discard-all", *objects, "-o", target)


def link(folder: Path, target: str, objects: Sequence[str], triple: Triple, *flags: str) -> None:
    """
    Links what the flags say, stripped of all names that are not needed.
    """
    run(folder, "cc", *machine(triple), "-s", *objects, "-o", target, *flags)


def link_wasm(folder: Path, target: str, objects: Sequence[str], exported: Sequence[str], stack: int) -> None:
    """
    Links a WebAssembly module with a memory of fixed size: its data, and below them a stack of so many bytes.
    """
    names = [f"--export={name}" for name in exported]
    settings = ["--no-entry", "--no-growable-memory", "--stack-first", "-z", f"stack-size={stack}"]
    run(
        folder,
        "wasm-ld",
        *settings,
        "-O2",
        "--gc-sections",
        "--compress-relocations",
        "--strip-all",
        *names,
        *objects,
        "-o",
        target,
    )


def _environment(folder: Path) -> dict[str, str]:
    """
    The environment, with a place for what zig keeps between its runs: parts of libc, which take it seconds to compile.
    """
    variables = {**os.environ, "ZIG_LOCAL_CACHE_DIR": str(folder / ".zig-cache")}
    if "ZIG_GLOBAL_CACHE_DIR" in variables:
        return variables
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    place = home / "policyc" / "zig"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(place, os.W_OK)
    except OSError:
        writable = False
    # Elsewhere only in the build's own folder: what lies where others can write may not be zig's.
    return {**variables, "ZIG_GLOBAL_CACHE_DIR": str(place if writable else folder / ".zig-cache")}
