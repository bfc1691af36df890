"""
Libraries for macOS and Windows, which nothing here executes: they are linked, and show what they should.
"""

import struct

import pytest

from compiler.targets import c, toolchain
from tests.targets import libraries
from tests.thorough import chosen

pytestmark = pytest.mark.slow

MACH_O = b"\xcf\xfa\xed\xfe"
SHARED = {
    "aarch64-macos": ("libagent.dylib", MACH_O),
    "x86_64-macos": ("libagent.dylib", MACH_O),
    "x86_64-windows-gnu": ("agent.dll", b"MZ"),
    "aarch64-windows-gnu": ("agent.dll", b"MZ"),
}
PROGRAM = """
#include "agent.h"

/* Where a program for Windows begins that has no library of C, whose parts take long to compile. */
int start(void) {
    static agent_state state;
    static float scores[AGENT_SCORES_SIZE], observation[AGENT_OBSERVATION_SIZE];
    int64_t action;
    agent_reset(&state);
    return agent_predict_scores(&state, observation, &action, scores) == AGENT_OK ? (int)action : -1;
}
"""


def exported(data: bytes) -> list[str]:
    """
    The names that a library for macOS defines for others.
    """
    place = 32
    while struct.unpack_from("<I", data, place)[0] != 2:  # LC_SYMTAB
        place += struct.unpack_from("<I", data, place + 4)[0]
    first, count, names = struct.unpack_from("<3I", data, place + 8)
    symbols = struct.iter_unpack("<IBBHQ", data[first : first + 16 * count])
    # External and not private, and in some section.
    chosen = [names + name for name, kind, section, _, _ in symbols if kind & 0x11 == 0x01 and section]
    return [data[name : data.index(b"\0", name)].decode() for name in chosen]


@pytest.mark.parametrize("triple", chosen(SHARED, "aarch64-macos", "x86_64-windows-gnu"))
def test_libraries_are_linked_and_serve_a_program(triple, tmp_path):
    """
    A program finds the interface in the shared library, and nothing else is in there to be found.
    """
    name, magic = SHARED[triple]
    made = libraries.built("cartpole", triple=triple, cpu=None)
    shared = (made.folder / name).read_bytes()
    assert shared.startswith(magic)
    assert b"agent_predict_scores" in shared
    if magic == MACH_O:
        assert all(name.startswith(("_agent_", "__mh_", "___dso")) for name in exported(shared))
        assert not any(name.startswith("_agent__") for name in exported(shared))
    else:
        assert b"agent__act" not in shared
    assert str(made.work).encode() not in shared
    (made.folder / "program.c").write_text(PROGRAM)
    begun = ["-Dstart=main"] if "macos" in triple else ["-nostdlib", "-Wl,--entry=start"]
    for library in (name if "macos" in triple else f"lib{name}.a", "libagent.a"):
        settings = ["-target", made.sources.triple.zig, *begun, "program.c", library, "-o", str(tmp_path / "program")]
        toolchain.run(made.folder, "cc", *settings)
        assert (tmp_path / "program").read_bytes().startswith(magic)


def test_a_library_for_windows_is_the_same_every_time(tmp_path):
    first, second = (
        c.make(folder, libraries.sources_of(libraries.CARTPOLE, triple="x86_64-windows-gnu", cpu="x86-64-v2"))
        for folder in (tmp_path / "first", tmp_path / "second")
        if folder.mkdir() is None
    )
    assert first == second
