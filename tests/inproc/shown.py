"""Alice's terminal and browser, for tests of what commands and pages show; the worker is played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from garage.services.context import Caller, Context
from tests.inproc.served import serving
from tests.inproc.test_cli import Shell
from tests.inproc.test_machine_pages import Browser, browse


@pytest.fixture
def shell(ctx: Context, alice: Caller, tmp_path: Path) -> Iterator[Shell]:
    with serving(ctx) as served:
        yield Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))


@pytest.fixture
def browser(ctx: Context, alice: Caller) -> Browser:
    return browse(ctx, alice)
