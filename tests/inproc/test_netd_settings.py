"""netd's settings as the controller writes them: its own follow it, what an admin has added stays."""

from __future__ import annotations

import tomllib
from dataclasses import replace

from garage.bootstrap import _netd_toml
from garage.services.context import Context


def test_an_admins_lines_outlast_an_upgrade(ctx: Context) -> None:
    first = _netd_toml(ctx.config, "")
    assert _netd_toml(ctx.config, first) == first
    more = first.replace("uplink_is_office = true", "uplink_is_office = false")
    more += 'peers = ["node2"]\n[[line]]\nrate_mbit = 20\n'
    moved = replace(ctx.config, node="other")
    again = tomllib.loads(_netd_toml(moved, more))
    assert (again["node"], again["uplink_is_office"]) == ("other", False)
    assert (again["peers"], again["line"]) == (["node2"], [{"rate_mbit": 20}])
    assert _netd_toml(ctx.config, _netd_toml(moved, more)) == _netd_toml(ctx.config, more)
