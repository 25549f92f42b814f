"""What breaks a client is named; what does not is no trouble."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from garage.api import published
from garage.core.api_changes import breaking

Doc = dict[str, Any]


def document() -> Doc:
    thing = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 64},
            "kind": {"$ref": "#/components/schemas/Kind"},
            "parent": {"anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}]},
        },
        "required": ["name"],
    }
    json_ = {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
    query = {"in": "query", "name": "limit", "required": False, "schema": {"type": "integer", "maximum": 200}}
    post = {"parameters": [query], "requestBody": {"content": json_}, "responses": {"201": {"content": json_}}}
    schemas = {"Thing": thing, "Kind": {"type": "string", "enum": ["a", "b"]}}
    return {"paths": {"/things": {"post": post}}, "components": {"schemas": schemas}}


def post(doc: Doc) -> Any:
    return doc["paths"]["/things"]["post"]


def thing(doc: Doc) -> Any:
    return doc["components"]["schemas"]["Thing"]


BREAK: dict[str, Callable[[Doc], Any]] = {
    "POST /things: is gone": lambda d: d["paths"]["/things"].pop("post"),
    "POST /things: takes no query parameter limit any more": lambda d: post(d)["parameters"].pop(),
    "POST /things: needs the query parameter limit": lambda d: post(d)["parameters"][0].update(required=True),
    "POST /things: takes query limit only with maximum 100": lambda d: post(d)["parameters"][0]["schema"].update(
        maximum=100
    ),
    "POST /things: needs a body now": lambda d: post(d)["requestBody"].update(required=True),
    "POST /things: answers 201 no more": lambda d: post(d)["responses"].pop("201"),
    "POST /things: takes no /kind any more": lambda d: thing(d)["properties"].pop("kind"),
    "POST /things: gives no /kind any more": lambda d: thing(d)["properties"].pop("kind"),
    "POST /things: needs /kind": lambda d: thing(d)["required"].append("kind"),
    "POST /things: takes /name only with maxLength 32": lambda d: thing(d)["properties"]["name"].update(maxLength=32),
    "POST /things: takes /name no more as string": lambda d: thing(d)["properties"]["name"].update(type="integer"),
    "POST /things: gives /name as integer": lambda d: thing(d)["properties"]["name"].update(type="integer"),
    "POST /things: takes /kind no more as b": lambda d: d["components"]["schemas"]["Kind"].update(enum=["a"]),
}


@pytest.mark.parametrize("line", BREAK)
def test_what_breaks_is_named(line: str) -> None:
    after = copy.deepcopy(document())
    BREAK[line](after)
    assert line in breaking(document(), after)


def test_what_is_added_breaks_nothing() -> None:
    after = document()
    thing(after)["properties"]["colour"] = {"type": "string"}
    thing(after)["properties"]["name"]["maxLength"] = 128
    after["components"]["schemas"]["Kind"]["enum"].append("c")
    post(after)["parameters"].append({"in": "query", "name": "sort", "schema": {"type": "string"}})
    after["paths"]["/others"] = after["paths"]["/things"]
    assert breaking(document(), after) == []
    assert breaking(after, after) == []


def test_the_document_that_is_checked_in_is_kept() -> None:
    """Whatever of it a client may rely on is there still. Where it must go all the same: docs/api.md, “What changes, and what does not”."""
    assert breaking(json.loads(published.FILE.read_text()), published.present()) == []


def test_the_document_is_not_written_when_a_client_would_break(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = published.present()
    more["paths"]["/api/v1/gone"] = more["paths"]["/api/v1/me"]
    monkeypatch.setattr(published, "FILE", tmp_path / "openapi.json")
    published.FILE.write_text(published.text(more))
    assert published.main([]) == 1
    assert "GET /api/v1/gone: is gone" in capsys.readouterr().err
    assert json.loads(published.FILE.read_text()) == more
    assert published.main(["--break"]) == 0
    assert json.loads(published.FILE.read_text()) == published.present()


def test_refusals_that_are_told_one_by_one_break_nothing() -> None:
    refused = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}
    before, after = document(), document()
    post(before)["responses"]["4XX"] = refused
    after["components"]["responses"] = {"409": refused}
    post(after)["responses"]["409"] = {"$ref": "#/components/responses/409"}
    assert breaking(before, after) == []
    assert breaking(after, before) == ["POST /things: answers 409 no more"]
