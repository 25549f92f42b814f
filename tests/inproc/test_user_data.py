"""Which schema user-data is compared with, and what is refused by it."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import func, select

from garage.core.cloud_schema import trimmed
from garage.db.models import Machine
from garage.errors import GarageError
from garage.services import images, machines, user_data
from garage.services.context import Caller, Context
from garage.services.machines import NewMachine
from tests.inproc.test_image_tasks import brought

SCHEMA = trimmed(
    '{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"packages": {"type": "array"}, "runcmd": {"type": "array"},'
    ' "apt_update": {"deprecated": true, "deprecated_description": "Use package_update."}}}'
)
WRONG = "#cloud-config\npackages: 5\nruncmd: 7\n"


def knows(ctx: Context) -> None:
    """As if the default image had been built anew, and had brought what its cloud-init takes."""
    manifest = {"name": "debian-12", "user_data_schema": hashlib.sha256(SCHEMA.encode()).hexdigest()}
    for sha256 in ("77" * 32, "88" * 32):
        images.register(ctx, "debian-12", sha256, manifest, SCHEMA)


def test_user_data_that_the_images_cloud_init_does_not_take_makes_nothing(ctx: Context, alice: Caller) -> None:
    knows(ctx)
    with pytest.raises(GarageError) as caught:
        machines.create_many(ctx, alice, NewMachine(user_data=WRONG), 2)
    assert (caught.value.code, caught.value.pointer) == ("invalid_field", "/user_data/packages")
    assert [other.pointer for other in caught.value.others] == ["/user_data/runcmd"]
    with ctx.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Machine)) == 0


def test_what_is_deprecated_is_taken_with_a_warning(ctx: Context, alice: Caller) -> None:
    knows(ctx)
    made = machines.create(ctx, alice, NewMachine(name="one", user_data="#cloud-config\napt_update: true\n"))
    assert [warning.pointer for warning in made.warnings] == ["/user_data/apt_update"]
    assert machines.create(ctx, alice, NewMachine(name="two", user_data="#!/bin/sh\npackages: 5\n")).warnings == ()
    assert machines.get(ctx, alice, "one").warnings == ()


def test_an_image_that_brought_no_schema_refuses_nothing_and_says_so(ctx: Context, alice: Caller) -> None:
    (alone,) = user_data.check(ctx, alice, "debian-12", WRONG)
    assert "only the YAML" in alone.message
    knows(ctx)
    mine = brought(ctx, alice)
    first, *found = machines.create(ctx, alice, NewMachine(image="mine", user_data=WRONG)).warnings
    assert "compared with that of debian-12" in first.message
    assert [warning.pointer for warning in found] == ["/user_data/packages", "/user_data/runcmd"]
    assert len(user_data.check_for(ctx, alice, mine.id, WRONG)) == 3
