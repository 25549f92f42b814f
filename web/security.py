"""Headers of every page and file: nothing from another host, nothing inline, no frame around it."""

from __future__ import annotations

from flask import Response, request

from web.session import ctx

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
YEAR = 31_536_000


def harden(response: Response) -> Response:
    """Pages are never stored; files whose address carries their version may be kept for a year."""
    response.headers.update(HEADERS)
    if ctx().config.tls:
        response.headers["Strict-Transport-Security"] = f"max-age={YEAR}"
    if request.endpoint == "web.static":
        fresh = "v" in request.args
        response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable" if fresh else "no-cache"
    else:
        response.headers["Cache-Control"] = "no-store"
        response.vary.update(("HX-Request", "Accept-Language", "Cookie"))
    return response
