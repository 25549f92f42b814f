"""Orders of a list of machines, each with a cursor that stays right while machines come and go."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from garage.db.models import Machine
from garage.errors import N_, GarageError

COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "name": Machine.name,
    "state": Machine.state,
    "lease": Machine.lease_until,
}
"""Beside "newest", which needs no column: ids grow with time."""
ORDERS = ("newest", *COLUMNS)
_SHAPES = {order: re.compile(r"[0-9a-f]{1,20}" if order == "newest" else r"[^~]*~[0-9a-f]{1,20}") for order in ORDERS}


def ordered(query: Select[Machine], order: str, cursor: str | None) -> Select[Machine]:
    """`query` in `order`, going on behind `cursor`; an equal value is decided by the id. Raises `invalid_field`."""
    if order not in ORDERS:
        raise GarageError(
            "invalid_field",
            N_("there is no order {order}"),
            hint=N_("there are: {have}"),
            pointer="/sort",
            order=order[:32],
            have=", ".join(ORDERS),
        )
    if cursor and not _SHAPES[order].fullmatch(cursor):
        raise _no_cursor()
    if order == "newest":
        return (query.where(Machine.id < cursor) if cursor else query).order_by(Machine.id.desc())
    column = COLUMNS[order]
    if cursor:
        value, _, last_id = cursor.rpartition("~")
        query = query.where(tuple_(column, Machine.id) > tuple_(_value(order, value), last_id))
    return query.order_by(column, Machine.id)


def _value(order: str, text: str) -> str | float:
    if order != "lease":
        return text
    try:
        return float.fromhex(text)
    except (ValueError, OverflowError):
        raise _no_cursor() from None


def _no_cursor() -> GarageError:
    hint = N_("begin at its first page")
    return GarageError("invalid_field", N_("this is no cursor of this list"), hint=hint, pointer="/cursor")


def cursor_after(machine: Machine, order: str) -> str:
    """The cursor that goes on behind `machine`; floats in hexadecimal, which loses no bit."""
    if order == "newest":
        return machine.id
    value = getattr(machine, COLUMNS[order].key)
    return f"{value.hex() if isinstance(value, float) else value}~{machine.id}"
