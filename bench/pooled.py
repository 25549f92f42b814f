"""A pool of a known size for as long as a benchmark needs it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from garage.client.api import Api

IMAGE = "debian-12"
PATIENCE = 900.0


@contextmanager
def fixed(api: Api, size: str, count: int) -> Iterator[None]:
    """The pool of the default image in `size` holds `count` per node, and after that what it held before."""
    before = _pool(api, IMAGE, size)
    api.put(f"/pools/{IMAGE}/{size}", {"fixed": count})
    try:
        wait_for(api, IMAGE, size, count)
        yield
    finally:
        api.put(f"/pools/{IMAGE}/{size}", {"fixed": before["fixed"]})


def wait_for(api: Api, image: str, size: str, count: int) -> None:
    """Until exactly `count` wait and none is starting."""
    end = time.monotonic() + PATIENCE
    while True:
        pool = _pool(api, image, size)
        if (pool["waiting"], pool["starting"]) == (count, 0):
            return
        if time.monotonic() > end:
            raise RuntimeError(f"the pool of {image} {size} does not reach {count}: {pool}")
        time.sleep(0.5)


def _pool(api: Api, image: str, size: str) -> dict[str, int | None]:
    items = api.get("/pools")["items"]
    none: dict[str, int | None] = {"waiting": 0, "starting": 0, "fixed": None}
    return next((item for item in items if (item["image"], item["size"]) == (image, size)), none)
