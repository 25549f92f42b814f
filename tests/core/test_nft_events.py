"""What the kernel says about nftables, as bytes."""

from __future__ import annotations

from netd.shell.nft_events import DELTABLE, HEADER, types


def message(kind: int, body: bytes = b"") -> bytes:
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, 0, 1, 0) + body + bytes(-length % 4)


def test_a_datagram_holds_several_messages_each_padded() -> None:
    assert list(types(message(2560, b"abc") + message(DELTABLE, b"abcde") + message(2576))) == [2560, DELTABLE, 2576]


def test_a_length_that_lies_ends() -> None:
    assert list(types(HEADER.pack(0, 7, 0, 0, 0) + HEADER.pack(4000, 8, 0, 0, 0) + b"rest")) == [7, 8]
    assert list(types(b"short")) == []
