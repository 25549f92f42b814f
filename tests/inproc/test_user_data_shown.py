"""What is said of user-data by the API, the command and the page, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

from garage.errors import KINDS
from garage.services import machines
from garage.services.context import Caller, Context
from tests.inproc.served import serving
from tests.inproc.test_cli import Shell
from tests.inproc.test_machine_pages import browse
from tests.inproc.test_user_data import WRONG, knows

OLD = "#cloud-config\napt_update: true\n"


def test_api_and_command_tell_what_is_wrong_and_what_is_old(ctx: Context, alice: Caller, tmp_path: Path) -> None:
    knows(ctx)
    (tmp_path / "wrong").write_text(WRONG)
    (tmp_path / "old").write_text(OLD)
    with serving(ctx) as served:
        shell = Shell(tmp_path, GARAGE_URL=served.url, GARAGE_TOKEN=served.token(alice))
        for words in (("create", "one", "--user-data"), ("check-user-data",)):
            refused = shell("machine", *words, str(tmp_path / "wrong"))
            assert refused.returncode == KINDS["invalid_field"].exit
            assert "line 2: packages must be of type array" in refused.stderr
            assert "line 3: runcmd must be of type array" in refused.stderr
        as_json = json.loads(shell("machine", "check-user-data", str(tmp_path / "wrong"), "-o", "json").stderr)
        assert [error["pointer"] for error in as_json["errors"]] == ["/user_data/packages", "/user_data/runcmd"]
        taken = shell("machine", "check-user-data", str(tmp_path / "old"))
        assert (taken.returncode, taken.stdout) == (0, f"{tmp_path}/old is taken\n")
        assert "warning: user-data line 2: apt_update is deprecated: Use package_update." in taken.stderr
        assert machines.listing(ctx, alice).items == []
        made = json.loads(
            shell("machine", "create", "one", "--user-data", str(tmp_path / "old"), "--no-wait", "-o", "json").stdout
        )
    assert [warning["pointer"] for warning in made["warnings"]] == ["/user_data/apt_update"]


def test_the_page_tells_it_at_the_field(ctx: Context, alice: Caller) -> None:
    knows(ctx)
    browser = browse(ctx, alice)
    refused = browser.post("/machines", name="one", user_data=WRONG)
    assert refused.status_code == 422
    assert 'aria-describedby="user-data-error"' in refused.text
    assert "line 3: runcmd must be of type array" in refused.text
    browser.client.set_cookie("garage-locale", "ja")
    taken = browser.post("/machines", name="one", user_data=OLD)
    assert taken.status_code == 201
    assert "2 行目" in taken.text
    assert "Use package_update." in taken.text
    assert [machine.name for machine in machines.listing(ctx, alice).items] == ["one"]
