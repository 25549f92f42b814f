"""STUN's Binding: against the test vectors of RFC 5769, and never more said than asked."""

from __future__ import annotations

import pytest

from netd.core.stun import HEADER, LARGEST, SMALLEST, answer, mapped, request

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
RFC5769_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
"""Section 2.2: 192.0.2.1, port 32853."""
RFC5769_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a147"
    "0113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
"""Section 2.3: 2001:db8:1234:5678:11:2233:4455:6677, port 32853."""


def test_the_rfc_s_own_answers_are_read() -> None:
    assert mapped(RFC5769_IPV4, TRANSACTION) == ("192.0.2.1", 32_853)
    assert mapped(RFC5769_IPV6, TRANSACTION) == ("2001:db8:1234:5678:11:2233:4455:6677", 32_853)
    assert mapped(RFC5769_IPV4, bytes(12)) is None
    for cut in range(len(RFC5769_IPV4)):
        assert mapped(RFC5769_IPV4[:cut], TRANSACTION) is None


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::7"])
@pytest.mark.parametrize("size", [SMALLEST, 1232, 1472])
def test_there_and_back(address: str, size: int) -> None:
    asked = request(TRANSACTION, size)
    said = answer(asked, address, 51_820)
    assert said is not None
    assert len(asked) == size
    assert len(said) <= SMALLEST
    assert mapped(said, TRANSACTION) == (address, 51_820)


def test_every_size_is_a_well_formed_question() -> None:
    for size in range(SMALLEST, 4000, 4):
        asked = request(TRANSACTION, size)
        assert len(asked) == size
        rest = asked[HEADER:]
        while rest:
            assert len(rest) >= 4
            rest = rest[4 + int.from_bytes(rest[2:4]) :]
    assert LARGEST < 65_508


def test_a_mapped_ipv4_address_is_told_as_ipv4() -> None:
    said = answer(request(TRANSACTION), "::ffff:192.0.2.9", 7)
    assert said is not None
    assert mapped(said, TRANSACTION) == ("192.0.2.9", 7)


def test_only_large_questions_are_answered() -> None:
    """The answer to a small one would be more than was asked."""
    asked = request(TRANSACTION)
    for wrong in (
        b"",
        asked[:HEADER],
        request(TRANSACTION, 28),
        asked[:-1],
        bytes(64),
        b"\x01" + asked[1:],
        asked + bytes(4),
    ):
        assert answer(wrong, "192.0.2.1", 1) is None
    assert answer(RFC5769_IPV6, "192.0.2.1", 1) is None
