"""`python -m tests.long.at_once HOME SIZE NAME…`: asks for machines in the same moment; prints them as JSON when ready.

One process with few words per request, so that who asks takes no processor from what is asked for.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from garage.client.api import Api
from garage.client.profiles import Profile

LOOK = 0.25
PATIENCE = 600.0


def main() -> None:
    home, size, *names = sys.argv[1:]
    listen = "127.0.0.1:8077"
    token = (Path(home) / "admin.token").read_text().strip()
    apis = [Api(Profile("burst", f"http://{listen}", token)) for _ in names]
    for api in apis:
        api.get("/pools")  # connected, before it counts
    start = threading.Barrier(len(names))

    def ask(api: Api, name: str) -> dict[str, Any]:
        start.wait()
        made: dict[str, Any] = api.post("/machines", {"name": name, "size": size})
        return made

    with ThreadPoolExecutor(len(names)) as pool:
        made = list(pool.map(ask, apis, names))
    end = time.monotonic() + PATIENCE
    while not all(machine["state"] == "ready" for machine in made) and time.monotonic() < end:
        time.sleep(LOOK)
        found = {machine["id"]: machine for machine in apis[0].get("/machines?limit=100")["items"]}
        made = [found[machine["id"]] for machine in made]
    print(json.dumps(made))


if __name__ == "__main__":
    main()
