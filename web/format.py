"""How values are written: durations, dates with their zone, binary units, the drawing of a lease."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from babel.dates import LOCALTZ, get_timezone
from flask import request
from flask_babel import ngettext
from markupsafe import Markup

from garage.core import sshkeys
from garage.services.history import StepView
from garage.services.views import MachineView
from web.i18n import gettext
from web.session import ctx

ZONE_COOKIE = "garage-zone"
DAY = 86_400.0
WARN_SECONDS = 86_400.0


def _(text: str, **values: object) -> str:
    return gettext(text, **values)


def now() -> float:
    return ctx().clock()


def zone() -> tzinfo:
    """The browser's time zone where it has said so (a cookie set by app.js), else the server's."""
    return _zone(request.cookies.get(ZONE_COOKIE, "")[:64])


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    try:
        return get_timezone(name) if name else LOCALTZ
    except (LookupError, ValueError, OSError):
        return LOCALTZ


def stamp(seconds: float) -> str:
    """As 2026-11-20 14:05 JST."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone()).strftime("%Y-%m-%d %H:%M %Z")


def when(seconds: float) -> Markup:
    """Date and, beside it, how long ago or in how long."""
    iso = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time> <span class="beside">{}</span>').format(
        iso, stamp(seconds), relative(seconds)
    )


def relative(seconds: float) -> str:
    """ "5 min ago", "in 6 days"."""
    distance = seconds - now()
    if abs(distance) < 5:
        return _("just now")
    return _("in %(span)s", span=span(distance)) if distance > 0 else _("%(span)s ago", span=span(-distance))


def span(seconds: float) -> str:
    """A duration in its two largest units, "6 d 23 h"; from three days on in days alone."""
    whole = int(max(seconds, 0))
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days >= 14:
        return _("%(n)s d", n=days)
    if days:
        return _("%(days)s d %(hours)s h", days=days, hours=hours)
    if hours:
        return _("%(hours)s h %(minutes)s min", hours=hours, minutes=minutes)
    return _("%(n)s min", n=minutes) if minutes else _("%(n)s s", n=whole)


def took(seconds: float) -> str:
    """A short measured time, "0.4 s" or "21 s"."""
    return _("%(n)s s", n=f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}") if seconds < 600 else span(seconds)


def whole(hours: int) -> str:
    """A round duration: "1 hour", "7 days"."""
    if hours >= 48 and hours % 24 == 0:
        return str(ngettext("%(num)s day", "%(num)s days", hours // 24))
    return str(ngettext("%(num)s hour", "%(num)s hours", hours))


def rate(bits: float) -> str:
    """Bits per second with a decimal unit, as networks are counted: "12 Mbit/s"."""
    for limit, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bits >= limit:
            return f"{bits / limit:.3g} {unit}"
    return f"{bits:.0f} bit/s"


def memory(mib: float) -> str:
    return disk(mib / 1024) if mib >= 1024 else f"{_short(mib)} MiB"


def disk(gib: float) -> str:
    return f"{_short(gib / 1024)} TiB" if gib >= 1024 else f"{_short(gib)} GiB"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def image_name(name: str) -> str:
    """debian-12 → Debian 12; what people have named themselves stays as it is."""
    return name.replace("-", " ").title() if name.startswith("debian-") else name


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it is drawn: percentages of a strip, and its mood ("calm", "warn", "over")."""

    filled: float
    ticks: list[float]
    mood: str
    text: str


def lease(machine: MachineView) -> Lease:
    left = machine.lease_until - now()
    whole = max(ctx().config.lease_days * DAY, left)
    days = int(whole // DAY)
    ticks = [round(100 * day * DAY / whole, 2) for day in range(1, days + 1)] if days <= 14 else []
    mood = "over" if left <= 0 else "warn" if left < WARN_SECONDS or machine.lease_warned else "calm"
    return Lease(round(100 * max(left, 0.0) / whole, 2), ticks, mood, _lease_text(machine, left))


def _lease_text(machine: MachineView, left: float) -> str:
    if left > 0:
        return _("%(span)s left", span=span(left))
    return _("ended; deleted in %(span)s", span=span(machine.deletes_at - now()))


def spans(steps: list[StepView]) -> list[tuple[float, float]]:
    """(where it begins, how wide it is) of each step in percent of the whole; a moment is still seen as a sliver."""
    ends = [step.at + (now() - step.at if step.seconds is None else step.seconds) for step in steps]
    first = steps[0].at if steps else 0.0
    whole = max(max(ends, default=0.0) - first, 0.001)
    drawn = [
        (100 * (step.at - first) / whole, 100 * (end - step.at) / whole) for step, end in zip(steps, ends, strict=True)
    ]
    return [(round(min(x, 99.0), 2), round(max(width, 1.0), 2)) for x, width in drawn]


def percent(part: float, whole: float) -> float:
    """0 to 100, for a bar's width."""
    return round(100 * min(max(part / whole, 0.0), 1.0), 1) if whole > 0 else 0.0


def fingerprint(public_key: str) -> str:
    """SHA256:… of an OpenSSH public key line."""
    parts = public_key.split()
    return sshkeys.fingerprint(parts[1]) if len(parts) > 1 else ""


def browser(agent: str) -> str:
    """A browser and its system by their common names, out of a User-Agent; the rest of it is history."""
    name = next((shown for mark, shown in _BROWSERS if mark in agent), "")
    system = next((shown for mark, shown in _SYSTEMS if mark in agent), "")
    return " · ".join(part for part in (name, system) if part) or agent[:40] or _("unknown")


_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    *((name, name) for name in ("Android", "iPhone", "iPad", "Windows")),
    *(("Mac OS X", "macOS"), ("Linux", "Linux")),
)
"""In this order: Edge calls itself Chrome and Safari, Android calls itself Linux."""
