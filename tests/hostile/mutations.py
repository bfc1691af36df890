"""
Good files, and ways to damage them: shared by the Hypothesis tests and by the fuzzer.
"""

import json
import random
import struct
import zlib
from base64 import b64decode
from collections.abc import Callable
from functools import cache

import numpy as np

from compiler.errors import CheckpointError
from compiler.frontends.sb3.vecnormalize import vecnormalize_from
from compiler.readers.archive import Archive, is_archive
from compiler.readers.numpy_values import as_array, as_dtype, as_scalar
from compiler.readers.pickle_machine import decode, describe, mapping
from compiler.readers.symbols import Call, walk
from compiler.readers.tensors import read_tensors
from tests.hostile.assemble import assemble
from tests.hostile.policies import (
    array,
    box,
    discrete,
    ppo_data,
    ppo_tensors,
    sb3_entries,
    sb3_zip,
    state_dict,
    tensor,
    torch_stream,
    vecnormalize,
    weights,
)
from tests.hostile.zips import zip64_end, zip_bytes

INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)


def read_archive(data: bytes) -> None:
    """
    Every member of an archive.
    """
    archive = Archive.open(data, "mutant.zip")
    for name in archive.names:
        assert len(archive.read(name)) == archive.size(name)


def read_policy(data: bytes) -> None:
    """
    The tensors of a file; what comes back must be memory that can be touched.
    """
    for values in read_tensors(data, "mutant.pth").tensors.values():
        assert values.flags.c_contiguous
        values.tobytes()


def read_pickle(data: bytes) -> None:
    """
    A pickle, and everything in it that could be a NumPy value or a dict.
    """
    value = decode(data, "mutant.pkl")
    describe(value)
    for node in walk(value):
        if isinstance(node, Call):
            for interpret in (as_array, as_scalar, as_dtype, mapping):
                try:
                    interpret(node, "mutant.pkl")
                except CheckpointError:
                    continue


def read_statistics(data: bytes) -> None:
    """
    The statistics of VecNormalize; those that are read can be computed with.
    """
    for statistics in vecnormalize_from(data, "mutant.pkl").statistics.values():
        assert statistics.mean.shape == statistics.deviation.shape
        assert np.isfinite(statistics.mean).all()
        assert (statistics.deviation > 0).all()
        assert statistics.clip > 0


def read_agent(data: bytes) -> None:
    """
    An SB3 zip, as far as the readers go.
    """
    archive = Archive.open(data, "mutant.zip")
    read_policy(bytes(archive.read("policy.pth")))
    try:
        fields = json.loads(bytes(archive.read("data")))
        pickles = [b64decode(field[":serialized:"]) for field in fields.values() if ":serialized:" in (field or ())]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return  # JSON is the frontend's affair.
    for content in pickles:
        read_pickle(content)


@cache
def seeds() -> dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]:
    """
    For each kind of file what reads it, and good examples.
    """
    ones = np.ones((2, 3), np.float32)
    tensors = {name: ppo_tensors()[name] for name in ("action_net.weight", "action_net.bias")}
    values = state_dict({"a": tensor("0", 6, (2, 3)), "b": tensor("1", 2, (2,), code="i8")})
    stream = torch_stream(values, {"0": (6, bytes(24)), "1": (2, bytes(16))})
    deflated = [entry for entry in sb3_entries() if entry.name != "policy.pth"]
    zips = (
        zip_bytes(sb3_entries()),
        zip64_end(zip_bytes(sb3_entries())),
        zip_bytes([type(entry)(entry.name, entry.content, deflated=True) for entry in deflated]),
    )
    pickles = (
        assemble(box(-ones, ones), 4),
        assemble(discrete(5), 4),
        assemble({"net_arch": [64, 64], "array": array(ones), "none": None, "pair": (1.5, b"x")}),
        assemble(ppo_data(), 4),
    )
    return {
        "zip": (read_archive, zips),
        "agent": (read_agent, (sb3_zip(),)),
        "tensors": (read_policy, (weights(tensors), weights(ppo_tensors()))),
        "stream": (read_policy, (stream,)),
        "pickle": (read_pickle, pickles),
        "vecnormalize": (read_statistics, (assemble(vecnormalize(), 4),)),
    }


def mutate(good: bytes, other: bytes, random: random.Random) -> bytes:
    """
    One to four small damages to a file; `other` is what parts are spliced from.
    """
    data = bytearray(good)
    for _ in range(random.randint(1, 4)):
        if not data:
            break
        random.choice(DAMAGES)(data, other, random)
    return bytes(data)


def flip(data: bytearray, other: bytes, random: random.Random) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def overwrite(data: bytearray, other: bytes, random: random.Random) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def truncate(data: bytearray, other: bytes, random: random.Random) -> None:
    del data[random.randrange(len(data)) :]


def remove(data: bytearray, other: bytes, random: random.Random) -> None:
    start = random.randrange(len(data))
    del data[start : start + random.randint(1, 16)]


def insert(data: bytearray, other: bytes, random: random.Random) -> None:
    start = random.randrange(len(data) + 1)
    data[start:start] = random.randbytes(random.randint(1, 8))


def repeat(data: bytearray, other: bytes, random: random.Random) -> None:
    start = random.randrange(len(data))
    part = data[start : start + random.randint(1, 32)]
    data[start:start] = part * random.randint(1, 20)


def splice(data: bytearray, other: bytes, random: random.Random) -> None:
    start, source = random.randrange(len(data)), random.randrange(len(other))
    length = random.randint(1, 64)
    data[start : start + length] = other[source : source + length]


def set_length(data: bytearray, other: bytes, random: random.Random) -> None:
    """
    A number that is likely to be a length or an offset becomes one that is likely to hurt.
    """
    width = random.choice((1, 2, 4, 8))
    start = random.randrange(len(data))
    value = random.choice((*INTERESTING, len(data), len(data) - 1, len(data) + 1)) % (1 << (8 * width))
    data[start : start + width] = value.to_bytes(width, "little")


DAMAGES = (flip, overwrite, truncate, remove, insert, repeat, splice, set_length)


def rechecked(data: bytes) -> bytes:
    """
    A zip whose CRCs are made right again, also those of zips in it, so that damage goes past them.
    """
    end = data.rfind(b"PK\x05\x06")
    if not is_archive(data) or end < 0 or end + 22 > len(data):
        return data
    fixed = bytearray(data)
    position = struct.unpack_from("<I", data, end + 16)[0]
    while position + 46 <= end and fixed[position : position + 4] == b"PK\x01\x02":
        _, method, packed, names, extras, offset = struct.unpack_from("<HH8xI4xHH10xI", fixed, position + 8)
        if offset + 30 <= len(fixed) and method == 0:
            start = offset + 30 + sum(struct.unpack_from("<HH", fixed, offset + 26))
            content = rechecked(bytes(fixed[start : start + packed]))
            fixed[start : start + len(content)] = content
            checksum = struct.pack("<I", zlib.crc32(content))
            fixed[position + 16 : position + 20] = fixed[offset + 14 : offset + 18] = checksum
        position += 46 + names + extras
    return bytes(fixed)
