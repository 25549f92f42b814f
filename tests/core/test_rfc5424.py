"""Lines of syslog: the grammar of RFC 5424, whatever an entry says."""

from __future__ import annotations

import re

import pytest

from garage.client import rfc5424

ITEM = {
    **{"id": 7, "at": "2026-11-20T05:05:00.123Z", "actor": "alice", "action": "machine.create", "subject": "arm.alice"},
    **{"detail": {"size": "tiny"}, "project": "alice", "number": 5, "hash": "ab" * 32},
}
LINE = re.compile(
    r"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z [!-~]{1,255} garage - [!-~]{1,32} "
    r'\[audit@32473( [a-z]+="([^"\\\]]|\\["\\\]])*")+\] \ufeff[^\x00-\x1f\x7f]*'
)
PARAM = re.compile(r' ([a-z]+)="((?:[^"\\\]]|\\["\\\]])*)"')


def read(line: str) -> dict[str, str]:
    """As a receiver reads it."""
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in PARAM.findall(line)}


def test_an_entry_is_a_line() -> None:
    line = rfc5424.line(ITEM, "garage.example")
    assert line.startswith("<109>1 2026-11-20T05:05:00.123Z garage.example garage - machine.create [audit@32473 id=")
    assert line.endswith("] \ufeffalice machine.create arm.alice")
    assert read(line)["detail"] == '{"size": "tiny"}'


@pytest.mark.parametrize("text", ['"', "\\", "]", '\\"] x="y', 'a"]\\', "日本語", "[x]", " ", "", "é" * 300])
def test_what_is_printable_arrives_as_it_was(text: str) -> None:
    line = rfc5424.line(ITEM | {"subject": text, "actor": text}, "garage.example")
    assert LINE.fullmatch(line)
    assert read(line)["subject"] == read(line)["actor"] == text


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\x00", "\x1b[31m", "\u2028", "\x7f", "\udc80"])
def test_nothing_begins_another_line(text: str) -> None:
    line = rfc5424.line(ITEM | {"subject": text, "detail": {"x": text}}, "garage.example")
    assert LINE.fullmatch(line)
    assert len(line.splitlines()) == 1
    line.encode()


def test_octal_is_of_bytes() -> None:
    assert rfc5424.one_line("a\nb\u2028") == "a#012b#342#200#250"


@pytest.mark.parametrize(("host", "shown"), [("", "-"), ("日本 x", "???x"), ("h" * 300, "h" * 255)])
def test_the_header_is_ascii(host: str, shown: str) -> None:
    line = rfc5424.line(ITEM | {"action": "a" * 64, "project": None, "number": None, "hash": None, "detail": {}}, host)
    assert LINE.fullmatch(line)
    assert line.split(" ")[2] == shown
    assert set(read(line)) == {"id", "actor", "action", "subject"}
