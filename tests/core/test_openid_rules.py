"""What an admin may set, and what people who come by OpenID Connect are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from garage import config
from garage.core import names, openid
from garage.errors import GarageError

GOOD = {"issuer": "https://id.example/realms/lab", "client_id": "garage", "domains": ["example.ac.jp"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": "http://id.example"}, "https"),
        ({"issuer": "https://id.example?x=1"}, "https"),
        ({"issuer": "https://me@id.example"}, "https"),
        ({"issuer": "https://[id"}, "https"),
        ({"issuer": None}, "issuer"),
        ({"domains": None}, "who may come in"),
        ({"domains": []}, "who may come in"),
        ({"domains": "example.ac.jp"}, "list"),
        ({"domains": [7]}, "list"),
        ({"label": 7}, "text"),
        ({"secret": "x"}, "secret is not known"),
        ({"scopes": ["email"]}, "scopes"),
        ({"second_factor": "never"}, "second_factor"),
        ({"proof": "never"}, "proof"),
    ],
)
def test_what_is_not_usable_is_named(changes: dict[str, Any], said: str) -> None:
    table = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(GarageError) as refused:
        openid.read(table, "garage.toml")
    assert refused.value.code == "config"
    assert said in refused.value.message


def test_the_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "garage.toml").write_text(
        '[openid]\nissuer = "http://127.0.0.1:9400"\nclient_id = "garage"\ngroups = ["lab"]\n'
    )
    found = config.load({"GARAGE_HOME": str(tmp_path)})
    assert found.openid is not None
    assert (found.openid.called, found.openid.groups) == ("127.0.0.1:9400", ("lab",))
    assert found.openid_secret == tmp_path / "keys" / "openid.secret"
    assert config.load({"GARAGE_HOME": str(tmp_path / "none")}).openid is None


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Dana.Scully"}, "dana-scully"),
        ({"preferred_username": "dana@example.ac.jp"}, "dana"),
        ({"preferred_username": "山田", "email": "yamada_t@example.ac.jp"}, "yamada-t"),
        ({"preferred_username": "Åsa--Öst_"}, "asa-ost"),
        ({"email": "007bond@example.ac.jp"}, "bond"),
        ({"preferred_username": "localhost", "email": "123@example.ac.jp"}, "user"),
        ({"preferred_username": ["root"], "email": None}, "user"),
        ({"preferred_username": "x" * 80}, "x" * 32),
        ({}, "user"),
    ],
)
def test_names(claims: dict[str, Any], name: str) -> None:
    assert openid.base_name(claims) == name


@given(st.text(max_size=80), st.integers(min_value=1, max_value=10**6))
def test_whatever_somebody_is_called_a_name_comes_of_it(said: str, number: int) -> None:
    base = openid.base_name({"preferred_username": said})
    found = openid.numbered(base, number)
    assert names.check_label(found, field="name") == found
    assert found.startswith(base[:20])


LAB = openid.OpenId("https://id.example", "garage", domains=("example.ac.jp",))
TRUSTED = replace(LAB, proof="sign-in")
NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("rules", "said", "asked_at", "proved_at"),
    [
        (LAB, NOW - 9, None, NOW - 9),
        (LAB, NOW - 9_000, None, NOW - 9_000),
        (LAB, NOW + 50, None, NOW),
        (LAB, None, None, 0.0),
        (LAB, 0, None, 0.0),
        (LAB, NOW - 20, NOW - 30, NOW - 20),
        (LAB, NOW - 80, NOW - 30, NOW - 80),
        (TRUSTED, None, None, NOW),
        (TRUSTED, None, NOW - 30, NOW),
        (TRUSTED, NOW - 9_000, None, NOW - 9_000),
    ],
)
def test_when_somebody_was_asked(
    rules: openid.OpenId, said: float | None, asked_at: float | None, proved_at: float
) -> None:
    assert openid.proved_at(rules, {"auth_time": said}, NOW, asked_at) == proved_at


@pytest.mark.parametrize(
    ("rules", "said", "asked_at", "why"),
    [
        (LAB, NOW - 100, NOW - 30, "without asking"),
        (TRUSTED, NOW - 100, NOW - 30, "without asking"),
        (LAB, None, NOW - 30, "does not say when"),
        (LAB, NOW + 90, None, "auth_time"),
        (TRUSTED, NOW + 90, NOW - 30, "auth_time"),
        (LAB, float("inf"), None, "auth_time"),
        (LAB, float("nan"), None, "auth_time"),
        (LAB, True, None, "auth_time"),
        (LAB, -5, None, "auth_time"),
        (LAB, "1000000", None, "auth_time"),
    ],
)
def test_what_is_no_proof_is_refused(rules: openid.OpenId, said: object, asked_at: float | None, why: str) -> None:
    with pytest.raises(GarageError, match="not to be trusted" if why == "auth_time" else "proves nothing") as refused:
        openid.proved_at(rules, {"auth_time": said}, NOW, asked_at)
    assert refused.value.code == "openid_failed"
    assert why in refused.value.message + str(refused.value.params)
