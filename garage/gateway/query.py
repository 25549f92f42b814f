"""Queries of async routes: what a route does not know is refused, as by Flask's routes."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from garage.api.base import check_values, unknown_field


def check_query(connection: HTTPConnection, *known: str) -> None:
    """Raises `invalid_field` for a parameter that is none of `known`."""
    for name in connection.query_params:
        if name not in known:
            raise unknown_field(name)
    check_values(connection.query_params.items())
