"""The Japanese catalogue: complete, with the same placeholders, nothing fuzzy, nothing left over."""

from __future__ import annotations

import re

import pytest
from babel.messages.catalog import Catalog

from garage.core.states import Event, State
from garage.errors import KINDS, GarageError
from web import catalogue, words
from web.i18n import translate_error

FIELDS = re.compile(r"%\((\w+)\)s|\{(\w+)\}")
SAME = {"libvirt", "vCPUs", "System"}
"""Where the Japanese is no Japanese either: "OS"."""


@pytest.fixture(scope="module")
def japanese() -> Catalog:
    return catalogue.read()


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    catalogue.compile_all()


def test_every_text_of_the_sources_is_in_it(japanese: Catalog) -> None:
    wanted = {message.id for message in catalogue.extract() if message.id}
    have = {message.id for message in japanese if message.id}
    assert wanted - have == set(), "run: python -m web.catalogue update"
    assert have - wanted == set(), "run: python -m web.catalogue update"


def test_every_text_is_translated(japanese: Catalog) -> None:
    for message in japanese:
        if not message.id:
            continue
        english, text = _first(message.id), _first(message.string)
        assert text, f"not translated: {english}"
        assert not message.fuzzy, english
        assert english in SAME or re.search(r"[\u3040-\u30ff\u4e00-\u9fff]", text), f"not Japanese: {text}"


def test_placeholders_match(japanese: Catalog) -> None:
    for message in japanese:
        if message.id:
            english, text = _all(message.id)[-1], _first(message.string)
            assert sorted(FIELDS.findall(english)) == sorted(FIELDS.findall(text)), english


def test_no_percent_sign_breaks_a_page(japanese: Catalog) -> None:
    """Jinja's gettext formats every text, also one without a field."""
    for message in japanese:
        if message.id and any(str(name).endswith(".html") for name, _ in message.locations):
            for text in (*_all(message.id), *_all(message.string)):
                assert "%" not in re.sub(r"%\(\w+\)[sd]|%%", "", text), text


def _all(value: object) -> list[str]:
    return list(value) if isinstance(value, list | tuple) else [str(value)]


def _first(value: object) -> str:
    return _all(value)[0]


def test_every_state_and_event_has_a_word() -> None:
    assert set(words.STATES) == set(words.SHAPES) == {state.value for state in State}
    assert {event.value for event in (Event.START, Event.STOP, Event.DELETE)} <= set(words.EVENTS)


def test_every_action_of_the_audit_log_has_a_word() -> None:
    source = "".join(path.read_text() for path in (catalogue.ROOT / "garage").rglob("*.py"))
    actions = set(re.findall(r'audit\([^()]*?"([a-z]+\.[a-z_]+)"', source))
    assert len(actions) > 10
    assert actions - set(words.AUDIT) == set()


def test_an_error_is_told_in_both_languages() -> None:
    error = GarageError("quota_exceeded", "{project} would use {would} of {quota} {what}",
                        project="alice", would=20, quota=16, what="memory_mib")  # fmt: skip
    assert translate_error(error, "en") == ("Quota exceeded", "alice would use 20 of 16 MiB of memory", "")
    assert "メモリ（MiB）" in translate_error(error, "ja")[1]
    for code, kind in KINDS.items():
        assert translate_error(GarageError(code, "vm7"), "ja")[0] != kind.title, code
