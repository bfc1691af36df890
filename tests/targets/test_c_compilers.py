"""
Programs of users: the example of a library, built by their compilers, warnings as errors, and by their build systems.
"""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from compiler.targets import toolchain
from compiler.targets.machines import host
from compiler.targets.shared import Library
from tests.targets import libraries
from tests.targets.libraries import KINDS, Made, built, need, run
from tests.targets.test_c_answers import arrays_of, results_for
from tests.thorough import chosen

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
C99 = (*STRICT, "-std=c99", "-Wstrict-prototypes", "-Wmissing-prototypes")
CXX11 = (*STRICT, "-std=c++11", "-x", "c++")
EVERY = chosen(KINDS, "cartpole", "dict")
COMPILERS = ("gcc", "clang", "zig cc", "g++", "clang++", "zig c++")
"""zig compiles the libc of this machine first, which takes a quarter of a minute, and is clang otherwise."""
STEPS = 4
LEVELS = {"Nehalem": "_v2", "Haswell": "_v3", "max": "_v3"}
"""Processors that qemu imitates, and the kernels that are right for them: of AVX-512 it knows nothing."""

pytestmark = libraries.needs_linux


def compiler(name: str) -> list[str]:
    """
    The command of a compiler; of zig the one that policyc needs anyway.
    """
    return [str(toolchain.zig()), *name.split()[1:]] if name.startswith("zig") else [need(name)]


def expected(made: Made) -> tuple[list[str], str]:
    """
    Some observations as arguments of the example, and what it must print.
    """
    given = arrays_of(made, STEPS)
    library = Library(made.shared, made.sources.policy)
    parts = len(made.sources.policy.observed)
    lines, arguments = [], []
    for step in range(STEPS):
        (action,), (scores,) = results_for(made, 1)
        one = [array[step] for array in given[:parts]]
        masks = [None] * (len(given) - parts)
        assert library.predict([*one, *masks], action, scores) == 0
        lines.append(
            " ".join(f"{value:.9g}" if action.dtype == np.float32 else str(value) for value in action.tolist())
        )
        arguments += [repr(value) for array in one for value in array.tolist()]
    return arguments, "\n".join(lines) + "\n"


def same(found: str, wanted: str) -> bool:
    """
    Whether two texts have the same numbers: printed by others, a float64 may have other digits at its end.
    """
    rows = [[float(word) for word in line.split()] for line in found.splitlines()]
    return rows == [[float(word) for word in line.split()] for line in wanted.splitlines()]


@pytest.mark.parametrize("name", chosen(COMPILERS, "gcc", "clang", "g++", "clang++"))
@pytest.mark.parametrize("kind", EVERY)
def test_the_example_compiles_without_a_warning_and_acts(kind, name, tmp_path):
    made = built(kind, cpu="portable") if kind in ("cartpole", "dict", "recurrent") else built(kind)
    flags = CXX11 if name.endswith("++") else C99
    run(*compiler(name), *flags, "-c", "example.c", "-o", tmp_path / "example.o", at=made.folder)
    # The example needs nothing of C++, and zig would compile its library of that, which takes a minute.
    linker = "zig cc" if name == "zig c++" else name
    run(*compiler(linker), tmp_path / "example.o", made.static, "-o", tmp_path / "example", at=made.folder)
    arguments, wanted = expected(made)
    assert same(run(tmp_path / "example", *arguments, at=tmp_path).stdout, wanted)
    assert run(tmp_path / "example", at=tmp_path).stdout.count("\n") == 1
    wrong = subprocess.run([tmp_path / "example", *arguments, "1"], capture_output=True, text=True, check=False)
    if made.sources.policy.values > 1:
        assert wrong.returncode == 2
        assert wrong.stderr.startswith(f"an observation has {made.sources.policy.values} values")


def test_the_example_says_why_there_is_no_action(tmp_path):
    made = built("cartpole", cpu="portable")
    run(*compiler("gcc"), "example.c", made.static, "-o", tmp_path / "example", at=made.folder)
    done = subprocess.run([tmp_path / "example", "0", "nan", "0", "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no action: the observation must be finite numbers, but holds NaN or infinity\n"


def test_the_header_is_read_twice_and_beside_another_policy(tmp_path):
    made = built("recurrent", cpu="portable")
    text = '#include "agent.h"\n#include "other.h"\n#include "agent.h"\n'
    text += (
        "int main(void) {\n    return (int)AGENT_OK + (int)OTHER_OK + (AGENT_MEMORY_SIZE != OTHER_MEMORY_SIZE);\n}\n"
    )
    (tmp_path / "both.c").write_text(text, "utf-8")
    header = (made.folder / "agent.h").read_text("utf-8")
    (tmp_path / "other.h").write_text(header.replace("agent", "other").replace("AGENT", "OTHER"), "utf-8")
    run(*compiler("gcc"), *C99, "-I", made.folder, "both.c", "-o", "both", at=tmp_path)
    run(tmp_path / "both", at=tmp_path)


def test_the_shared_library_is_found_beside_the_program():
    made = built("cartpole", cpu="portable")
    text = (made.folder / "README.md").read_text("utf-8")
    command = re.search(r"^    cc (.*libagent\.so.*)$", text, re.MULTILINE)
    assert command
    folder = made.work / "moved"
    shutil.copytree(made.folder, folder)
    subprocess.run(f"{need('gcc')} {command[1]}", shell=True, check=True, cwd=folder)
    arguments, wanted = expected(made)
    assert same(run(folder / "example", *arguments, at=made.work).stdout, wanted)


@pytest.mark.parametrize("library", ["agent::agent", "agent::shared"])
def test_cmake_finds_the_library_wherever_it_lies(library, tmp_path):
    cmake, made = need("cmake"), built("cartpole", cpu="portable")
    need("cc")
    place = tmp_path / "any where"
    shutil.copytree(made.folder, place)
    text = f"""\
cmake_minimum_required(VERSION 3.13)
project(example C)
find_package(agent {made.sources.policy.version.split("+")[0]} CONFIG REQUIRED)
find_package(agent CONFIG REQUIRED)
if(NOT agent_MODEL_SHA256 STREQUAL "{made.sources.policy.predictor.model_sha256}")
    message(FATAL_ERROR "another model: ${{agent_MODEL_SHA256}}")
endif()
find_package(agent 99 CONFIG QUIET)
if(agent_FOUND)
    message(FATAL_ERROR "it says that it is newer than it is")
endif()
add_executable(example "{(place / "example.c").as_posix()}")
target_link_libraries(example {library})
"""
    (tmp_path / "CMakeLists.txt").write_text(text, "utf-8")
    run(cmake, "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={place}", at=tmp_path)
    run(cmake, "--build", "build", at=tmp_path)
    arguments, wanted = expected(made)
    assert same(run(tmp_path / "build" / "example", *arguments, at=tmp_path).stdout, wanted)


@pytest.mark.parametrize("flag", ["--libs", "--variable=static"])
def test_pkg_config_finds_the_library_wherever_it_lies(flag, tmp_path):
    finder, made = need("pkg-config"), built("cartpole", cpu="portable")
    place = tmp_path / "anywhere"
    shutil.copytree(made.folder, place)
    settings = {"env": {"PKG_CONFIG_PATH": str(place), "PATH": "/usr/bin:/bin"}}
    flags = [run(finder, what, "agent", at=tmp_path, **settings).stdout.split() for what in ("--cflags", flag)]
    command = [need("gcc"), *C99, *flags[0], place / "example.c", *flags[1], f"-Wl,-rpath,{place}", "-o", "example"]
    run(*command, at=tmp_path)
    arguments, wanted = expected(made)
    assert same(run(tmp_path / "example", *arguments, at=tmp_path).stdout, wanted)


def test_one_object_file_is_all_that_a_program_needs(tmp_path):
    made = built("masked", single_file=True, cpu="portable")
    assert sorted(path.name for path in made.folder.iterdir()) == ["agent.h", "agent.o"]
    whole = built("masked")
    (tmp_path / "example.c").write_bytes((whole.folder / "example.c").read_bytes())
    run(need("gcc"), *C99, "-I", made.folder, "example.c", made.folder / "agent.o", "-o", "example", at=tmp_path)
    arguments, wanted = expected(whole)
    assert same(run(tmp_path / "example", *arguments, at=tmp_path).stdout, wanted)


@pytest.mark.skipif(not host().startswith("x86_64"), reason="the compilers of this machine are not for x86-64")
@pytest.mark.parametrize("processor", LEVELS)
def test_a_library_runs_on_processors_of_every_level(processor, tmp_path):
    emulator = need("qemu-x86_64-static")
    made = built("cartpole", cpu="portable")
    run(need("gcc"), made.folder / "example.c", made.static, "-o", "example", at=tmp_path)
    arguments, wanted = expected(made)
    assert same(
        run(emulator, "-cpu", processor, tmp_path / "example", *arguments, at=tmp_path, timeout=60).stdout, wanted
    )
    assert chosen_on(processor, made, tmp_path) == LEVELS[processor]


def chosen_on(processor: str, made: Made, folder: Path) -> str:
    """
    The level whose kernels a library takes on a processor.
    """
    levels = [level.suffix for level in made.sources.policy.levels]
    names = ", ".join(f"agent__act{suffix}" for suffix in levels)
    text = '#include <stdio.h>\n#include "agent.h"\n#include "agent_internal.h"\n'
    text += "".join(f"extern int64_t agent__act{suffix}();\n" for suffix in levels)
    text += f"int main(void) {{\n    const void *all[] = {{{names}}};\n"
    text += "    for (int i = 0; i < 3; i++)\n        if ((const void *)agent__chosen()->act == all[i])\n"
    text += '            printf("%d", i);\n}\n'
    (folder / "chosen.c").write_text(text, "utf-8")
    run(need("gcc"), "-w", "-I", made.work, "chosen.c", made.static, "-o", "chosen", at=folder)
    emulator = need("qemu-x86_64-static")
    return levels[int(run(emulator, "-cpu", processor, folder / "chosen", at=folder, timeout=60).stdout)]
