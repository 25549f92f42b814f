"""Sites and links as pages show them: the links of two sites as one, who is said to announce what; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from garage.core.samples import Sample
from garage.services.site_views import LinkView, SiteView
from web.sitemap import Place, Tie

BEST = ("up", "draining", "waiting", "down")
CLAIM = re.compile(
    r"site (\S{1,63}) announces (?:(\S{1,64}), (which belongs to|a part of what belongs to|by a way) (.{1,100})"
    r"|(?:at least )?(\d{1,9}) more things that are wrong)"
)
"""What `netd/core/bgp_alarms.py` says."""
KINDS = {"which belongs to": "whole", "a part of what belongs to": "part", "by a way": "way"}
VOLUME = re.compile(r"line (\S{1,64}): ([0-9.]{1,12}) of ([0-9.e+]{1,12}) GiB are used in \S{1,20}(; other .{1,120})?")
"""What `netd/core/volume.py` says of a line's monthly volume."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A site says of another that it announces a prefix."""

    accused: str
    prefix: str
    owner: str
    """Empty where the prefix is nobody's, or where not the owner but the way is wrong."""
    by: str
    kind: str = "whole"
    """whole, part (of what the owner has), nobody, way (that cannot be), more (`prefix` is how many things more)."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A line of a node nears its monthly volume. GiB."""

    line: str
    used: str
    cap: str
    level: str
    """warn, spare (others are asked to go other ways), stop (nothing of other sites passes)."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a way between two sites in figures. Times in ms, loss from 0 to 1; None where nothing was measured."""

    least: float | None
    middle: float | None
    high: float | None
    """What 19 of 20 minutes stay below."""
    loss: float | None
    minutes: int
    """How many were measured."""


def ties(links: Iterable[LinkView]) -> list[Tie]:
    """One per two sites, ordered; links within a site are left out. Links being replaced count only while there is no other."""
    between: dict[tuple[str, str], list[LinkView]] = defaultdict(list)
    for link in links:
        if link.a_site != link.b_site:
            between[min((link.a_site, link.b_site), (link.b_site, link.a_site))].append(link)
    return [_tie(pair, found) for pair, found in sorted(between.items())]


def _tie(pair: tuple[str, str], links: Sequence[LinkView]) -> Tie:
    staying = [link for link in links if link.state != "draining"] or list(links)
    best = min(links, key=lambda link: (BEST.index(link.state), link.rtt_ms is None, link.rtt_ms or 0.0))
    live = best.state in ("up", "draining")
    rates = [max(link.a_to_b_bps or 0.0, link.b_to_a_bps or 0.0) for link in links if link.measured_at is not None]
    return Tie(
        *pair,
        best.state,
        rtt_ms=best.rtt_ms if live else None,
        loss=best.loss if live else None,
        rate=sum(rates) if rates else None,
        jitter_ms=best.jitter_ms if live else None,
        links=len(staying),
        links_up=sum(link.state in ("up", "draining") for link in staying),
    )


def claims(sites: Iterable[SiteView]) -> list[Claim]:
    """Each once per site that says it, ordered by who is accused, of what is known in full first."""
    found = {claim for site in sites for text in site.alarms if (claim := _claim(text, site.name))}
    return sorted(found, key=lambda claim: (claim.accused, claim.kind == "more", claim.prefix, claim.by))


def _claim(text: str, by: str) -> Claim | None:
    if not (match := CLAIM.fullmatch(text)):
        return None
    accused, prefix, words, whose, more = match.groups()
    if more:
        return Claim(accused, more, "", by, "more")
    kind = KINDS[words]
    if kind == "way":
        return Claim(accused, prefix, "", by, kind)
    return Claim(accused, prefix, "", by, "nobody") if whose == "nobody" else Claim(accused, prefix, whose, by, kind)


def others(site: SiteView) -> list[str]:
    """Alarms of a site that name nobody in a way that we understand, as it words them."""
    return [text for text in site.alarms if not CLAIM.fullmatch(text)]


def volumes(problems: Iterable[str]) -> tuple[list[Volume], list[str]]:
    """(the lines that near their volume, the problems that are none of that)."""
    found, rest = [], []
    for text in problems:
        if match := VOLUME.fullmatch(text):
            line, used, cap, then = match.groups()
            found.append(Volume(line, used, cap, "stop" if "stopped" in (then or "") else "spare" if then else "warn"))
        else:
            rest.append(text)
    return found, rest


LEVELS = ("", "warn", "spare", "stop")
"""Of a line's volume, what matters more later."""


def volume(site: SiteView) -> str:
    """The worst level of the site's lines, as far as its netd says; one that has stopped reporting says nothing of now."""
    if site.state == "silent":
        return ""
    said = [line.level for node in site.nodes for line in volumes(node.problems)[0]]
    return max(said, key=LEVELS.index, default="")


def state_of(site: SiteView) -> str:
    """The registry's own site is never invited: its netd joins by itself."""
    return "joining" if site.own and site.state == "invited" else site.state


def places(sites: Iterable[SiteView], invited: Iterable[str], accused: Iterable[str]) -> list[Place]:
    """Sites, and those that an open invitation waits for."""
    blamed = set(accused)
    found = {site.name: _place(site, site.name in blamed) for site in sites}
    return [*found.values(), *(Place(name, "invited") for name in sorted(set(invited) - set(found)))]


def _place(site: SiteView, accused: bool) -> Place:
    return Place(site.name, state_of(site), site.hub, site.own, accused, _at(site), volume(site))


def _at(site: SiteView) -> tuple[float, float] | None:
    return None if site.latitude is None or site.longitude is None else (site.latitude, site.longitude)


def stretch(samples: Sequence[Sample]) -> Stretch:
    times = sorted(sample.rtt_ms for sample in samples if sample.rtt_ms is not None)
    lost = [sample.loss for sample in samples if sample.loss is not None]
    share = sum(lost) / len(lost) if lost else None
    if not times:
        return Stretch(None, None, None, share, len(lost))
    return Stretch(
        times[0], times[len(times) // 2], times[min(len(times) - 1, len(times) * 19 // 20)], share, len(times)
    )


def thinned(values: Sequence[float | None], count: int) -> list[float | None]:
    """At most `count` values: the greatest of each part, so that a peak is never lost."""
    size = max(1, -(-len(values) // count))
    parts = (values[start : start + size] for start in range(0, len(values), size))
    return [max((value for value in part if value is not None), default=None) for part in parts]


def rows(sites: Sequence[SiteView], search: str, after: str, most: int) -> tuple[list[SiteView], str]:
    """(a page of the sites whose name, prefix or ASN has `search` in it, those in trouble first; the cursor of the next page or "")."""
    wanted = search.lower()
    fitting = [
        site for site in sites if any(wanted in text for text in (site.name, site.ipv4, site.ipv6, str(site.asn)))
    ]
    keyed = sorted(((_rank(site), site.name, site) for site in fitting), key=lambda item: item[:2])
    rest = [(f"{rank}.{name}", site) for rank, name, site in keyed if f"{rank}.{name}" > after]
    page = rest[:most]
    return [site for _, site in page], page[-1][0] if len(rest) > most else ""


def _rank(site: SiteView) -> int:
    """0 for what somebody should look at, 1 for the rest."""
    return int(site.state in ("up", "invited", "joining") and not site.alarms and not site.renumber)
