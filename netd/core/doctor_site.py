"""What `netd doctor` makes of the registry and of the membership itself; pure. What was seen goes in, verdicts come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netd.core.doctor import Verdict
from netd.core.volume import GIB, level, month, next_month


@dataclass(frozen=True, slots=True)
class Registered:
    """How the registry answered. `error` "" when it did; `status` of a request with our credential, None where none was made."""

    url: str
    error: str = ""
    reached: bool = True
    """Something answered at that address, be it somebody else."""
    certificate: str = ""
    """SHA-256 that was shown, hexadecimal."""
    pinned: str = ""
    """The one that was promised; "" for none, or one that the server's authorities vouch for."""
    status: int | None = None
    applied: tuple[int, int] = (0, 0)
    newer: tuple[int, int] = (0, 0)
    """Versions of LinkSpec and Table that it has beyond ours; 0 for none."""
    refusal: str = ""


def judge_registry(seen: Registered) -> list[Verdict]:
    if not seen.reached:
        todo = f"can this server reach it? curl -vk {seen.url}; is the registry up, its firewall open? Links go on without it"
        return [Verdict("registry", "fail", f"{seen.url}: {seen.error}", todo)]
    found = [_certificate(seen)]
    if seen.status is not None:
        found.append(_credential(seen))
        found.append(_documents(seen))
    return found


def _certificate(seen: Registered) -> Verdict:
    if seen.pinned and seen.certificate != seen.pinned:
        told = f"{seen.url} shows the certificate {seen.certificate[:16]}…, promised was {seen.pinned[:16]}…"
        todo = "somebody may be in between, or the registry has a new certificate: ask its operator; then leave and join again"
        return Verdict("registry", "fail", told, todo)
    if seen.error:
        todo = "is that a registry's address, and is its web process well?"
        return Verdict("registry", "fail", f"{seen.url}: {seen.error}", todo)
    shown = f", certificate {seen.certificate[:16]}…" if seen.certificate else ""
    return Verdict("registry", "ok", f"{seen.url} answers{shown}{' as promised' if seen.pinned else ''}")


def _credential(seen: Registered) -> Verdict:
    if seen.status in (401, 403):
        todo = "the site was removed, or its files were restored: netd leave, then join with a new invitation"
        return Verdict("credential", "fail", "the registry does not know this node's credential", todo)
    if seen.status not in (200, 204):
        return Verdict("credential", "warn", f"the registry answered {seen.status}", "try again; ask its operator")
    return Verdict("credential", "ok", "accepted")


def _documents(seen: Registered) -> Verdict:
    ours = f"links {seen.applied[0]}, table {seen.applied[1]}"
    if seen.refusal:
        todo = "the last good ones stay in force; what stands against the new ones is said here: mend it, or tell the registry's operator"
        return Verdict("documents", "fail", f"{ours}; newer ones were refused: {seen.refusal}", todo)
    if any(seen.newer):
        todo = "netd plan shows the difference; netd run takes it within a second: does it run?"
        return Verdict("documents", "warn", f"{ours}; the registry has newer ones", todo)
    return Verdict("documents", "ok", f"{ours}, the newest")


@dataclass(frozen=True, slots=True)
class Site:
    """The membership itself."""

    site: str
    running: bool
    """netd run keeps its file up to date."""
    paused: bool = False
    own: tuple[str, str] = ("", "")
    """Prefixes that this site's controller uses."""
    allotted: tuple[str, str] | None = None
    """Those that the registry's table gives it; None where it is not in the table."""
    pending: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def judge_site(seen: Site) -> list[Verdict]:
    found = []
    if not seen.running:
        todo = "start it: systemctl start garage-netd (runit: sv up netd), or netd run; links go on meanwhile, but nothing is mended"
        found.append(Verdict("netd", "fail", "netd run does not run, or hangs", todo))
    if seen.paused:
        found.append(
            Verdict("pause", "warn", "this site is paused: nothing of other sites passes", "netd resume ends it")
        )
    if seen.allotted is not None and "" not in seen.own and seen.allotted != seen.own:
        told = f"the registry gives {' and '.join(seen.allotted)}, the site uses {' and '.join(seen.own)}"
        todo = "others do not reach its machines until it renumbers: garage site renumber, at this site's controller"
        found.append(Verdict("prefixes", "fail", told, todo))
    if seen.pending and seen.running:
        todo = "netd plan shows all; netd run mends it within seconds, and says in its log why where it cannot"
        found.append(
            Verdict("in force", "warn", f"{len(seen.pending)} changes wait, e.g. {seen.pending[0][:100]}", todo)
        )
    found += [Verdict("alarm", "warn", text, "it is refused; tell that site's operator") for text in seen.alarms[:5]]
    found += [Verdict("problem", "warn", text, "it is netd's own word; its log has more") for text in seen.problems[:5]]
    return found or [Verdict("site", "ok", f"{seen.site}: in force, not paused, no alarms")]


@dataclass(frozen=True, slots=True)
class Volume:
    """What a line with a cap has carried for the overlay this month. Bytes."""

    line: str
    used: int
    cap: int


def judge_volume(lines: Sequence[Volume], now: float) -> list[Verdict]:
    """`now`: seconds since 1970."""
    return [_volume(line, now) for line in lines]


def _volume(line: Volume, now: float) -> Verdict:
    check, how = f"volume {line.line}", level(line.used, line.cap)
    told = f"{line.used / GIB:.1f} of {line.cap / GIB:g} GiB used in {month(now)}"
    more = "or a higher volume_gib in netd.toml"
    if how == "stop":
        return Verdict(check, "fail", f"{told}: other sites' traffic is stopped", f"wait for {next_month(now)}, {more}")
    if how == "spare":
        return Verdict(
            check, "warn", f"{told}: others are asked to go other ways", f"nothing passes from 100 % on; {more}"
        )
    if how == "warn":
        return Verdict(check, "warn", told, f"from 95 % on others are asked to go other ways; {more}")
    return Verdict(check, "ok", told)
