"""
Opens a file from outside: regular files only, mapped read-only, never longer than the limit.
"""

import mmap
import os
import stat
from pathlib import Path, PurePosixPath

from compiler.errors import CheckpointError, PolicycError, UnsupportedError, quote
from compiler.readers.limits import DEFAULT, Limits


def read_file(path: Path, limits: Limits = DEFAULT) -> memoryview:
    """
    Map a file into memory.

    Args:
        path: a regular file or a link to one.
        limits: bounds on its size.

    Returns:
        A read-only view of all its bytes; the mapping lives as long as the view.

    Raises:
        CheckpointError: the file is missing, unreadable, empty, too long, a folder, or a device, pipe or socket.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(str(path), f"can't be opened: {reason}") from None
    try:
        status = os.fstat(descriptor)
        _check(path, status, limits)
        return memoryview(mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CheckpointError(str(path), f"can't be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


def read_beside(path: Path, name: str) -> memoryview:
    """
    Map a file that another one names, which may be a stranger's: only where that one lies, and below.

    Args:
        path: the file that names it.
        name: its name, relative to that one's folder.

    Returns:
        As `read_file`.

    Raises:
        CheckpointError: the file is missing or can't be read.
        UnsupportedError: it lies elsewhere, or is a link to what does.
    """
    what, plain = f"has data in {quote(name)}", PurePosixPath(name)
    if not plain.parts or plain.is_absolute() or ".." in plain.parts or set("\\\0") & set(name):
        text = "read are files in its own folder, named relative to it"
        raise UnsupportedError(str(path), f"{what}: {text}, as a file may name any file")
    found = path.parent / plain
    # In caches of downloads both files are links to a folder of another name.
    folders = (path.parent.resolve(), path.resolve().parent)
    if not any(found.resolve().is_relative_to(folder) for folder in folders):
        raise UnsupportedError(str(path), f"{what}, which is a link out of its folder: put the file itself there")
    try:
        return read_file(found)
    except PolicycError as error:
        text = f"{what}, which {error.findings[0]}: both files belong into one folder"
        raise CheckpointError(str(path), text) from None


def _check(path: Path, status: os.stat_result, limits: Limits) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(str(path), "is a folder; name the checkpoint in it")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(str(path), "is not a regular file")
    if status.st_size == 0:
        raise CheckpointError(str(path), "is empty")
    if status.st_size > limits.file_bytes:
        raise CheckpointError(str(path), f"has {status.st_size:,} bytes; at most {limits.file_bytes:,} are read")
