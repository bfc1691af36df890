"""
Rows 5 to 9: SB3 zips whose archive lies.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.hostile.case import HostileCase
from tests.hostile.policies import sb3_entries
from tests.hostile.zips import Entry, deflate, zip64_end, zip_bytes

GIBIBYTE = 1 << 30


def with_policy(**changes: Any) -> Callable[[], bytes]:
    """
    A sound SB3 zip, but for these fields of the member policy.pth.
    """

    def make() -> bytes:
        entries = [replace(entry, **changes) if entry.name == "policy.pth" else entry for entry in sb3_entries()]
        return zip_bytes(entries)

    return make


def with_member(*extra: Entry) -> Callable[[], bytes]:
    return lambda: zip_bytes([*sb3_entries(), *extra])


def archive(**changes: Any) -> Callable[[], bytes]:
    return lambda: zip_bytes(sb3_entries(), **changes)


def zeros_deflated(size: int) -> bytes:
    """
    A deflate stream of many zeros: a full flush makes the block of a mebibyte repeatable.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return block * (size >> 20) + compressor.flush()


def bomb(declared: int | None, size: int = GIBIBYTE) -> Callable[[], bytes]:
    """
    A policy.pth of a megabyte that inflates to `size`, whatever is declared.
    """

    def make() -> bytes:
        return with_policy(deflated=True, packed=zeros_deflated(size), size=size if declared is None else declared)()

    return make


def many_bombs() -> bytes:
    """
    Each member stays under the limit, all together do not.
    """
    packed = zeros_deflated(60 << 20)
    return zip_bytes([Entry(f"m{index}", deflated=True, packed=packed, size=60 << 20) for index in range(20)])


def nested_bomb() -> bytes:
    """
    A torch zip with deflated members inside an SB3 zip: the limit would follow the inflated size of the outer one.
    """
    inner = zip_bytes(
        [Entry("archive/data.pkl", b"\x80\x02N."), Entry("archive/data/0", bytes(1 << 20), deflated=True)]
    )
    return zip_bytes([Entry("data", b"{}"), Entry("policy.pth", inner, deflated=True)])


def overlapping() -> bytes:
    """
    Two members in the same bytes, as in the bombs of overlapping files.
    """
    first = Entry("policy.pth", b"x" * 100)
    second = replace(first, local_name=b"policy.pth", name="data", offset=0)
    return zip_bytes([first, second])


def quoted() -> bytes:
    """
    A member whose content is the next member with its header.
    """
    inner = Entry("data", b"{}")
    whole = zip_bytes([inner])
    hidden = whole[: whole.index(b"PK\x01\x02")]
    outer = Entry("policy.pth", hidden)
    offset = 30 + len("policy.pth")
    return zip_bytes([outer, replace(inner, offset=offset, packed=b"{}")])


def cut(size: int) -> Callable[[], bytes]:
    return lambda: zip_bytes(sb3_entries())[:-size]


def symlink() -> Entry:
    return Entry("system_info.txt.link", b"../../secret", attributes=0o120777 << 16)


CASES = {
    # Row 5.
    "encrypted-flag": HostileCase(5, "ppo.zip", with_policy(flags=0x1), ("policy.pth", "encrypted")),
    "encrypted-flag-in-directory-only": HostileCase(
        5, "ppo.zip", with_policy(flags=0x1, local_flags=0), ("encrypted",)
    ),
    "flag-in-local-header-only": HostileCase(5, "ppo.zip", with_policy(local_flags=0x1), ("policy.pth", "flags")),
    "unknown-flag": HostileCase(5, "ppo.zip", with_policy(flags=0x20), ("unknown flags",)),
    "wrong-checksum": HostileCase(5, "ppo.zip", with_policy(checksum=0x12345678), ("policy.pth", "CRC")),
    "checksum-in-directory-only": HostileCase(5, "ppo.zip", with_policy(local_checksum=1), ("policy.pth", "CRC")),
    "zero-checksum": HostileCase(5, "ppo.zip", with_policy(checksum=0), ("policy.pth", "CRC")),
    "local-name": HostileCase(5, "ppo.zip", with_policy(local_name=b"policy.txt"), ("policy.pth", "another name")),
    "local-size": HostileCase(5, "ppo.zip", with_policy(local_size=1), ("policy.pth", "size")),
    "local-method": HostileCase(5, "ppo.zip", with_policy(local_method=8), ("policy.pth", "method")),
    "second-name": HostileCase(
        5, "ppo.zip", with_policy(extra=b"\x75\x70\x06\x00\x01abcde"), ("policy.pth", "second name")
    ),
    "unknown-method": HostileCase(5, "ppo.zip", with_policy(method=14), ("policy.pth", "method 14")),
    "descriptor-lies": HostileCase(
        5, "ppo.zip", with_policy(flags=8, descriptor=b"PK\x07\x08" + bytes(12)), ("policy.pth", "belong to no member")
    ),
    "prepended": HostileCase(5, "ppo.zip", archive(before=b"PK\x03\x04#!/bin/sh\n"), ("before its first member",)),
    "trailing": HostileCase(5, "ppo.zip", archive(after=b"junk"), ("trailing",)),
    "gap": HostileCase(5, "ppo.zip", archive(between=b"hidden"), ("belong to no member",)),
    "two-directories": HostileCase(
        5, "ppo.zip", lambda: zip_bytes(sb3_entries()) + zip_bytes(sb3_entries()), ("directory",)
    ),
    "count-too-small": HostileCase(5, "ppo.zip", archive(count=3), ("directory",)),
    "count-too-large": HostileCase(5, "ppo.zip", archive(count=9), ("directory",)),
    "zip64-count": HostileCase(5, "ppo.zip", lambda: zip64_end(zip_bytes(sb3_entries()), count=2), ("disagree",)),
    "zip64-elsewhere": HostileCase(5, "ppo.zip", lambda: zip64_end(zip_bytes(sb3_entries()), target=0), ("locator",)),
    "truncated": HostileCase(5, "ppo.zip", cut(10), ("end record",)),
    # Row 6.
    "duplicate": HostileCase(6, "ppo.zip", with_member(Entry("policy.pth", b"other")), ("policy.pth", "twice")),
    "duplicate-in-other-case": HostileCase(6, "ppo.zip", with_member(Entry("POLICY.PTH", b"other")), ("twice",)),
    # Row 7.
    "bomb-declared": HostileCase(7, "ppo.zip", bomb(None), ("declares",)),
    "bomb-undeclared": HostileCase(7, "ppo.zip", bomb(1000), ("policy.pth", "does not inflate to")),
    "bomb-half-declared": HostileCase(7, "ppo.zip", bomb(60 << 20), ("policy.pth", "does not inflate to")),
    "bomb-of-many": HostileCase(7, "ppo.zip", many_bombs, ("declares",)),
    "bomb-in-bomb": HostileCase(7, "ppo.zip", nested_bomb, ("policy.pth", "compressed")),
    "inflates-to-less": HostileCase(
        7, "ppo.zip", with_policy(deflated=True, packed=deflate(b"abc"), size=4), ("does not inflate to",)
    ),
    "bytes-after-deflate": HostileCase(
        7, "ppo.zip", with_policy(deflated=True, packed=deflate(b"abc") + b"x", size=3), ("does not inflate to",)
    ),
    "not-deflate": HostileCase(7, "ppo.zip", with_policy(deflated=True, packed=b"\xff" * 9), ("damaged",)),
    # Row 8.
    "overlapping": HostileCase(8, "ppo.zip", overlapping, ("overlaps",)),
    "quoted": HostileCase(8, "ppo.zip", quoted, ("overlaps",)),
    "offset-beyond-end": HostileCase(8, "ppo.zip", with_policy(offset=1 << 30), ("belong to no member",)),
    # Row 9.
    "parent": HostileCase(9, "ppo.zip", with_member(Entry("../escape.txt", b"x")), ("../escape.txt", "plain path")),
    "inner-parent": HostileCase(9, "ppo.zip", with_member(Entry("a/../../b", b"x")), ("plain path",)),
    "absolute": HostileCase(9, "ppo.zip", with_member(Entry("/etc/cron.d/x", b"x")), ("plain path",)),
    "backslash": HostileCase(9, "ppo.zip", with_member(Entry("..\\x", b"x")), ("plain path",)),
    "drive": HostileCase(9, "ppo.zip", with_member(Entry("C:/x", b"x")), ("plain path",)),
    "empty-name": HostileCase(9, "ppo.zip", with_member(Entry("", b"x")), ("plain path",)),
    "nul": HostileCase(9, "ppo.zip", with_member(Entry("policy.pth\x00.txt", b"x")), ("control character",)),
    "terminal-escape": HostileCase(9, "ppo.zip", with_member(Entry("\x1b[2Jx", b"x")), ("control character",)),
    "symlink": HostileCase(9, "ppo.zip", with_member(symlink()), ("symbolic link",)),
    "device": HostileCase(9, "ppo.zip", with_member(replace(symlink(), attributes=0o020600 << 16)), ("special file",)),
    "name-not-utf8": HostileCase(9, "ppo.zip", with_member(Entry(b"\xff\xfe", b"x", flags=0x800)), ("UTF-8",)),
}
CASES = {name: replace(case, reader="zip") for name, case in CASES.items()}
