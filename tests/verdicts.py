"""Picking verdicts of `netd doctor` in tests."""

from __future__ import annotations

from netd.core.doctor import Verdict


def only(verdicts: list[Verdict]) -> Verdict:
    assert len(verdicts) == 1
    return verdicts[0]


def by_check(verdicts: list[Verdict]) -> dict[str, Verdict]:
    found = {verdict.check: verdict for verdict in verdicts}
    assert len(found) == len(verdicts), "each name once"
    return found
