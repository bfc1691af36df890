"""
What processors with registers of 32 bits gain from: the 64-bit integers of Numba where 32 bits hold all values.

Every count, index and choice of the kernels lies below 2^31 on such a processor: what it addresses ends there, and
choices have been compared with their space before they are computed with.
"""

import re

_TO_FLOAT = re.compile(r"^  (%\S+) = sitofp i64 (\S+) to (float|double)$", re.MULTILINE)

_VALUE = r"%[\w.$-]+"
# A loop that counts down from a constant, as LLVM's passes leave the loops of Numba's `range`.
_START = re.compile(
    rf"^  ({_VALUE}) = phi i64 \[ ([1-9]\d{{0,8}}), {_VALUE} \], \[ ({_VALUE}), {_VALUE} \]$", re.MULTILINE
)


def convert(text: str) -> str:
    """
    Makes float of the lower half of integers: one instruction, where the whole would be a call.
    """
    return _TO_FLOAT.sub(r"  \1.narrow = trunc i64 \2 to i32\n  \1 = sitofp i32 \1.narrow to \3", text)


def count(text: str) -> str:
    """
    Lets loops that count down from a constant do so in one register, in optimised text: LLVM keeps both.
    """
    for number, start, less in _START.findall(text):
        step = f"  {less} = add nsw i64 {number}, -1\n"
        again = re.search(rf"^  ({_VALUE}) = icmp samesign ugt i64 {re.escape(number)}, 1$", text, re.MULTILINE)
        if step not in text or again is None or _uses(text, number) != 3 or _uses(text, less) != 2:
            continue
        text = text.replace(f"  {number} = phi i64 [ {start},", f"  {number} = phi i32 [ {start},")
        text = text.replace(step, step.replace("i64", "i32"))
        text = text.replace(again[0], f"  {again[1]} = icmp ugt i32 {less}, 0")
    return text


def _uses(text: str, value: str) -> int:
    return len(re.findall(rf"{re.escape(value)}(?![\w.$-])", text))
