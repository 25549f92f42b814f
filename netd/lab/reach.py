"""Who reaches whom, asked by echoes of all nodes to all others at once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from netd.lab.world import World

THREADS = 4
ASK = """
for address; do (ping -n -q -c 1 -W {seconds} "$address" >/dev/null 2>&1 || echo "$address") & done
wait
"""


def unreached(world: World, wanted: Mapping[str, Iterable[str]], *, seconds: float = 1.0) -> list[tuple[str, str]]:
    """(from node, address) of each address that another node has and that does not answer within `seconds`.

    `wanted`: the addresses of each node; nodes of one site have the same ones, which are not asked for at home.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        asked = {
            node: [address for other in wanted.values() if set(other) != set(own) for address in other]
            for node, own in wanted.items()
        }
        answers = pool.map(lambda item: _ask(world, item[0], item[1], seconds), asked.items())
        return [(node, address) for node, lost in zip(asked, answers, strict=True) for address in lost]


def _ask(world: World, node: str, addresses: Iterable[str], seconds: float) -> list[str]:
    argv = world.argv(node, ["sh", "-c", ASK.format(seconds=seconds), "sh", *dict.fromkeys(addresses)])
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + 20).stdout.split()
