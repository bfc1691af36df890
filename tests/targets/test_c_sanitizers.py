"""
Libraries in C neither read nor write beyond what they are given, whatever that is: seen by guarded pages, by
AddressSanitizer and UndefinedBehaviorSanitizer in the interface, and by valgrind in the kernels.
"""

import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from compiler.codegen.native import C_TYPES, NativeView
from tests.targets import libraries
from tests.targets.libraries import KINDS, Made, built, levels, need, run
from tests.thorough import chosen

HERE = Path(__file__).parent
LARGEST_BYTE = 255
MEMCHECK = ("--error-exitcode=9", "--quiet", "--leak-check=full")
SANITIZERS = "-fsanitize=address,undefined"
EVERY = chosen(KINDS, "cartpole", "dict", "recurrent")

pytestmark = libraries.needs_linux


def header(view: NativeView) -> str:
    """
    What hostile.c must know of a policy.
    """
    sizes = {part.array.name: part.sizes for part in view.predictor.parts}
    kinds = {"float32": "FLOATS", "float64": "DOUBLES", "int64": "CHOICES"}
    rows, given = [], []
    for number, array in enumerate(view.given):
        most = min(sizes.get(array.name) or (2 if array.dtype == "bool" else LARGEST_BYTE + 1,)) - 1
        kind = C_TYPES[array.dtype]
        rows.append(f"X({kind}, {number}, {array.count}, {kinds.get(array.dtype, 'BYTES')}, 0, {most})")
        given.append(f"(const {kind} *)given[{number}]")
    remembered = f"2 * {view.macro}_MEMORY_SIZE * sizeof(float)" if view.recurrent else "0"
    return f"""\
#include "{view.name}.h"
#define POLICY(name) {view.name}_##name
#define POLICY_(NAME) {view.macro}_##NAME
#define ACTION {view.action_type}
#define REMEMBERED ({remembered})
{"#define BATCHES" if view.batches else ""}
#define INPUTS(X) {" ".join(rows)}
#define GIVEN {", ".join(given)}
"""


@cache
def prepared(made: Made) -> Path:
    """
    A folder with the sources of the program.
    """
    folder = made.work / "hostile"
    folder.mkdir()
    shutil.copy(HERE / "hostile.c", folder)
    (folder / "hostile_policy.h").write_text(header(made.sources.policy), "utf-8")
    return folder


def answers(*command: str | Path, at: Path) -> None:
    """
    Runs the program; it must have both given actions and, where it can, refused.
    """
    said = run(*command, at=at, timeout=300)
    found = re.search(r"^(\d+) answered, (\d+) refused$", said.stdout, re.MULTILINE)
    assert found, said.stdout + said.stderr
    assert int(found[1]) > 100


@pytest.mark.parametrize("kind", EVERY)
def test_nothing_beyond_the_buffers_is_touched(kind):
    compiler, made = need("clang"), built(kind, cpu="portable")
    folder = prepared(made)
    for level, library in levels(made):
        program = f"guarded{level.suffix}"
        run(compiler, "-O1", "-I", made.folder, "hostile.c", library / made.static.name, "-o", program, at=folder)
        answers(folder / program, at=folder)


@pytest.mark.parametrize("kind", EVERY)
def test_sanitizers_find_nothing_in_the_interface(kind, tmp_path):
    compiler, made = need("clang"), built(kind, cpu="portable")
    if not runtime_of(compiler):
        pytest.skip("the sanitizers of clang are not installed")
    folder = prepared(made)
    # As zig compiles it, but that this clang does not know #embed.
    text = (made.work / "agent.c").read_text("utf-8")
    embedded = ", ".join(map(str, (made.work / "agent_weights.bin").read_bytes()))
    (tmp_path / "agent.c").write_text(re.sub(r"#embed .*", embedded, text), "utf-8")
    kernels = sorted(made.work.glob("agent_*.o"))
    flags: list[str | Path] = [
        SANITIZERS,
        "-fno-sanitize-recover=all",
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        made.work,
    ]
    run(
        compiler,
        "-std=c2x",
        *flags,
        tmp_path / "agent.c",
        folder / "hostile.c",
        "-I",
        folder,
        *kernels,
        "-o",
        "sanitized",
        at=tmp_path,
    )
    for how in ("heap", "guarded"):
        answers(tmp_path / "sanitized", how, at=tmp_path)


@cache
def runtime_of(compiler: str) -> bool:
    """
    Whether a clang has the libraries of its sanitizers, which may be a package of their own.
    """
    found = run(compiler, "-print-file-name=libclang_rt.asan-x86_64.a", at=HERE).stdout.strip()
    return Path(found).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY)
def test_valgrind_finds_nothing_in_the_kernels(kind):
    valgrind, compiler, made = need("valgrind"), need("gcc"), built(kind, cpu="portable")
    folder = prepared(made)
    # valgrind knows no AVX-512, and hides it from programs that ask.
    for level, library in levels(made):
        if level.cpu == "x86-64-v4":
            continue
        program = f"watched{level.suffix}"
        run(
            compiler,
            "-O1",
            "-g",
            "-I",
            made.folder,
            "hostile.c",
            library / made.static.name,
            "-lm",
            "-o",
            program,
            at=folder,
        )
        answers(valgrind, *MEMCHECK, folder / program, "heap", at=folder)


def test_a_value_too_far_is_seen(tmp_path):
    """
    The guarded pages do what they are there for: they end a program that gives one value less than is read.
    """
    compiler, made = need("clang"), built("cartpole", cpu="portable")
    folder = prepared(made)
    shutil.copytree(folder, tmp_path / "short")
    path = tmp_path / "short" / "hostile_policy.h"
    path.write_text(path.read_text("utf-8").replace("X(float, 0, 4,", "X(float, 0, 3,"), "utf-8")
    run(compiler, "-O1", "-I", made.folder, "hostile.c", made.static, "-o", "short", at=tmp_path / "short")
    with pytest.raises(AssertionError, match="gave -11"):
        run(tmp_path / "short" / "short", at=tmp_path)
