"""Languages: which one a request gets, and error texts in it. `translate_error` is what the API layer reuses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel.support import NullTranslations, Translations
from flask import Flask, g, request
from flask_babel import Babel, get_locale
from markupsafe import Markup

from garage.errors import GarageError, fill
from web.session import visitor
from web.words import PARAMS

LOCALES = ("en", "ja")
CATALOGUES = Path(__file__).parent / "translations"
LOCALE_COOKIE = "garage-locale"


def install(app: Flask) -> None:
    """Give the app Flask-Babel with our catalogues."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(CATALOGUES)
    Babel(app, default_locale="en", locale_selector=locale)


def locale() -> str:
    """The user's choice, else the browser's cookie, else the best of Accept-Language."""
    who = visitor()
    for choice in (who.user.locale if who else "", request.cookies.get(LOCALE_COOKIE, "")):
        if choice in LOCALES:
            return choice
    return request.accept_languages.best_match(LOCALES) or "en"


class Texts:
    """What templates call `_` and `ngettext`, with the page's language bound: a list of 50 rows asks for a thousand texts, and what
    Flask-Babel does for each of them (whose request, which locale, which catalogue) was a third of the page's time."""

    def __init__(self, locale: str) -> None:
        self.locale = locale

    def gettext(self, text: str, /, **values: Any) -> Markup:
        """As Jinja's new style: `%(name)s` is filled with escaped values, `%%` is a percent sign."""
        return _marked(self.locale, text) % values if values else _filled(self.locale, text)

    def ngettext(self, one: str, many: str, number: int, /, **values: Any) -> Markup:
        return Markup(_catalogue(self.locale).ngettext(one, many, number)) % {"num": number, **values}  # noqa: S704

    def plain(self, text: str, /, **values: Any) -> str:
        """For code: no markup, and a percent sign is one."""
        found = _translated(self.locale, text)
        return found % values if values else found


def texts() -> Texts:
    """Those of this request."""
    if "texts" not in g:
        g.texts = Texts(str(get_locale() or "en"))
    found: Texts = g.texts
    return found


def gettext(text: str, /, **values: Any) -> str:
    """In the page's language."""
    return texts().plain(text, **values)


@lru_cache(maxsize=8192)
def _translated(locale: str, text: str) -> str:
    return str(_catalogue(locale).gettext(text))


@lru_cache(maxsize=8192)
def _marked(locale: str, text: str) -> Markup:
    return Markup(_translated(locale, text))  # noqa: S704  the catalogue is ours


@lru_cache(maxsize=8192)
def _filled(locale: str, text: str) -> Markup:
    return _marked(locale, text) % {}


def translate_error(error: GarageError, locale: str) -> tuple[str, str, str]:
    """(title, message, hint) of an error, translated first and filled then."""
    catalogue = _catalogue(locale)
    params = _worded(error.params, catalogue)
    templates = (error.kind.title, error.text, error.hint)
    title, text, hint = (fill(_get(catalogue, template), params) for template in templates)
    return title, text, hint


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a page tells it."""

    code: str
    status: int
    title: str
    message: str
    hint: str
    field: str
    """The form field at fault, or empty."""
    others: tuple[str, ...] = ()
    """What else is wrong with the same field."""


def told(error: GarageError) -> Told:
    """In the page's language, with capitals: error texts are written to stand after a program's name, too."""
    title, text, hint = translate_error(error, texts().locale)
    return Told(
        error.code,
        error.kind.status,
        title,
        _sentence(error.text, text, texts().locale),
        _sentence(error.hint, hint, texts().locale),
        error.pointer.removeprefix("/").partition("/")[0],
        tuple(told(other).message for other in error.others),
    )


def sentence(error: dict[str, Any], locale: str) -> str:
    """An error that was stored (`GarageError.as_dict`), with its hint, in any language."""
    found = GarageError.from_dict(error)
    _, text, hint = translate_error(found, locale)
    return " ".join(part for part in (_sentence(found.text, text, locale), _sentence(found.hint, hint, locale)) if part)


NAMES = ("{", "docs.", "libvirt", "netd")
"""Beginnings that are names, and stay as they are."""


STOPS = {"ja": "。"}


def _sentence(template: str, text: str, locale: str) -> str:
    """With a capital, unless a name comes first (Japanese has none), and a full stop, unless a list or a command comes last."""
    begun = text if locale == "ja" or template.startswith(NAMES) else text[:1].upper() + text[1:]
    ended = not text or ":" in template or text[-1] in ".!?。"
    return begun if ended else begun + STOPS.get(locale, ".")


def _worded(params: dict[str, Any], catalogue: NullTranslations) -> dict[str, Any]:
    """The fields with keys such as `memory_mib` replaced by words."""
    return {
        name: _get(catalogue, PARAMS[name][value]) if name in PARAMS and value in PARAMS[name] else value
        for name, value in params.items()
    }


def _get(catalogue: NullTranslations, text: str) -> str:
    return str(catalogue.gettext(text)) if text else ""


@cache
def _catalogue(locale: str) -> NullTranslations:
    return Translations.load(str(CATALOGUES), [locale])
