"""core.console: the guest's bytes are hostile."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage.core.console import LINE_CHARS, MAX_BYTES, TAIL_LINES, clean, panicked, tail


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"[    1.0] Kernel panic\r\n", "[    1.0] Kernel panic"),
        (b"\x1b[0;1;31mFAILED\x1b[0m to start\n", "FAILED to start"),
        (b"\x1b]0;title\x07hello", "hello"),
        (b"\x1b]52;c;cm0gLXJm\x1b\\hello", "hello"),
        (b"\x1bPq#0;2\x1b\\hello", "hello"),
        (b"a\x00b\x07c\x7fd", "abcd"),
        (b"50%\r100%\n", "50%\n100%"),
        ("日本語 ok".encode(), "日本語 ok"),
        (b"cut \xe6\x97", "cut \ufffd"),
        ("evil\u202etxt.exe\u200b".encode(), "eviltxt.exe"),
        (b"\x1b[", ""),
        (b"\x1b", ""),
        (b"\xc2\x9b31mred", "red"),
        (b"\n\n  \n", ""),
    ],
)
def test_tail(raw: bytes, expected: str) -> None:
    assert tail(raw) == expected


def test_a_panic_is_seen() -> None:
    assert panicked(b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)")
    assert not panicked(b"[    1.2] Command line: panic=-1 quiet\r\nno panic here")


def test_it_is_bounded() -> None:
    text = tail(b"x" * 10_000 + b"\n" + b"\n".join(str(n).encode() for n in range(100)))
    assert text.split("\n") == [str(n) for n in range(100 - TAIL_LINES, 100)]
    assert tail(b"y" * (MAX_BYTES * 2)) == "y" * LINE_CHARS


@pytest.mark.parametrize(
    "evil", [b"\x1b]" * MAX_BYTES, b"\x1b[" + b"1;" * MAX_BYTES, b"\x1bP" * MAX_BYTES, b"\x1b[" * MAX_BYTES]
)
def test_hostile_sequences_take_no_time(evil: bytes) -> None:
    begun = time.perf_counter()
    clean(evil)
    assert time.perf_counter() - begun < 1.0


@given(st.binary(max_size=2000))
def test_nothing_unprintable_is_left(raw: bytes) -> None:
    assert all(char in "\n\t" or (ord(char) >= 32 and not 0x7F <= ord(char) < 0xA0) for char in clean(raw))
