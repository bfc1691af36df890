"""
Opens a file from outside: regular files only, mapped read-only, never longer than the limit.
"""

import mmap
import os
import stat
from pathlib import Path

from compiler.errors import CheckpointError
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


def _check(path: Path, status: os.stat_result, limits: Limits) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise CheckpointError(str(path), "is a folder; name the checkpoint in it")
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(str(path), "is not a regular file")
    if status.st_size == 0:
        raise CheckpointError(str(path), "is empty")
    if status.st_size > limits.file_bytes:
        raise CheckpointError(str(path), f"has {status.st_size:,} bytes; at most {limits.file_bytes:,} are read")
