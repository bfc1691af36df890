"""
What 32-bit processors are spared, in LLVM's representation of kernels.
"""

import llvmlite.binding as llvm
import pytest

from compiler.targets import narrow

LOOP = """
define void @add(ptr %p) {{
entry:
  br label %loop

loop:                                             ; preds = %loop, %entry
  %left.1 = phi i64 [ {start}, %entry ], [ %left.10, %loop ]
  %place = phi ptr [ %p, %entry ], [ %next, %loop ]
  %left.10 = add nsw i64 %left.1, -1
  %next = getelementptr i8, ptr %place, i32 4
  store i32 {stored}, ptr %place, align 4
  %again = icmp samesign ugt i64 %left.1, 1
  br i1 %again, label %loop, label %done

done:                                             ; preds = %loop
  ret void
}}
"""


def counted(start: object, stored: str = "7") -> str:
    text = narrow.count(LOOP.format(start=start, stored=stored))
    llvm.parse_assembly(text).verify()
    return text


def test_a_loop_counts_in_one_register():
    text = counted(64)
    assert "i64" not in text
    assert "%left.1 = phi i32 [ 64, %entry ], [ %left.10, %loop ]" in text
    assert "%again = icmp ugt i32 %left.10, 0" in text


@pytest.mark.parametrize("start", [0, -1, 2**40, "%n"])
def test_a_loop_that_may_count_further_stays(start):
    loop = LOOP.replace("(ptr %p)", "(ptr %p, i64 %n)").format(start=start, stored="7")
    assert narrow.count(loop) == loop


def test_a_loop_whose_number_is_used_stays():
    loop = LOOP.format(start=64, stored="7").replace("  store", "  store i64 %left.1, ptr %p\n  store")
    assert narrow.count(loop) == loop


def test_numbers_become_float_by_their_lower_half():
    text = "define {0} @f(i64 %x) {{\n  %.1 = sitofp i64 %x to {0}\n  ret {0} %.1\n}}\n"
    for kind in ("float", "double"):
        found = narrow.convert(text.format(kind))
        llvm.parse_assembly(found).verify()
        assert f"sitofp i32 %.1.narrow to {kind}" in found
    other = text.format("half")
    assert narrow.convert(other) == other
