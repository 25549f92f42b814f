"""What the overlay's pages share."""

from __future__ import annotations

from typing import Any

from flask import Response

from web import site_words, sitemap
from web.pages.base import page


def site_view(template: str, status: int = 200, **values: Any) -> Response:
    """A page that speaks of sites and links: `w` has their words and shapes, `look_of` how a link is drawn."""
    return page(template, status, w=site_words, look_of=sitemap.look, shade=sitemap.shade, **values)
