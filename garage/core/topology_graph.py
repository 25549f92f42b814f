"""Graphs as the topology needs them: parts that hang together, and the vertices whose loss would tear one apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

Graph = Mapping[str, Collection[str]]
"""Neighbours by vertex; every vertex is a key."""


def components(graph: Graph, without: str | None = None) -> list[list[str]]:
    """Connected parts, each in order, the one with the least name first; `without` is taken out before."""
    seen = {without}
    parts = []
    for start in sorted(graph):
        if start not in seen:
            parts.append(sorted(_reach(graph, start, seen)))
    return parts


def _reach(graph: Graph, start: str, seen: set[str | None]) -> list[str]:
    """All that can be reached from `start`, marked in `seen`."""
    found, waiting = [start], [start]
    seen.add(start)
    while waiting:
        for other in graph[waiting.pop()]:
            if other not in seen:
                seen.add(other)
                found.append(other)
                waiting.append(other)
    return found


def cut_vertices(graph: Graph) -> list[str]:
    """Articulation points in order (Hopcroft and Tarjan 1973: low points of a depth-first search, here without recursion)."""
    depth: dict[str, int] = {}
    low: dict[str, int] = {}
    found: set[str] = set()
    for root in sorted(graph):
        if root not in depth:
            _search(graph, root, depth, low, found)
    return sorted(found)


def _search(graph: Graph, root: str, depth: dict[str, int], low: dict[str, int], found: set[str]) -> None:
    depth[root] = low[root] = 0
    stack: list[tuple[str, str | None, Iterator[str]]] = [(root, None, iter(graph[root]))]
    branches = 0
    while stack:
        here, parent, rest = stack[-1]
        for other in rest:
            if other not in depth:
                depth[other] = low[other] = depth[here] + 1
                stack.append((other, here, iter(graph[other])))
                break
            if other != parent:
                low[here] = min(low[here], depth[other])
        else:
            stack.pop()
            if parent is not None and parent != root:
                low[parent] = min(low[parent], low[here])
                if low[here] >= depth[parent]:
                    found.add(parent)
            branches += parent == root
    if branches > 1:
        found.add(root)


class Parts:
    """Union-find: which vertices are known to hang together."""

    def __init__(self, vertices: Iterable[str]) -> None:
        self._up = {vertex: vertex for vertex in vertices}

    def of(self, vertex: str) -> str:
        """The part's representative."""
        root = vertex
        while self._up[root] != root:
            root = self._up[root]
        while self._up[vertex] != root:
            self._up[vertex], vertex = root, self._up[vertex]
        return root

    def join(self, one: str, other: str) -> bool:
        """False when they hung together already."""
        one, other = self.of(one), self.of(other)
        self._up[max(one, other)] = min(one, other)
        return one != other
