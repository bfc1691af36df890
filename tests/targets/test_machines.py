"""
The table of processors and systems: what LLVM makes for each row, and what zig does, must fit together.
"""

import subprocess
import sys

import pytest

from compiler.errors import BuildError
from compiler.targets import toolchain
from compiler.targets.machines import TRIPLES, find, for_cpu

LINKED = [triple for triple in TRIPLES if triple.system != "wasm"]
KERNEL = """
define double @agent__kernel(double %x, ptr %p) {
  %y = load <4 x float>, ptr %p
  %z = fmul <4 x float> %y, %y
  store <4 x float> %z, ptr %p
  ret double %x
}
"""
CALLER = """
extern double agent__kernel(double x, float *p);
extern __attribute__((visibility("default"))) double ask(float *p);
double ask(float *p) { return agent__kernel(1, p); }
"""
EMIT = """
import sys
import llvmlite.binding as llvm
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
triple, cpu, features, relocation, source, target = sys.argv[1:]
machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, reloc=relocation)
module = llvm.parse_assembly(open(source).read())
module.triple, module.data_layout = triple, str(machine.target_data)
open(target, "wb").write(machine.emit_object(module))
"""


@pytest.mark.parametrize("triple", LINKED, ids=[triple.name for triple in LINKED])
def test_what_llvm_makes_is_linked_with_what_zig_makes(triple, tmp_path):
    """
    Linkers compare how functions are called: where that is seen, a float64 goes from one to the other.
    """
    (tmp_path / "kernel.ll").write_text(KERNEL)
    (tmp_path / "caller.c").write_text(CALLER)
    caller = toolchain.compile_c(tmp_path, "caller.c", triple)
    for number, level in enumerate(triple.levels):
        kernel = f"kernel{number}.o"
        relocation = "static" if triple.freestanding else "pic"
        job = [triple.llvm, level.cpu, level.features, relocation, "kernel.ll", kernel]
        done = subprocess.run(
            [sys.executable, "-c", EMIT, *job], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        if triple.freestanding:
            toolchain.run(tmp_path, "ld.lld", "-e", "ask", caller, kernel, "-o", "linked")
            continue
        flags = ["-dynamiclib"] if triple.system == "macos" else ["-shared", "-nostdlib"]
        flags += ["-Wl,--no-entry"] if triple.system == "windows" else []
        toolchain.link(tmp_path, "linked", [caller, kernel], triple, *flags)
    assert (tmp_path / "linked").stat().st_size > 0


def test_riscv_passes_float64_in_registers(tmp_path):
    (tmp_path / "kernel.ll").write_text(KERNEL)
    triple = find("riscv64-linux-gnu")
    job = [triple.llvm, triple.levels[0].cpu, triple.levels[0].features, "pic", "kernel.ll", "kernel.o"]
    subprocess.run([sys.executable, "-c", EMIT, *job], cwd=tmp_path, check=True)
    (flags,) = (tmp_path / "kernel.o").read_bytes()[48:49]
    assert flags & 0b110 == 0b100  # EF_RISCV_FLOAT_ABI_DOUBLE


@pytest.mark.parametrize(
    ("triple", "cpu", "lanes", "fma"),
    [
        ("aarch64-linux-gnu", "cortex-a72", 4, True),
        ("aarch64-macos", "apple-m1", 4, True),
        ("armv7-linux-gnueabihf", "cortex-a7", 4, True),
        ("armv7-linux-gnueabihf", "cortex-a9", 4, False),
        ("riscv64-linux-gnu", "sifive-u74", 1, True),
        ("thumbv7em-none-eabihf", "cortex-m4", 1, True),
        ("thumbv7em-none-eabihf", "cortex-m7", 1, True),
        ("x86_64-linux-gnu", "haswell", 8, True),
        ("x86_64-linux-gnu", "core2", 4, False),
        ("x86_64-linux-gnu", "znver4", 16, True),
    ],
)
def test_a_processor_is_known_by_its_name(triple, cpu, lanes, fma):
    (level,) = for_cpu(find(triple), cpu).levels
    assert (level.cpu, level.lanes, level.fma, level.suffix) == (cpu, lanes, fma, "")
    assert level.blocks == (lanes > 1)


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-linux-gnu", "haswel"),
        ("x86_64-linux-gnu", "cortex-a72"),
        ("x86_64-linux-gnu", "pentium4"),
        ("x86_64-linux-gnu", "--help"),
        ("x86_64-linux-gnu", ""),
        ("aarch64-linux-gnu", "haswell"),
        ("riscv64-linux-gnu", "sifive-e31"),
    ],
)
def test_what_is_no_processor_is_refused(triple, cpu):
    with pytest.raises(BuildError, match=f"cpu: '{cpu}' is no processor that LLVM knows for {triple}"):
        for_cpu(find(triple), cpu)


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("thumbv7em-none-eabihf", "cortex-m3"),  # no floating-point unit
        ("thumbv7em-none-eabihf", "cortex-a9"),  # no microcontroller
        ("armv7-linux-gnueabihf", "cortex-m4"),  # a microcontroller
        ("armv7-linux-gnueabihf", "arm1176jzf-s"),  # Armv6
        ("riscv64-linux-gnu", "rocket-rv64"),  # no floating-point unit
    ],
)
def test_processors_without_what_their_triple_promises_are_refused(triple, cpu):
    with pytest.raises(BuildError, match=f"'{cpu}' is none of {triple}: it lacks what all of those have"):
        for_cpu(find(triple), cpu)


def test_this_machine_is_asked_what_it_has():
    triple = find(None)
    assert triple in TRIPLES
    (level,) = for_cpu(triple, "native").levels
    assert level.lanes in (1, 4, 8, 16)
    assert level.features
    other = find("riscv64-linux-gnu")
    with pytest.raises(BuildError, match="native can only be had for the machine that builds"):
        for_cpu(other, "native")


def test_the_table_names_each_system_once():
    names = [triple.name for triple in TRIPLES]
    assert len(set(names)) == len(names)
    for triple in TRIPLES:
        assert find(triple.name) is triple
        assert for_cpu(triple, None) is triple
        assert for_cpu(triple, "portable") is triple
        assert all(triple.lanes % level.lanes == 0 for level in triple.levels)
    with pytest.raises(BuildError, match="'mips-linux-gnu' is none that policyc knows; there are x86_64-linux-gnu"):
        find("mips-linux-gnu")


def test_some_triples_keep_integers_of_64_bits_in_two_registers():
    narrow = {triple.name for triple in TRIPLES if triple.narrow}
    assert narrow == {"armv7-linux-gnueabihf", "armv7-linux-musleabihf", "thumbv7em-none-eabihf"}
    assert {triple.profile for triple in TRIPLES if triple.freestanding and triple.narrow} == {"M"}
