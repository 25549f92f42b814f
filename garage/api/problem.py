"""Errors as problem+json (RFC 9457), in the caller's language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from garage.errors import N_, GarageError, fill

LOCALES = ("en", "ja")
NAMED = N_("/api/v1/openapi.json names every address and what it takes")
Translate = Callable[[GarageError, str], tuple[str, str, str]]
"""(error, locale) -> (title, message, hint), fields filled."""


def in_english(error: GarageError, _locale: str) -> tuple[str, str, str]:
    """The translation that needs no catalogue."""
    return error.kind.title, error.message, fill(error.hint, error.params)


def problem(
    error: GarageError, locale: str = "en", translate: Translate = in_english
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """(body, HTTP status, headers) of an error. `code` is stable and for programs, the texts are for people."""
    title, detail, hint = translate(error, locale)
    body: dict[str, Any] = {"type": f"urn:garage:error:{error.code}", "status": error.kind.status, "code": error.code}
    body |= {"title": title, "detail": detail}
    if hint:
        body["hint"] = hint
    if error.pointer:
        told = (error, *(other for other in error.others if other.pointer))
        body["errors"] = [{"pointer": each.pointer, "detail": translate(each, locale)[1]} for each in told]
    headers = {"Content-Type": "application/problem+json", "Content-Language": locale, "Cache-Control": "no-store"}
    if error.code == "too_many_attempts":
        headers["Retry-After"] = str(60 * int(error.params.get("minutes", 1)))
    if error.code == "too_many_requests":
        headers["Retry-After"] = str(int(error.params.get("seconds", 1)))
    if error.kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="garage"'
    return body, error.kind.status, headers
