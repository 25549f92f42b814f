"""What all routes share: who calls, in which language, once-only mutations, validation errors."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from flask import Response, current_app, g, jsonify, make_response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, ValidationError

from garage import tracing
from garage.api import conditional
from garage.api.problem import LOCALES
from garage.errors import N_, GarageError
from garage.services import accounts, api_tokens, idempotency
from garage.services.context import Caller, Context
from garage.services.rights import check_scope
from garage.services.views import Page

MAX_BODY = 256 * 1024
"""Bytes of a request's body; user-data is the largest thing that travels in one."""
COOKIES = ("__Host-garage", "garage")
MAX_COMPLAINTS = 20
"""Fields that one refusal names."""


def blueprint(name: str, tag: str, prefix: str = "") -> APIBlueprint:
    """A group of routes below `/api/v1` that need a bearer token and answer errors as problem+json."""
    return APIBlueprint(
        name,
        __name__,
        url_prefix=f"/api/v1{prefix}",
        abp_tags=[Tag(name=tag)],
        abp_security=[{"bearer": []}],
    )


def context() -> Context:
    """This request's: inside a mutation's transaction the one that joins it."""
    ctx: Context = g.get("joined") or current_app.extensions["garage"]
    return replace(ctx, request=tracing.current())


def locale() -> str:
    """The best of our languages for the request's Accept-Language."""
    return request.accept_languages.best_match(LOCALES) or "en"


def caller() -> Caller:
    """Who asks: a bearer token, or for reading alone the browser's session; raises `not_signed_in`."""
    if "caller" not in g:
        g.caller = _authenticate()
        check_scope(g.caller, request.method, request.path)
    found: Caller = g.caller
    return found


def _authenticate() -> Caller:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and (found := api_tokens.by_token(context(), token.strip())):
        return found
    if not kind and request.method in ("GET", "HEAD"):
        for name in COOKIES:
            if (cookie := request.cookies.get(name)) and (session := accounts.by_session(context(), cookie)):
                return accounts.with_factor(context(), *session)
    raise GarageError(
        "not_signed_in", N_("no valid token came with the request"), hint=N_("sign in with “garage login”")
    )


def answer(model: type[BaseModel], value: Any, **more: Any) -> dict[str, Any]:
    """`value` (a view, or a dict) as the JSON of `model`."""
    return model.model_validate(value, from_attributes=True).model_copy(update=more).model_dump(mode="json")


def failure(error: dict[str, Any] | None) -> dict[str, str] | None:
    """A stored error (`GarageError.as_dict()`) as answers have it: code, and detail and hint in the caller's language."""
    if not error:
        return None
    _, detail, hint = current_app.extensions["garage_translate"](GarageError.from_dict(error), locale())
    return {"code": error["code"], "detail": detail, "hint": hint}


def with_failure(model: type[BaseModel], view: Any) -> dict[str, Any]:
    """`view` as the JSON of `model`, its `error` in the caller's language."""
    fields = {name: getattr(view, name) for name in model.model_fields}
    return answer(model, fields | {"error": failure(view.error)})


def items(model: type[BaseModel], values: list[Any]) -> dict[str, Any]:
    return {"items": [answer(model, value) for value in values]}


def page(model: type[BaseModel], found: Page[Any]) -> dict[str, Any]:
    return items(model, found.items) | {"cursor": found.cursor}


def mutate(status: int, act: Callable[[Context], Any]) -> Response:
    """Run a mutation; with an Idempotency-Key header exactly once, its first answer given again; with If-Match only on what was read."""
    key = request.headers.get("Idempotency-Key")

    def run(ctx: Context) -> idempotency.Answer:
        conditional.check(ctx)
        return idempotency.Answer(status, act(ctx))

    if key is None:
        return _respond(idempotency.together(context(), run) if request.if_match else run(context()))
    who = caller()
    digest = hashlib.sha256(
        b"\n".join((request.method.encode(), request.path.encode(), request.get_data()))
    ).hexdigest()
    return _respond(idempotency.once(context(), who, key, digest, run))


def _respond(given: idempotency.Answer) -> Response:
    response = make_response("", 204) if given.status == 204 else make_response(jsonify(given.body), given.status)
    if given.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def check_query() -> None:
    """Before a route of `/api/v1`: one that declares no `query` takes none; those that do refuse what they don't know by their model."""
    check_values(request.args.items())
    if request.args and request.endpoint and request.path.startswith("/api/v1/"):
        view = current_app.view_functions[request.endpoint]
        if "query" not in inspect.signature(view).parameters:
            raise unknown_field(next(iter(request.args)))


def check_values(query: Iterable[tuple[str, str]]) -> None:
    """A database keeps no NUL, and what holds one names nothing."""
    for name, value in query:
        if "\0" in value:
            raise _complaint("nul", [name])


def unknown_field(name: str) -> GarageError:
    """Of a body or of a query."""
    return _complaint("extra_forbidden", [name])


def invalid(error: ValidationError) -> Response:
    """Turn pydantic's complaints into our `invalid_field`: told is the first, each has its JSON pointer (RFC 6901)."""
    found = error.errors(include_url=False, include_input=False)[:MAX_COMPLAINTS]
    if not all(each["loc"] for each in found):
        raise GarageError(
            "malformed_request",
            N_("the body must be a JSON object"),
            hint=N_("is it JSON in UTF-8, sent with Content-Type: application/json?"),
        )
    first, *others = (_told(dict(each)) for each in found)
    first.others = tuple(others)
    raise first


def _told(found: dict[str, Any]) -> GarageError:
    bound = _shown(next((value for name, value in found.get("ctx", {}).items() if name in _BOUNDS), ""))
    return _complaint(found["type"], found["loc"], reason=found["msg"][:200], limit=bound, allowed=bound)


def _complaint(kind: str, place: Iterable[str | int], **params: str) -> GarageError:
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)
    what, hint = _COMPLAINTS.get(kind, (N_("{field} is not valid: {reason}"), _DESCRIBED))
    return GarageError("invalid_field", what, hint=hint, pointer=pointer[:200], field=pointer[1:][:80], **params)


def _shown(bound: Any) -> str:
    """3650.0 as 3650, and pydantic's "'owner' or 'member'" without its English."""
    return f"{bound:g}" if isinstance(bound, float) else str(bound).replace("'", "").replace(" or ", ", ")


_BOUNDS = ("max_length", "min_length", "gt", "ge", "le", "expected")
_DESCRIBED = N_("/api/v1/openapi.json describes every field")
_WHOLE = N_("{field} must be a whole number"), N_("send digits, in JSON without quotation marks")
_NUMBER = N_("{field} must be a number"), N_("send digits, in JSON without quotation marks")
_ONE_OF = N_("{field} is one of {allowed}"), _DESCRIBED
_COMPLAINTS: dict[str, tuple[str, str]] = {
    "extra_forbidden": (N_("there is no field {field}"), _DESCRIBED),
    "missing": (N_("{field} is missing"), _DESCRIBED),
    "string_too_long": (N_("{field} is too long"), N_("it may have {limit} characters")),
    "string_too_short": (N_("{field} is too short"), N_("it has at least {limit} characters")),
    "string_type": (N_("{field} must be text"), _DESCRIBED),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": (N_("{field} must be true or false"), _DESCRIBED),
    "greater_than": (N_("{field} must be more than {limit}"), _DESCRIBED),
    "greater_than_equal": (N_("{field} must be {limit} or more"), _DESCRIBED),
    "less_than_equal": (N_("{field} must be {limit} or less"), _DESCRIBED),
    "string_pattern_mismatch": (N_("{field} is not valid"), _DESCRIBED),
    "nul": (N_("{field} must be text"), N_("leave control characters out")),
    "literal_error": _ONE_OF,
    "enum": _ONE_OF,
}
"""What pydantic's types of errors mean, and what helps."""
