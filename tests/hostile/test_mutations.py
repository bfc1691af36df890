"""
Damaged files give a value or a PolicycError, and nothing else.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.errors import CheckpointError, PolicycError
from tests.hostile.mutations import mutate, rechecked, seeds

PATIENT = settings(max_examples=1500, deadline=5000, suppress_health_check=list(HealthCheck), derandomize=True)
seed_numbers = st.integers(0, 2**64)


@pytest.mark.parametrize("kind", seeds())
def test_seeds_are_good(kind: str) -> None:
    read, goods = seeds()[kind]
    for good in goods:
        read(good)
        assert rechecked(good) == good


@pytest.mark.parametrize("checked", [False, True], ids=["as-they-are", "with-right-checksums"])
@pytest.mark.parametrize("kind", seeds())
def test_damage_is_refused_or_harmless(kind: str, checked: bool) -> None:
    read, goods = seeds()[kind]
    refused = 0

    @PATIENT
    @given(seed_numbers)
    def attempt(seed: int) -> None:
        nonlocal refused
        chance = random.Random(seed)
        data = mutate(chance.choice(goods), chance.choice(goods), chance)
        try:
            read(rechecked(data) if checked else data)
        except PolicycError as error:
            refused += str(error).isascii()

    attempt()
    assert refused


@settings(PATIENT, max_examples=400)
@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for read, _ in seeds().values():
        for data in (
            noise,
            b"PK\x03\x04" + noise,
            b"\x80\x04" + noise,
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P." + noise,
        ):
            try:
                read(data)
            except PolicycError:
                continue


@pytest.mark.parametrize("kind", ["zip", "tensors", "stream", "vecnormalize"])
def test_every_truncation_is_refused(kind: str) -> None:
    read, goods = seeds()[kind]
    good = goods[0]
    for length in {*range(0, len(good), 37), *range(len(good) - 120, len(good))}:
        with pytest.raises(CheckpointError):
            read(good[:length])
