"""
Rows 1, 3, 4 and 11: pickles that do something when they are loaded, or that never come to an end.

Row 3 has the techniques of the scanner bypasses: picklescan CVE-2025-1716 (a global that the scanner does not know),
-1889 (another extension), -1944 and -1945 (zip headers that only the scanner trusts; in `zip_cases`), -10155 (a pickle
under a PyTorch extension), -10156 (CRC errors; in `zip_cases`), -10157 (a submodule of a blocked module), fickling
CVE-2026-22608 and -22612 (chains of globals from modules that no list has).
"""

import struct
from collections.abc import Callable
from typing import Any

from tests.hostile.assemble import Call, Global, Raw, assemble
from tests.hostile.case import MARKER, TRIPWIRE, HostileCase
from tests.hostile.policies import (
    ORDERED_DICT,
    REBUILD,
    sb3_zip,
    serialized,
    state_dict,
    tensor,
    torch_stream,
    torch_zip,
)

CODE = f"open({MARKER!r}, 'w').close()"
COMMAND = f"echo > {MARKER}"
SYSTEM = Call(Global("posix", "system"), (COMMAND,))
EXEC = Call(Global("builtins", "exec"), (CODE,))


def torch(payload: object, protocol: int = 4) -> Callable[[], bytes]:
    """
    A maker of a torch zip whose pickle is the payload.
    """
    return lambda: torch_zip(assemble(payload, protocol))


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def memoized_stack_global() -> bytes:
    """
    STACK_GLOBAL whose names come out of the memo, past a decoy that a scanner takes for them.
    """
    names = text("posix") + b"\x94" + text("system") + b"\x94" + b"\x86" + text("collections") + text("OrderedDict")
    call = b"\x87" + b"h\x00" + b"h\x01" + b"\x93" + text(COMMAND) + b"\x85R\x86"
    return torch_zip(b"\x80\x04" + names + call + b".")


def getattr_chain() -> Call:
    get = Global("builtins", "getattr")
    module = Call(Global("builtins", "__import__"), ("os",))
    return Call(Call(get, (module, "system")), (COMMAND,))


def hidden_in_tensor(position: int) -> bytes:
    """
    A benign state dict, but for one argument of its tensor.
    """
    good = tensor("0", 3, (3,))
    arguments = list(good.arguments) + [None] * (position + 1 - len(good.arguments))
    arguments[position] = SYSTEM
    return torch_zip(assemble(state_dict({"action_net.bias": Call(REBUILD, tuple(arguments))})), {"0": bytes(12)})


def beside_tensors(**extra: object) -> bytes:
    return torch_zip(assemble(state_dict({"action_net.bias": tensor("0", 3, (3,)), **extra})), {"0": bytes(12)})


def popped() -> bytes:
    """
    The call is made, and its result dropped: what is left is a benign state dict.
    """
    good = assemble(state_dict({"action_net.bias": tensor("0", 3, (3,))}))
    return torch_zip(good[:2] + assemble(SYSTEM)[2:-1] + b"0" + good[2:], {"0": bytes(12)})


def overwritten() -> bytes:
    """
    The call is the value of a key that gets a benign value later.
    """
    items = (("a", SYSTEM), ("a", tensor("0", 3, (3,))))
    return torch_zip(assemble(Call(ORDERED_DICT, items=items)), {"0": bytes(12)})


def broken_after_call() -> bytes:
    """
    The call is made, then comes an opcode that does not exist: scanners give up on the file as a whole.
    """
    return torch_zip(assemble(SYSTEM)[:-1] + b"\xff.")


def in_front_of_stream() -> bytes:
    good = torch_stream(state_dict({"action_net.bias": tensor("0", 3, (3,))}), {"0": (3, bytes(12))})
    return assemble(SYSTEM) + good


def behind_value() -> bytes:
    good = assemble(state_dict({"action_net.bias": tensor("0", 3, (3,))}))
    return torch_zip(good + assemble(SYSTEM), {"0": bytes(12)})


def in_storage() -> bytes:
    """
    The content of a tensor is a pickle: bytes like any others.
    """
    payload = assemble(SYSTEM).ljust(64, b"\x00")
    return torch_zip(assemble(state_dict({"action_net.bias": tensor("0", 16, (16,))})), {"0": payload})


def nested() -> Call:
    return Call(Global("torch.storage", "_load_from_bytes"), (assemble(EXEC),))


def sb3_with(**fields: object) -> Callable[[], bytes]:
    replaced: dict[str, Any] = {name: serialized(value, "dict") for name, value in fields.items()}
    return lambda: sb3_zip(**replaced)


def many_marks() -> bytes:
    return b"\x80\x04" + b"]" * 3_000_000 + b"a" * 2_999_999 + b"."


def deep_within_limits() -> bytes:
    return b"\x80\x04" + b")" + b"\x85" * 200_000 + b"."


def memo_bomb() -> bytes:
    """
    Sixty tuples, each of the one before twice: 2^60 leaves in a few hundred bytes.
    """
    levels = b"".join(b"h" + bytes([level]) + b"\x86\x94" for level in range(60))
    return b"\x80\x04N\x94" + levels + b"."


def late_bomb() -> bytes:
    """
    As `memo_bomb`, of lists that are filled after they were shared: their size cannot be known while they are built.
    """
    levels = 40
    made = b"".join(b"]q" + bytes([level]) for level in range(levels))
    fill = b"".join(
        b"h" + bytes([level]) + b"(" + (b"h" + bytes([level + 1])) * 2 + b"e" for level in range(levels - 1)
    )
    return b"\x80\x04(" + made + fill + b"t."


def loop() -> bytes:
    return b"\x80\x04]q\x00h\x00a."


def colliding_keys() -> bytes:
    """
    100,000 keys of one hash: a dict of them takes quadratic time.
    """
    prime = (1 << 61) - 1
    keys = (number * prime for number in range(1, 100_001))
    longs = b"".join(b"\x8a" + bytes([12]) + key.to_bytes(12, "little") + b"N" for key in keys)
    return b"\x80\x04}(" + longs + b"u."


def huge_memo_index() -> bytes:
    return b"\x80\x04Nr\xff\xff\xff\x7f\x8e" + struct.pack("<Q", 1 << 62) + b"."


def globals_only(name: str, module: str, *arguments: object) -> Callable[[], bytes]:
    return torch(Call(Global(module, name, True), arguments))


EXECUTED = {
    # Row 1: SB3's loader executes these; policyc decodes four fields, and calls nothing in them either.
    "sb3-unneeded-field": HostileCase(
        1, "ppo.zip", sb3_with(lr_schedule=SYSTEM, _last_obs=EXEC), by="nobody", reader="zip"
    ),
    "sb3-unneeded-field-imports": HostileCase(
        1, "ppo.zip", sb3_with(ep_info_buffer=Global(TRIPWIRE, "nothing")), by="nobody", reader="zip"
    ),
    "sb3-needed-field": HostileCase(
        1, "ppo.zip", sb3_with(observation_space=SYSTEM), ("posix.system",), by="build", reader="zip"
    ),
    "sb3-policy-kwargs": HostileCase(
        1, "ppo.zip", sb3_with(policy_kwargs={"activation_fn": EXEC}), ("builtins.exec",), by="build", reader="zip"
    ),
    # Row 3.
    "reduce": HostileCase(3, "policy.pth", torch(SYSTEM), ("posix.system",), fires=True),
    "reduce-exec": HostileCase(3, "policy.pth", torch(EXEC), ("builtins.exec",), fires=True),
    "new": HostileCase(
        3, "policy.pth", torch(Call(Global("posix", "system"), (COMMAND,), new=True)), ("posix.system",)
    ),
    "build-on-call": HostileCase(
        3,
        "policy.pth",
        torch(Call(Global("posix", "system"), (COMMAND,), state={"a": 1})),
        ("posix.system",),
        fires=True,
    ),
    "import-only": HostileCase(3, "policy.pth", torch(Global(TRIPWIRE, "MARKER")), (TRIPWIRE,), fires=True),
    "import-in-dict": HostileCase(3, "policy.pth", torch({"a": Global(TRIPWIRE, "MARKER")}), (TRIPWIRE,), fires=True),
    "memoized-stack-global": HostileCase(3, "policy.pth", memoized_stack_global, ("posix.system",), fires=True),
    "pip-main": HostileCase(3, "policy.pth", globals_only("main", "pip", ["--version"]), ("pip.main",)),
    "timeit": HostileCase(
        3,
        "policy.pth",
        globals_only("timeit", "timeit", CODE, "pass", Global("time", "perf_counter"), 1),
        ("timeit.timeit",),
        fires=True,
    ),
    "profile": HostileCase(
        3, "policy.pth", globals_only("runctx", "cProfile", CODE, {}, {}), ("cProfile.runctx",), fires=True
    ),
    "run-code": HostileCase(
        3, "policy.pth", globals_only("_run_code", "runpy", CODE, {}), ("runpy._run_code",), fires=True
    ),
    "torch-bottleneck": HostileCase(
        3,
        "policy.pth",
        globals_only("run_cprofile", "torch.utils.bottleneck.__main__", CODE, {}),
        ("torch.utils.bottleneck.__main__.run_cprofile",),
    ),
    "torch-collect-env": HostileCase(
        3, "policy.pth", globals_only("run", "torch.utils.collect_env", COMMAND), ("torch.utils.collect_env.run",)
    ),
    "numpy-runstring": HostileCase(
        3,
        "policy.pth",
        globals_only("runstring", "numpy.testing._private.utils", CODE, {}),
        ("numpy.testing._private.utils.runstring",),
        fires=True,
    ),
    "submodule": HostileCase(
        3,
        "policy.pth",
        globals_only("_UnixSubprocessTransport._start", "asyncio.unix_events", {}, COMMAND),
        ("asyncio.unix_events",),
    ),
    "pydoc-locate": HostileCase(
        3, "policy.pth", globals_only("locate", "pydoc", TRIPWIRE), ("pydoc.locate",), fires=True
    ),
    "dotted-name": HostileCase(
        3, "policy.pth", torch(Call(Global("shutil", "os.system", True), (COMMAND,))), ("shutil.os.system",), fires=True
    ),
    "getattr-chain": HostileCase(3, "policy.pth", torch(getattr_chain()), ("builtins.getattr",), fires=True),
    "partial": HostileCase(
        3,
        "policy.pth",
        torch(Call(Call(Global("functools", "partial"), (Global("posix", "system"), COMMAND)))),
        ("functools.partial", "posix.system"),
        fires=True,
    ),
    "inst": HostileCase(
        3,
        "policy.pth",
        torch(Raw(b"(" + text(COMMAND) + b"iposix\nsystem\n")),
        ("INST", "posix.system"),
        fires=True,
    ),
    "obj": HostileCase(
        3, "policy.pth", torch(Raw(b"(cposix\nsystem\n" + text(COMMAND) + b"o")), ("OBJ", "posix.system"), fires=True
    ),
    "extension-registry": HostileCase(3, "policy.pth", torch(Raw(b"\x82\x01")), ("EXT1",)),
    "protocol-0": HostileCase(
        3,
        "policy.pth",
        lambda: torch_zip(f"cposix\nsystem\n(S{COMMAND!r}\ntR.".encode()),
        ("STRING", "posix.system"),
        fires=True,
    ),
    "nested-pickle": HostileCase(3, "policy.pth", torch(nested()), ("torch.storage._load_from_bytes",)),
    "nested-in-state-dict": HostileCase(
        3, "policy.pth", lambda: beside_tensors(extra=nested()), ("torch.storage._load_from_bytes", "extra")
    ),
    "in-state-dict": HostileCase(3, "policy.pth", lambda: beside_tensors(extra=SYSTEM), ("posix.system", "extra")),
    "in-tensor-hooks": HostileCase(3, "policy.pth", lambda: hidden_in_tensor(5), ("posix.system",)),
    "in-tensor-metadata": HostileCase(3, "policy.pth", lambda: hidden_in_tensor(6), ("posix.system",)),
    "in-tensor-storage": HostileCase(3, "policy.pth", lambda: hidden_in_tensor(0), ("posix.system",)),
    "in-tensor-size": HostileCase(3, "policy.pth", lambda: hidden_in_tensor(2), ("posix.system",)),
    "in-module-paths": HostileCase(
        3,
        "policy.pth",
        lambda: torch_zip(
            assemble(state_dict({"a": tensor("0", 3, (3,))}, metadata=Call(ORDERED_DICT, items=(("", SYSTEM),)))),
            {"0": bytes(12)},
        ),
        ("posix.system",),
    ),
    "in-module-version": HostileCase(
        3,
        "policy.pth",
        lambda: torch_zip(
            assemble(state_dict({"a": tensor("0", 3, (3,))}, metadata={"": {"version": SYSTEM}})), {"0": bytes(12)}
        ),
        ("posix.system",),
    ),
    "popped": HostileCase(3, "policy.pth", popped, ("discards", "posix.system")),
    "overwritten": HostileCase(3, "policy.pth", overwritten, ("twice",)),
    "broken-after-call": HostileCase(3, "policy.pth", broken_after_call, ("0xff", "posix.system"), fires=True),
    "behind-value": HostileCase(3, "policy.pth", behind_value, ("follow",)),
    "in-front-of-stream": HostileCase(3, "policy.pth", in_front_of_stream, ("posix.system",), fires=True),
    "in-stream": HostileCase(3, "policy.pth", lambda: torch_stream(SYSTEM, {}), ("posix.system",)),
    "in-stream-keys": HostileCase(
        3,
        "policy.pth",
        lambda: torch_stream(state_dict({"a": tensor("0", 3, (3,))}), {"0": (3, bytes(12))}, keys=[SYSTEM]),
        ("storages",),
    ),
    "in-storage": HostileCase(3, "policy.pth", in_storage, by="nobody"),
    "sb3-weights": HostileCase(
        3, "ppo.zip", lambda: sb3_zip(policy=torch_zip(assemble(SYSTEM))), ("policy.pth", "posix.system"), reader="zip"
    ),
    # Row 4: the verdict does not depend on the name.
    "raw-pickle.pth": HostileCase(4, "policy.pth", lambda: assemble(SYSTEM), ("posix.system",), fires=True),
    "raw-pickle.zip": HostileCase(4, "ppo.zip", lambda: assemble(SYSTEM), ("posix.system",), fires=True),
    "raw-pickle.bin": HostileCase(4, "weights.bin", lambda: assemble(SYSTEM), ("posix.system",), fires=True),
    "raw-pickle.pkl": HostileCase(4, "policy.pkl", lambda: assemble(SYSTEM), ("posix.system",), fires=True),
    "torch-zip.zip": HostileCase(4, "ppo.zip", torch(SYSTEM), ("posix.system",), fires=True),
    "torch-zip.txt": HostileCase(4, "notes.txt", torch(SYSTEM), ("posix.system",), fires=True),
    "member-extension": HostileCase(
        4,
        "policy.pth",
        lambda: torch_zip(assemble({"a": SYSTEM}), None, **{"data.png": b"\x89PNG"}),
        ("posix.system",),
        fires=True,
    ),
    # Row 11.
    "deep": HostileCase(11, "policy.pth", lambda: torch_zip(many_marks()), ("opcodes",)),
    "deep-within-limits": HostileCase(11, "policy.pth", lambda: torch_zip(deep_within_limits()), ("deep",)),
    "deep-pickle": HostileCase(11, "vecnormalize.pkl", many_marks, ("opcodes",), reader="pickle"),
    "memo-bomb": HostileCase(11, "policy.pth", lambda: torch_zip(memo_bomb()), ("leaves",)),
    "late-bomb": HostileCase(11, "policy.pth", lambda: torch_zip(late_bomb()), ("leaves",)),
    "loop": HostileCase(11, "policy.pth", lambda: torch_zip(loop()), ("itself",)),
    "colliding-keys": HostileCase(11, "policy.pth", lambda: torch_zip(colliding_keys()), ("key",)),
    "huge-memo-index": HostileCase(11, "policy.pth", lambda: torch_zip(huge_memo_index()), ("bytes of strings",)),
}
