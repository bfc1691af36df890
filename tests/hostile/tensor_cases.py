"""
Rows 10, 12, 13 and 14: files of torch.save whose tensors lie.
"""

from collections.abc import Callable

from tests.hostile.assemble import Call, Global, Reference, Shared, assemble
from tests.hostile.case import HostileCase
from tests.hostile.policies import ORDERED_DICT, REBUILD, reference, state_dict, tensor, torch_stream, torch_zip

NAME = "action_net.weight"


def one(content: bytes, value: object, **members: bytes) -> Callable[[], bytes]:
    """
    A torch zip of one tensor (or what stands in its place), over one storage.
    """
    return lambda: torch_zip(assemble(state_dict({NAME: value})), {"0": content}, **members)


def sparse_csr() -> Call:
    """
    A CSR matrix whose row pointers reach far outside of its values.
    """
    layout = Call(Global("torch.serialization", "_get_layout"), ("torch.sparse_csr",))
    parts = (tensor("1", 3, (3,), code="i8"), tensor("1", 3, (2,), code="i8"), tensor("0", 2, (2,)), (2, 2))
    return Call(Global("torch._utils", "_rebuild_sparse_tensor"), (layout, parts))


def sparse() -> bytes:
    storages = {"0": bytes(8), "1": (1 << 40).to_bytes(8, "little") * 3}
    return torch_zip(assemble(state_dict({NAME: sparse_csr()})), storages)


def stream(declared: int, told: int, content: bytes) -> Callable[[], bytes]:
    value = state_dict({NAME: tensor("0", declared, (1,))})
    return lambda: torch_stream(value, {"0": (told, content)})


def copies() -> bytes:
    """
    5,000 tensors of one storage of a megabyte, transposed so that each must be copied: 5 GB.
    """
    shared = Shared(reference("0", 512 * 512))
    values = {
        f"layer{index}.weight": Call(REBUILD, (shared, 0, (512, 512), (1, 512), False, Call(ORDERED_DICT)))
        for index in range(5000)
    }
    return torch_zip(assemble(state_dict(values)), {"0": bytes(1 << 20)})


def typed(kind: str) -> Reference:
    return Reference(("storage", Global("torch", kind), "0", "cpu", 4))


def over(storage: object) -> Call:
    return Call(REBUILD, (storage, 0, (4,), (1,), False, Call(ORDERED_DICT)))


CASES = {
    # Row 10.
    "stream-of-2-gib": HostileCase(10, "policy.pt", stream(1 << 29, 1 << 29, b""), ("storage", "2,147,483,648")),
    "stream-of-more": HostileCase(10, "policy.pt", stream(1, 1 << 40, bytes(4)), ("storage", "elements")),
    "stream-negative": HostileCase(10, "policy.pt", stream(1, -1, bytes(4)), ("storage", "elements")),
    "stream-too-short": HostileCase(10, "policy.pt", stream(3, 3, bytes(8)), ("beyond the end",)),
    "stream-too-long": HostileCase(10, "policy.pt", stream(3, 3, bytes(16)), ("follow",)),
    "zip-of-2-gib": HostileCase(
        10, "policy.pth", one(bytes(4), tensor("0", 1 << 29, (1,))), ("storage", "pickle says")
    ),
    "storage-missing": HostileCase(10, "policy.pth", one(bytes(4), tensor("9", 1, (1,))), ("data/9",)),
    "negative-storage": HostileCase(10, "policy.pth", one(bytes(4), tensor("0", -1, (1,))), ("storage", "-1")),
    "two-sizes": HostileCase(
        10,
        "policy.pth",
        lambda: torch_zip(
            assemble(state_dict({"a": tensor("0", 1, (1,)), "b": tensor("0", 2, (2,))})), {"0": bytes(4)}
        ),
        ("contradicts itself",),
    ),
    "storage-outside": HostileCase(10, "policy.pth", one(bytes(4), tensor("../x", 1, (1,))), ("no member",)),
    "byte-order": HostileCase(
        10, "policy.pth", one(bytes(4), tensor("0", 1, (1,)), byteorder=b"middle"), ("byte order",)
    ),
    # Row 12.
    "stride-0": HostileCase(
        12, "policy.pth", one(bytes(4), tensor("0", 1, (40_000_000_000,), (0,))), (NAME, "logical bytes", "storage")
    ),
    "overlapping-windows": HostileCase(
        12, "policy.pth", one(bytes(400), tensor("0", 100, (50, 50), (1, 1))), (NAME, "logical bytes")
    ),
    "copies": HostileCase(12, "policy.pth", copies, ("far larger than the file",)),
    # Row 13.
    "sparse-csr": HostileCase(13, "policy.pth", sparse, (NAME, "dense", "torch._utils._rebuild_sparse_tensor")),
    "quantized": HostileCase(
        13,
        "policy.pth",
        one(bytes(4), Call(Global("torch._utils", "_rebuild_qtensor"), (reference("0", 1),))),
        (NAME, "dense", "_rebuild_qtensor"),
    ),
    "meta": HostileCase(
        13,
        "policy.pth",
        one(bytes(4), Call(Global("torch._utils", "_rebuild_meta_tensor_no_storage"), ())),
        (NAME, "dense", "_rebuild_meta_tensor_no_storage"),
    ),
    "complex": HostileCase(
        13, "policy.pth", one(bytes(32), over(typed("ComplexFloatStorage"))), ("ComplexFloatStorage",)
    ),
    "foreign-storage": HostileCase(
        13,
        "policy.pth",
        one(bytes(16), over(Reference(("storage", Global("os", "FloatStorage"), "0", "cpu", 4)))),
        ("os.FloatStorage",),
    ),
    "not-a-storage": HostileCase(13, "policy.pth", one(bytes(4), over(Reference("0"))), ("storage",)),
    # Row 14.
    "offset-overflow": HostileCase(
        14, "policy.pth", one(bytes(16), tensor("0", 4, (1,), offset=(1 << 62) - 1)), (NAME, "offset")
    ),
    "offset-beyond": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (4,), offset=1)), (NAME, "storage")),
    "offset-negative": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (1,), offset=-1)), (NAME, "offset")),
    "size-overflow": HostileCase(
        14, "policy.pth", one(bytes(16), tensor("0", 4, (1 << 33, 1 << 33), (1, 1))), (NAME, "shape")
    ),
    "size-negative": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (-4,), (1,))), (NAME, "shape")),
    "size-zero-overflow": HostileCase(
        14, "policy.pth", one(bytes(16), tensor("0", 4, (0, 1 << 62, 1 << 62), (1, 1, 1))), (NAME, "shape")
    ),
    "size-huge": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (1 << 2000,), (1,))), (NAME, "shape")),
    "size-of-floats": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (4.0,), (1,))), (NAME, "shape")),
    "stride-overflow": HostileCase(
        14, "policy.pth", one(bytes(16), tensor("0", 4, (2,), (1 << 63,))), (NAME, "stride")
    ),
    "stride-negative": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (4,), (-1,), 3)), (NAME, "stride")),
    "stride-beyond": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (2,), (4,))), (NAME, "storage")),
    "stride-missing": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (2, 2), (1,))), (NAME, "stride")),
    "dimensions": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 4, (1,) * 200)), (NAME, "shape")),
    "count-overflow": HostileCase(14, "policy.pth", one(bytes(16), tensor("0", 1 << 70, (1,))), ("storage",)),
}
