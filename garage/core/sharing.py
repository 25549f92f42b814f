"""Which worker a node's work belongs to: every worker computes the same answer from the same two lists, so nobody has to say it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b


def share(nodes: Mapping[str, str], workers: Mapping[str, str]) -> dict[str, str]:
    """Node → worker. Rendezvous hashing with bounded loads: each node prefers workers in an order of its own, and takes the first that
    has not had its fair part, the number of nodes by that of workers, rounded up. So a worker that comes or goes moves few nodes more
    than it must.

    `nodes`: name → the only home whose workers reach it, "" for a node that every worker reaches. `workers`: id → its home. A node
    that no worker reaches is left out.
    """
    most = -(-len(nodes) // max(1, len(workers)))
    load, found = dict.fromkeys(workers, 0), {}
    for name, home in sorted(nodes.items(), key=lambda item: (not item[1], item[0])):  # those with less choice first
        order = sorted((w for w, at in workers.items() if not home or at == home), key=lambda w: _weight(name, w))
        if not order:
            continue
        chosen = next((worker for worker in order if load[worker] < most), min(order, key=load.__getitem__))
        load[chosen] += 1
        found[name] = chosen
    return found


def _weight(node: str, worker: str) -> bytes:
    return blake2b(f"{node}\0{worker}".encode(), digest_size=8).digest()
