"""
The pickle machine: equal to pickle on plain values, records for everything else, and refusals that say where.
"""

import collections
import pickle
import pickletools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import CheckpointError
from compiler.readers.limits import Limits
from compiler.readers.pickle_machine import (
    EXCLUDED,
    OPERATIONS,
    Call,
    Persistent,
    Symbol,
    decode,
    decode_prefix,
    mapping,
)
from tests.hostile import assemble as a
from tests.hostile.assemble import assemble

keys = st.one_of(st.none(), st.booleans(), st.integers(-(2**59), 2**59), st.text(), st.binary())
scalars = st.one_of(keys, st.floats(allow_nan=False), st.integers(-(2**200), 2**200), st.binary().map(bytearray))
values = st.recursive(
    st.one_of(scalars, st.sets(keys), st.frozensets(keys)),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(keys, inner)),
)


class Custom:
    """
    Something that pickle writes as a global and a state.
    """

    size: int


def plain(value):
    """
    The value with bytes for bytearrays, as the machine gives it.
    """
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return {key: plain(content) for key, content in value.items()} if isinstance(value, dict) else value


@given(values, st.sampled_from([4, 5]))
def test_equals_pickle_on_plain_values(value, protocol) -> None:
    # Protocol 4 writes a bytearray as a call.
    expected = plain(value)
    decoded = decode(pickle.dumps(value if protocol == 5 else expected, protocol), "x")
    assert decoded == expected
    assert type(decoded) is type(expected)


@given(values.map(plain))
def test_equals_pickle_on_plain_values_in_protocols_2_and_3(value) -> None:
    def scalar_only(inner) -> bool:
        if isinstance(inner, (set, frozenset)):
            return False
        if isinstance(inner, (list, tuple)):
            return all(map(scalar_only, inner))
        return all(map(scalar_only, inner.values())) if isinstance(inner, dict) else True

    if scalar_only(value):
        assert decode(pickle.dumps(value, 3), "x") == value


def test_knows_46_opcodes_and_names_all_others() -> None:
    names = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
    assert len(OPERATIONS) + 1 == 46
    assert {code: name for code, name in names.items() if ord(code) not in OPERATIONS and name != "STOP"} == EXCLUDED
    for code, name in EXCLUDED.items():
        with pytest.raises(CheckpointError, match=name):
            decode(b"\x80\x04(N" + code + b"os\nsystem\n.", "x")


def test_globals_become_symbols_and_calls_become_records() -> None:
    decoded = decode(pickle.dumps(Custom, 4), "x")
    assert decoded == Symbol(Custom.__module__, "Custom")
    assert decoded.path == f"{Custom.__module__}.Custom"
    instance = Custom()
    instance.size = 3
    call = decode(pickle.dumps(instance, 2), "x")
    assert isinstance(call, Call)
    assert (call.function, call.arguments, call.keywords, call.state) == (decoded, (), {}, {"size": 3})


def test_items_appends_and_keywords_are_recorded() -> None:
    # list subclass: NEWOBJ, then APPENDS on its result; keywords: NEWOBJ_EX.
    made = a.Raw(b"cm\nList\n)\x81(K\x01K\x02e(K\x03K\x04uK\x05a")
    call = decode(assemble(made), "x")
    assert isinstance(call, Call)
    assert call.appends == [1, 2, 5]
    assert call.items == [(3, 4)]
    call = decode(b"\x80\x04cm\nN\n)}\x8c\x01kK\x07s\x92.", "x")
    assert isinstance(call, Call)
    assert call.keywords == {"k": 7}


def test_persistent_ids_and_prefixes() -> None:
    data = assemble(a.Reference(("storage", 1)))
    assert decode(data, "x") == Persistent(("storage", 1))
    assert decode_prefix(data + b"more", "x") == (Persistent(("storage", 1)), len(data))
    with pytest.raises(CheckpointError, match="4 bytes follow"):
        decode(data + b"more", "x")


def test_sharing_is_kept() -> None:
    inner: list = []
    decoded = decode(pickle.dumps((inner, inner), 4), "x")
    assert isinstance(decoded, tuple)
    assert decoded[0] is decoded[1]


def test_cloudpickled_functions_leave_a_call_that_nobody_knows() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    decoded = decode(cloudpickle.dumps({"activation_fn": lambda: 1, "net_arch": [8]}), "x")
    assert isinstance(decoded, dict)
    assert decoded["net_arch"] == [8]
    assert decoded["activation_fn"].function.path == "cloudpickle.cloudpickle._make_function"


class TestMapping:
    def test_takes_every_form_of_a_dict(self) -> None:
        expected = {"b": 1, "a": 2}
        ordered = collections.OrderedDict(expected)
        pairs = a.Call(a.Global("collections", "OrderedDict"), ([["b", 1], ["a", 2]],))
        forms = [pickle.dumps(expected, 4), *(pickle.dumps(ordered, protocol) for protocol in (2, 4)), assemble(pairs)]
        for form in forms:
            assert list(mapping(decode(form, "x"), "x").items()) == list(expected.items())

    def test_names_what_is_no_dict(self) -> None:
        with pytest.raises(CheckpointError, match=r"x: expected a dict, found an object of 'posix.system'"):
            mapping(decode(assemble(a.Call(a.Global("posix", "system"), ("true",))), "x"), "x")

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (a.Call(a.Global("collections", "OrderedDict"), items=(("a", 1), ("a", 2))), "twice"),
            (a.Call(a.Global("collections", "OrderedDict"), items=(((1, 2), 1),)), "unfit key"),
            (a.Call(a.Global("collections", "OrderedDict"), ([1, 2],)), "damaged"),
            (a.Call(a.Global("collections", "OrderedDict"), (7,)), "OrderedDict of 7"),
            (a.Call(a.Global("collections", "OrderedDict"), ((), ())), "damaged"),
        ],
    )
    def test_refuses_damaged_dicts(self, call, words) -> None:
        with pytest.raises(CheckpointError, match=words):
            mapping(decode(assemble(call), "x"), "x")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "truncated"),
        (b"\x80\x04", "truncated"),
        (b"\x80\x04N", "truncated"),
        (b"\x80\x04.", "one value"),
        (b"\x80\x04NN.", "one value"),
        (b"\x80\x04(N.", "one value"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x80\x01N.", "protocol 1"),
        (b"N\x80\x04.", "protocol"),
        (b"\x80\x04\x95" + struct.pack("<Q", 9) + b"N.", "frame"),
        (b"\x80\x04\x8c\x05ab.", "truncated"),
        (b"\x80\x04\x8c\x01\xff.", "UTF-8"),
        (b"\x80\x04X\x03\x00\x00\x00\xed\xa0\x80.", "UTF-8"),
        (b"\x80\x04t.", "group"),
        (b"\x80\x04\x86.", "empty stack"),
        (b"\x80\x04N(\x85.", "empty stack"),
        (b"\x80\x04h\x00.", "never stored"),
        (b"\x80\x04Nq\x00Nq\x00\x86.", "twice"),
        (b"\x80\x04\x94.", "empty stack"),
        (b"\x80\x04NNa.", "appends to None"),
        (b"\x80\x04}(Nu.", "without a value"),
        (b"\x80\x04N(NNu.", "items of None"),
        (b"\x80\x04}]Ns.", "as a key"),
        (b"\x80\x04})Ns.", "as a key"),
        (b"\x80\x04}NNsNNs.", "twice"),
        (b"\x80\x04\x8f(]\x90.", "in a set"),
        (b"\x80\x04](N\x90.", "set members"),
        (b"\x80\x04(]\x91.", "in a set"),
        (b"\x80\x04NN\x93.", "two strings"),
        (b"\x80\x04cos\nsystem", "does not end"),
        (b"\x80\x04c" + b"a" * 2000 + b"\nb\n.", "does not end"),
        (b"\x80\x04N)R.", "calls None"),
        (b"\x80\x04cos\nsystem\nNR.", "not a tuple"),
        (b"\x80\x04cos\nsystem\n)N\x92.", "keywords"),
        (b"\x80\x04cos\nsystem\n)}NNs\x92.", "keywords"),
        (b"\x80\x04cos\nsystem\nNb.", "sets the state of the global 'os.system'"),
        (b"\x80\x04cos\nsystem\n)RK\x01bK\x01b.", "twice"),
        (b"\x80\x04NN0.", "discards None"),
    ],
)
def test_refuses_damage_and_says_where(data: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x: the pickle .*{words}.*, at byte \d"):
        decode(data, "x")


def test_limits_are_inclusive() -> None:
    assert decode(b"\x80\x04NNN\x87.", "x", Limits(opcodes=5)) == (None, None, None)
    with pytest.raises(CheckpointError, match="too many opcodes"):
        decode(b"\x80\x04NNN\x87.", "x", Limits(opcodes=4))
    text = pickle.dumps(["ab", b"cd"], 4)
    assert decode(text, "x", Limits(literal_bytes=4)) == ["ab", b"cd"]
    with pytest.raises(CheckpointError, match="bytes of strings"):
        decode(text, "x", Limits(literal_bytes=3))
    nested = pickle.dumps([[[1]]], 4)
    assert decode(nested, "x", Limits(depth=3)) == [[[1]]]
    with pytest.raises(CheckpointError, match="nested more than 2 deep"):
        decode(nested, "x", Limits(depth=2))
    assert decode(nested, "x", Limits(leaves=4)) == [[[1]]]
    with pytest.raises(CheckpointError, match="more than 3 leaves"):
        decode(nested, "x", Limits(leaves=3))


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b"\x85"), (b"", b"Q"), (b"]", b"a"), (b"}N", b"s"), (b"cm\nn\n)R", b"b"), (b"cm\nn\n", b"\x85R")],
)
def test_every_kind_of_nesting_counts(before: bytes, after: bytes) -> None:
    with pytest.raises(CheckpointError, match="deep"):
        decode(b"\x80\x04" + before * 200 + b"N" + after * 200 + b".", "x")


def test_a_call_that_is_shared_widely_takes_linear_time() -> None:
    items = b"(" + b"NN" * 60_000 + b"u"
    data = b"\x80\x04cm\nn\n)R" + items + b"\x94](" + b"h\x00" * 100_000 + b"e\x86."
    with pytest.raises(CheckpointError, match="leaves"):
        decode(data, "x")
