"""
What the archive reader accepts, and what it gives; what it refuses is in tests/hostile.
"""

import io
import os
import socket
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest

from compiler.errors import CheckpointError
from compiler.readers.archive import Archive, is_archive
from compiler.readers.files import read_file
from compiler.readers.limits import Limits
from tests.hostile.zips import Entry, zip64_end, zip_bytes

CONTENTS = {"data": b"{}" * 1000, "folder/policy.pth": bytes(range(256)) * 40, "empty": b"", "grüße.txt": b"x"}


class Unseekable(io.RawIOBase):
    """
    A pipe: zipfile then writes data descriptors.
    """

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.written += data
        return len(data)


def written(method: int, *, zip64: bool = False, seekable: bool = True) -> bytes:
    sink = io.BytesIO() if seekable else Unseekable()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, content in CONTENTS.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as member:
                member.write(content)
    return sink.getvalue() if isinstance(sink, io.BytesIO) else bytes(sink.written)


@pytest.mark.parametrize("seekable", [True, False])
@pytest.mark.parametrize("zip64", [True, False])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_what_zipfile_writes(method: int, zip64: bool, seekable: bool) -> None:
    archive = Archive.open(written(method, zip64=zip64, seekable=seekable), "a.zip")
    assert archive.names == tuple(CONTENTS)
    assert {name: bytes(archive.read(name)) for name in archive.names} == CONTENTS
    assert {name: archive.size(name) for name in archive.names} == {name: len(raw) for name, raw in CONTENTS.items()}


def test_stored_members_are_views_that_cannot_be_written() -> None:
    content = Archive.open(memoryview(bytearray(written(zipfile.ZIP_STORED))), "a.zip").read("data")
    assert isinstance(content, memoryview)
    assert content.readonly


def test_leaves_folders_out_of_the_names() -> None:
    archive = Archive.open(zip_bytes([Entry("folder/"), Entry("folder/file", b"1")]), "a.zip")
    assert archive.names == ("folder/file",)


def test_reads_empty_archives_comments_and_zip64_end_records() -> None:
    entries = [Entry("data", b"1")]
    assert Archive.open(zip_bytes([]), "a.zip").names == ()
    for data in (zip_bytes(entries, comment=b"hello"), zip64_end(zip_bytes(entries))):
        assert bytes(Archive.open(data, "a.zip").read("data")) == b"1"


def test_reads_sizes_and_offsets_from_zip64_fields() -> None:
    field = struct.pack("<HHQQQ", 1, 24, 5, 5, 0)
    data = bytearray(zip_bytes([Entry("data", b"12345", extra=field)]))
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<II", data, central + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<I", data, central + 42, 0xFFFFFFFF)
    assert bytes(Archive.open(bytes(data), "a.zip").read("data")) == b"12345"


def test_contains_and_missing_members() -> None:
    archive = Archive.open(zip_bytes([Entry("data", b"1")]), "a.zip")
    assert "data" in archive
    assert "other" not in archive
    with pytest.raises(CheckpointError, match=r"a\.zip: has no member 'other'"):
        archive.read("other")


def test_refuses_compressed_members_where_they_are_not_expected() -> None:
    data = zip_bytes([Entry("data", b"1" * 100, deflated=True)])
    assert Archive.open(data, "a.zip").size("data") == 100
    with pytest.raises(CheckpointError, match="compressed"):
        Archive.open(data, "a.zip", deflated=False)


def test_limits_follow_the_size_of_the_archive() -> None:
    data = zip_bytes([Entry("data", bytes(100_000), deflated=True)])
    limits = Limits(inflated_bytes=1000, inflation=20)
    with pytest.raises(CheckpointError, match="declares 100,000 bytes"):
        Archive.open(data, "a.zip", limits=limits)
    padded = zip_bytes([Entry("data", bytes(100_000), deflated=True), Entry("noise", os.urandom(10_000))])
    assert Archive.open(padded, "a.zip", limits=limits).size("data") == 100_000
    with pytest.raises(CheckpointError, match="3 zip members; at most 2"):
        Archive.open(zip_bytes([Entry(name) for name in "abc"]), "a.zip", limits=Limits(members=2))


def test_accepts_each_form_of_data_descriptor_and_no_other() -> None:
    content = b"12345"
    short = struct.pack("<III", zlib.crc32(content), 5, 5)
    wide = struct.pack("<IQQ", zlib.crc32(content), 5, 5)
    for form in (short, wide, b"PK\x07\x08" + short, b"PK\x07\x08" + wide):
        entry = Entry("data", content, flags=8, local_checksum=0, local_size=0, descriptor=form)
        assert bytes(Archive.open(zip_bytes([entry, Entry("next", b"1")]), "a.zip").read("data")) == content
        for wrong in (b"", form[:-1], form + b"\x00", bytes(len(form))):
            bad = Entry("data", content, flags=8, local_checksum=0, descriptor=wrong)
            with pytest.raises(CheckpointError, match="belong to no member"):
                Archive.open(zip_bytes([bad]), "a.zip")


def test_magic_decides_what_is_an_archive() -> None:
    assert is_archive(zip_bytes([Entry("data")]))
    assert is_archive(memoryview(zip_bytes([])))
    assert not is_archive(b"")
    assert not is_archive(b"\x80\x04N.")


def test_files_are_mapped(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    view = read_file(file)
    assert bytes(view) == b"content"
    assert view.readonly


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    expected = {"missing": "No such file", "": "folder", "empty": "empty", "pipe": "regular", "broken": "No such file"}
    for name, words in expected.items():
        with pytest.raises(CheckpointError, match=words):
            read_file(tmp_path / name)
    with pytest.raises(CheckpointError, match="regular"):
        read_file(Path("/dev/zero"))
    with pytest.raises(CheckpointError, match="null"):
        read_file(tmp_path / "a\x00b")
    (tmp_path / "long").write_bytes(b"12")
    with pytest.raises(CheckpointError, match="at most 1 "):
        read_file(tmp_path / "long", Limits(file_bytes=1))


def test_sockets_are_refused() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/s")
        with pytest.raises(CheckpointError):
            read_file(Path(folder) / "s")
