"""
The files of a library in C: what is in them, what they show and need, and that they are always the same.
"""

import io
from dataclasses import replace
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from compiler.errors import BuildError
from compiler.ir import Dict, Discrete
from compiler.targets import c, toolchain
from tests import policies
from tests.targets import libraries
from tests.targets.libraries import KINDS, built
from tests.thorough import THOROUGH, chosen

FUNCTIONS = {f"agent_{name}" for name in c.INTERFACE}
LINUX = ("x86_64-linux-gnu", "x86_64-linux-musl", "aarch64-linux-gnu", "armv7-linux-gnueabihf", "riscv64-linux-gnu")
OF_LIBC = {"memcpy", "memmove", "memset"}
OF_COMPILERS = {"__aeabi_f2lz", "__aeabi_l2f", "__aeabi_ul2f", "__aeabi_memcpy", "__aeabi_memclr", "__aeabi_memset"}
"""What 32-bit Arm has instead of instructions: libgcc and compiler-rt have them all."""
WRITE = 1


def elf(data: bytes) -> Any:
    return ELFFile(io.BytesIO(data))


def members(archive: bytes) -> dict[str, bytes]:
    """
    The files of a static library, by their names; of GNU's form.
    """
    assert archive.startswith(b"!<arch>\n")
    at, found, names = 8, {}, b""
    while at < len(archive):
        name, size = archive[at : at + 16].decode().strip(), int(archive[at + 48 : at + 58])
        assert archive[at + 16 : at + 28].strip() in (b"", b"0"), "a time"
        data = archive[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
        if name == "//":
            names = data
        elif name not in ("/", "/SYM64/"):
            if name.startswith("/"):
                name = names[int(name[1:]) :].split(b"/")[0].decode()
            found[name.removesuffix("/")] = data
    return found


def symbols(data: bytes, table: str = ".symtab") -> dict[str, Any]:
    return {symbol.name: symbol for symbol in elf(data).get_section_by_name(table).iter_symbols() if symbol.name}


def undefined(data: bytes, table: str = ".symtab") -> set[str]:
    return {name for name, symbol in symbols(data, table).items() if symbol["st_shndx"] == "SHN_UNDEF"}


def test_a_library_has_all_its_files():
    made = built("cartpole", cpu="portable", triple="x86_64-linux-gnu")
    names = ["README.md", "agent-config-version.cmake", "agent-config.cmake", "agent.h", "agent.pc", "example.c"]
    assert sorted(path.name for path in made.folder.iterdir()) == sorted([*names, "libagent.a", "libagent.so"])
    for path in made.folder.iterdir():
        content = path.read_bytes()
        for trace in (b"/tmp", b"/home", b"/root", str(made.work).encode(), b"zig version", b"clang version"):
            assert trace not in content, path
        if path.suffix not in (".a", ".so"):
            lines = content.decode("ascii").split("\n")
            assert all(len(line) <= 120 and line == line.rstrip() for line in lines), path
            assert "\n\n\n" not in content.decode("ascii"), path


def test_the_shared_library_shows_its_interface_and_needs_nothing():
    data = built("cartpole", cpu="portable", triple="x86_64-linux-gnu").shared.read_bytes()
    assert symbols(data, ".dynsym").keys() == FUNCTIONS
    assert elf(data).get_section_by_name(".symtab") is None
    dynamic = list(elf(data).get_section_by_name(".dynamic").iter_tags())
    tags = {tag.entry.d_tag for tag in dynamic}
    assert not tags & {"DT_NEEDED", "DT_TEXTREL", "DT_RUNPATH", "DT_RPATH"}
    assert "DT_FLAGS" in tags
    assert next(tag.soname for tag in dynamic if tag.entry.d_tag == "DT_SONAME") == "libagent.so"
    segments = {segment["p_type"]: segment for segment in elf(data).iter_segments()}
    assert "PT_GNU_RELRO" in segments
    assert segments["PT_GNU_STACK"]["p_flags"] == 6
    loaded = [segment["p_flags"] for segment in elf(data).iter_segments() if segment["p_type"] == "PT_LOAD"]
    assert not any(flags & 1 and flags & 2 for flags in loaded), "a page that can be written and executed"


def test_weights_are_constants():
    made = built("cartpole", cpu="portable", triple="x86_64-linux-gnu")
    shared, weights = elf(made.shared.read_bytes()), made.sources.weights
    (section,) = (part for part in shared.iter_sections() if weights in part.data())
    assert section.name.startswith(".rodata")
    assert not section["sh_flags"] & WRITE
    assert (section["sh_addr"] + section.data().index(weights)) % 64 == 0
    written = [part for part in shared.iter_sections() if part["sh_flags"] & WRITE and part["sh_type"] == "SHT_NOBITS"]
    assert sum(part["sh_size"] for part in written if part.name == ".bss") <= 8  # which kernels were chosen


def test_the_static_library_has_no_other_names():
    made = built("cartpole", cpu="portable", triple="x86_64-linux-gnu")
    for name, data in members(made.static.read_bytes()).items():
        assert elf(data).get_section_by_name(".note.GNU-stack") is not None, name
        for symbol in symbols(data).values():
            if symbol["st_info"]["bind"] == "STB_LOCAL" or symbol.name in FUNCTIONS:
                continue
            assert symbol.name.startswith("agent__")
            assert symbol["st_other"]["visibility"] == "STV_HIDDEN", (name, symbol.name)


def check_needs(kind: str, triple: str) -> None:
    made = built(kind, cpu="portable", triple=triple)
    parts = members(made.static.read_bytes())
    inside = {
        name for data in parts.values() for name, symbol in symbols(data).items() if symbol["st_shndx"] != "SHN_UNDEF"
    }
    outside = {name for data in parts.values() for name in undefined(data)} - inside
    assert outside <= OF_LIBC | (OF_COMPILERS if triple.startswith("armv7") else set()), (kind, triple)
    shared = made.shared.read_bytes()
    assert undefined(shared, ".dynsym") <= OF_LIBC
    assert symbols(shared, ".dynsym").keys() - OF_LIBC <= FUNCTIONS
    segments = {segment["p_type"]: segment for segment in elf(shared).iter_segments()}
    assert segments["PT_GNU_STACK"]["p_flags"] == 6


@pytest.mark.parametrize("kind", ["recurrent", "normalised"])
def test_libraries_need_no_more_than_libc(kind):
    check_needs(kind, "riscv64-linux-gnu")


@pytest.mark.slow
@pytest.mark.parametrize("triple", LINUX if THOROUGH else ["armv7-linux-gnueabihf"])
@pytest.mark.parametrize("kind", chosen(KINDS, "dict"))
def test_libraries_of_every_kind_need_no_more_than_libc(kind, triple):
    check_needs(kind, triple)


@pytest.mark.parametrize("choices", [{}, {"single_file": True}, {"triple": "x86_64-windows-gnu", "cpu": "x86-64-v3"}])
def test_two_builds_give_the_same_bytes(choices, tmp_path):
    sources = libraries.sources_of(KINDS["cartpole"](), **({"cpu": "native"} | choices))
    first, second = (libraries.make(tmp_path / name / "deep", sources) for name in ("one", "another"))
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == sorted(path.name for path in second.folder.iterdir())
    for name in names:
        content = (first.folder / name).read_bytes()
        assert content == (second.folder / name).read_bytes(), name
        assert str(tmp_path).encode() not in content, name


@pytest.mark.parametrize(
    ("triple", "names"),
    [
        ("x86_64-windows-gnu", {"agent.dll", "libagent.dll.a", "libagent.a"}),
        ("aarch64-windows-gnu", {"agent.dll", "libagent.dll.a", "libagent.a"}),
        ("aarch64-macos", {"libagent.dylib", "libagent.a"}),
        ("thumbv7em-none-eabihf", {"libagent.a"}),
    ],
)
def test_other_systems_get_libraries_of_theirs(triple, names, tmp_path):
    cpu = "x86-64-v3" if triple.startswith("x86") else None
    made = libraries.make(tmp_path / "made", libraries.sources_of(KINDS["cartpole"](), triple=triple, cpu=cpu))
    texts = {"README.md", "agent-config-version.cmake", "agent-config.cmake", "agent.h", "agent.pc", "example.c"}
    assert {path.name for path in made.folder.iterdir()} == names | texts
    if triple.endswith("windows-gnu"):
        found = (made.folder / "agent.dll").read_bytes()
        assert found[int.from_bytes(found[60:64], "little") :].startswith(b"PE\0\0")
        assert all(name.encode() in found for name in FUNCTIONS)
        assert b"agent__act" not in found
    elif triple.endswith("macos"):
        assert b"@rpath/libagent.dylib" in (made.folder / "libagent.dylib").read_bytes()
    else:
        assert "agent_predict_batch" not in (made.folder / "agent.h").read_text("utf-8")
    assert made.sources.view.version in (made.folder / "agent.pc").read_text("utf-8")


def test_one_object_file_shows_the_interface_alone():
    made = built("masked", single_file=True, cpu="portable")
    data = (made.folder / "agent.o").read_bytes()
    shown = {
        name
        for name, symbol in symbols(data).items()
        if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_other"]["visibility"] == "STV_DEFAULT"
    }
    assert shown == FUNCTIONS
    assert not any(name.startswith("_ZN") for name in symbols(data)), "names of Numba's functions"


def test_systems_without_elf_have_no_single_file(tmp_path):
    sources = libraries.sources_of(KINDS["masked"](), triple="aarch64-macos", single_file=True)
    with pytest.raises(BuildError, match=r"joins object files of ELF.*aarch64-macos.*libagent\.a"):
        libraries.make(tmp_path / "made", sources)


def test_hostile_keys_of_a_dict_stay_names_and_comments(tmp_path):
    keys = ("int", "*/ #error \n", "a\\", "??/", "Ä\u202e", "action", "INT")
    space = Dict(tuple((key, Discrete(3)) for key in keys))
    sources = libraries.sources_of(policies.observing(space), cpu="native")
    made = libraries.make(tmp_path / "made", sources)
    header = (made.folder / "agent.h").read_text("ascii")
    assert "#error" not in header
    assert "observation_int_2" in header
    assert header.count("*/") == header.count("/*")
    toolchain.run(
        made.folder, "cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "example.c", "-o", "e.o"
    )


def test_the_names_of_a_library_follow_the_policy(tmp_path):
    sources = libraries.sources_of(KINDS["masked"](), cpu="native")
    view = replace(sources.view, name="Walker")
    made = libraries.make(tmp_path / "made", replace(sources, name="Walker", view=view))
    names = {path.name for path in made.folder.iterdir()}
    assert names >= {"Walker.h", "libWalker.a", "libWalker.so", "walker-config.cmake", "Walker.pc"}
    assert symbols((made.folder / "libWalker.so").read_bytes(), ".dynsym").keys() == {
        f"Walker_{name}" for name in c.INTERFACE
    }
