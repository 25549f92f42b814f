"""Databases without a table, of either kind, for what brings them to a schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import Cluster

_numbers = itertools.count()


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Its address; `request.param` says of which kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/garage.db"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = f"empty{next(_numbers)}"
    yield cluster.create(name)
    cluster.drop(name)
