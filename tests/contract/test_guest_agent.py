"""An agent that lies: its answers are taken in the protocol's shape alone, and what else it says is a clear error."""

from __future__ import annotations

import base64
import json
from typing import Any

import libvirt_qemu
import pytest

from garage.errors import GarageError
from garage.shell import guest_agent


class Agent:
    """Answers what it is told to; stands in for the guest, since no real agent can be made to lie through libvirt at will."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = {f"guest-{name.replace('_', '-')}": answer for name, answer in answers.items()}
        monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", self._answer)

    def _answer(self, _domain: object, question: str, timeout: int, _flags: int) -> str:
        assert timeout in (guest_agent.TIMEOUT, guest_agent.FREEZE_TIMEOUT)
        self.asked.append(json.loads(question))
        return self._answers[self.asked[-1]["execute"]]


def test_a_file_is_opened_written_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(
        monkeypatch, file_open='{"return": 7}', file_write='{"return": {"count": 4}}', file_close='{"return": {}}'
    )
    guest_agent.write_file(None, "/etc/motd", b"moin")
    assert [asked["execute"] for asked in agent.asked] == ["guest-file-open", "guest-file-write", "guest-file-close"]
    assert base64.b64decode(agent.asked[1]["arguments"]["buf-b64"]) == b"moin"


@pytest.mark.parametrize(
    ("answer", "code"),
    [('{"exited": false}', None), ('{"exited": true, "exitcode": 3}', 3), ('{"exited": true, "signal": 9}', 1)],
)
def test_how_a_script_ended(monkeypatch: pytest.MonkeyPatch, answer: str, code: int | None) -> None:
    Agent(monkeypatch, exec_status=f'{{"return": {answer}}}')
    assert guest_agent.exit_code(None, 5) == code


@pytest.mark.parametrize(
    "answer",
    [
        "", "null", "[]", "{}", '{"return": null}', '{"return": []}', '{"return": "7"}', '{"return": {"pid": "7"}}',
        '{"return": {"pid": 1.5}}', '{"return": {"pid": null}}', '{"error": {}}', "\x00", '{"return": ' + "[" * 5000,
        '{"return": {"pid": 1e400}}', '{"return": "\x1b]0;title\x07"}', '{"return": "\\u001b[31m\\u202e"}',
        '\x1b[31m{"return": {"pid": 7}}',
        '{"return": {"pid": "\udcff\udcfe"}}', pytest.param('{"return": "' + "y" * (10 << 20) + '"}', id="a giant"),
        pytest.param('{"return": {"' + "y" * (10 << 20) + '": 1}}', id="a giant's name"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("call", ["execute", "write", "status"])
def test_nonsense_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, answer: str, call: str) -> None:
    Agent(monkeypatch, exec=answer, file_open=answer, exec_status=answer)
    calls = {
        "execute": lambda: guest_agent.execute(None, "true", b""),
        "write": lambda: guest_agent.write_file(None, "/etc/motd", b""),
        "status": lambda: guest_agent.exit_code(None, 5),
    }
    with pytest.raises(GarageError, match="with something else") as raised:
        calls[call]()
    assert raised.value.code == "hypervisor_error"
    assert len(str(raised.value.as_dict())) < 500, "nothing of what the guest said"


def test_what_thaws_a_guest_is_begun_before_it_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(monkeypatch, exec='{"return": {"pid": 7}}', fsfreeze_freeze='{"return": 2}')
    assert guest_agent.freeze(None) == 2
    assert [asked["execute"] for asked in agent.asked] == ["guest-exec", "guest-fsfreeze-freeze"]
    assert "fsfreeze --unfreeze" in agent.asked[0]["arguments"]["arg"][1]


@pytest.mark.parametrize(("status", "count", "calls"), [("thawed", 0, 1), ("frozen", 2, 2)])
def test_only_what_stands_still_is_thawed(monkeypatch: pytest.MonkeyPatch, status: str, count: int, calls: int) -> None:
    agent = Agent(monkeypatch, fsfreeze_status=json.dumps({"return": status}), fsfreeze_thaw='{"return": 2}')
    assert guest_agent.thaw(None) == count
    assert len(agent.asked) == calls
