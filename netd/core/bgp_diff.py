"""The commands that bring FRR from one configuration to another, both as FRR prints them; pure.

FRR's own frr-reload.py does the same for any configuration, but runs vtysh once for each line that goes and compares every line with
every other: with 200 sites one join took it 96 s, with 1,000 it did not end. Here only what `bgp_text.py` writes needs to be known, and
all commands go to one vtysh.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Context = tuple[str, ...]
Tree = dict[Context, list[str]]
"""Lines by the blocks they stand in, outermost first; a block without lines is there, too."""

BLOCKS = re.compile(r"router bgp \d+|address-family \S+ unicast|route-map \S+ permit \d+|bfd|profile \S+")
NOISE = re.compile(r"!.*|Building configuration\.\.\.|Current configuration:|frr version .*|no ip(v6)? forwarding|end|")
"""What is no setting of ours; whether packets are forwarded is the server's."""
SINGLE = tuple(
    map(
        re.compile,
        (
            r"(neighbor \S+ (?:remote-as|maximum-prefix|advertisement-interval|timers connect))",
            r"(neighbor \S+ route-map) \S+ (in|out)",
            r"(set (?:local-preference|src))",
            r"(match (?:ip address|ipv6 address|as-path))",
            r"(call|hostname|coalesce-time|timers bgp|bgp router-id|transmit-interval|receive-interval)\b",
            r"((?:zebra|bgp) route-map delay-timer)",
            r"((?:ip|ipv6) prefix-list \S+ seq \d+)",
            r"(bgp as-path access-list \S+ seq \d+)",
            r"((?:ip|ipv6) protocol bgp)",
        ),
    )
)
"""Lines of which there is one: a new value takes the place of the old one, which must not be taken away before or after."""
ENDS = {"address-family": ["exit-address-family"], "route-map": []}
"""How a block is left. A route map must not be: FRR would commit each by itself, which takes 6 s instead of 0.2 s for 100 sites."""
DEFAULTS = {"transmit-interval": "transmit-interval 300", "receive-interval": "receive-interval 300"}
"""What cannot be taken back by "no", and what to say instead (bfdd's BFD_DEFREQUIREDMINRX and BFD_DEFDESIREDMINTX)."""


def parse(text: str) -> Tree:
    """`show running-config`, or what `bgp_text` writes."""
    tree: Tree = {(): []}
    at: Context = ()
    for line in map(str.strip, text.splitlines()):
        if NOISE.fullmatch(line):
            continue
        if line in ("exit", "exit-address-family"):
            at = at[:-1]
        elif BLOCKS.fullmatch(line):
            at = (*at, line)
            tree.setdefault(at, [])
        else:
            tree[at].append(line)
    return tree


def commands(present: str, wanted: str) -> list[str]:
    """What `vtysh -f` is to read; nothing where there is no difference. What is new comes first, in the order of `wanted`; what goes
    comes last, users before what they use. A router of another AS goes before everything: there may be only one."""
    old, new = parse(present), parse(wanted)
    gone = [context for context in old if context not in new]
    first = [context for context in gone if len(context) == 1 and context[0].startswith("router ")]
    for context in list(old):
        if context[:1] in first:
            del old[context]
    lines = [f"no {context[0]}" for context in first] + _added(old, new) + _removed(old, new)
    return lines


def _added(old: Mapping[Context, list[str]], new: Mapping[Context, list[str]]) -> list[str]:
    lines: list[str] = []
    for context, wanted in new.items():
        present = set(old.get(context, ()))
        if missing := [line for line in wanted if line not in present]:
            lines += _within(context, missing)
        elif context and context not in old and not any(other[:-1] == context for other in new):
            lines += _within(context, [])
    return lines


def _removed(old: Mapping[Context, list[str]], new: Mapping[Context, list[str]]) -> list[str]:
    lines: list[str] = []
    for context in sorted(old, key=_last_first):
        if context not in new:
            lines += _within(context[:-1], [f"no {context[-1]}"]) if context[:-1] in new else []
        elif going := _going(old, new, context):
            lines += _within(context, [DEFAULTS.get(line.split()[0]) or f"no {line}" for line in going])
    return lines


def _last_first(context: Context) -> tuple[int, int]:
    """Routers, then route maps, then the lists that these use."""
    kind = context[0].split()[0] if context else ""
    return ({"router": 0, "route-map": 1, "bfd": 2}.get(kind, 3), len(context))


def _going(old: Mapping[Context, list[str]], new: Mapping[Context, list[str]], context: Context) -> list[str]:
    """Lines to take back. A neighbour goes as a whole, with what other blocks say of it."""
    wanted = set(new[context])
    replaced = {key for line in new[context] if (key := _key(line))}
    left = [line for line in old[context] if line not in wanted and _key(line) not in replaced]
    neighbours = _gone_neighbours(old, new, context)
    return [f"neighbor {name}" for name in neighbours if len(context) == 1] + [
        line for line in left if _neighbour(line) not in neighbours
    ]


def _gone_neighbours(old: Mapping[Context, list[str]], new: Mapping[Context, list[str]], context: Context) -> list[str]:
    names = [
        {name: None for line in tree.get(context[:1], ()) if " remote-as " in line and (name := _neighbour(line))}
        for tree in (old, new)
    ]
    return [name for name in names[0] if name not in names[1]]


def _neighbour(line: str) -> str:
    words = line.split()
    return words[1] if words[0] == "neighbor" else ""


def _key(line: str) -> tuple[str, ...]:
    """What a line sets, if a second one takes its place; () where lines stand side by side."""
    for pattern in SINGLE:
        if found := pattern.match(line):
            return found.groups()
    return ()


def _within(context: Context, lines: Iterable[str]) -> list[str]:
    ends = [end for block in reversed(context) for end in ENDS.get(block.split()[0], ["exit"])]
    return [*context, *lines, *ends]
