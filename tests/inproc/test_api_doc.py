"""docs/api.md says what is so: each of its calls is made, one after the other, and answered as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

import web
from garage.api.app import make_flask
from garage.services.context import Caller, Context
from tests.apidoc import Shell, calls, same
from tests.inproc.served import serving
from web import catalogue
from web.i18n import translate_error

DOC = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_call_is_answered_as_it_says(ctx: Context, alice: Caller) -> None:
    catalogue.compile_all()
    written = list(calls(DOC.read_text()))
    assert len(written) > 15
    app = make_flask(ctx, translate=translate_error)
    web.register(app, ctx)
    with serving(ctx, flask=app) as served:
        shell = Shell(served.http, {"URL": "/api/v1", "AUTH": f"Authorization: Bearer {served.token(alice)}"})
        for call in written:
            shell.carry_out(call)


@pytest.mark.parametrize(
    ("told", "said", "fits"),
    [
        ({"a": 1, "…": 0}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1, "…": 0}, {"b": 2}, False),
        (["x", "…"], ["x", "y"], True),
        (["x"], ["x", "y"], False),
        ("10.…", "10.1.2.3", True),
        ("10.…", "11.1.2.3", False),
        (None, "x", False),
    ],
)
def test_a_wrong_answer_is_found(told: object, said: object, fits: bool) -> None:
    assert same(told, said) is fits
