"""User-data against a schema of cloud-init's kind: what is told, where, and that nobody burns the processor with it."""

from __future__ import annotations

import json

import pytest

from garage.core.cloud_schema import MANY, MAX_TOLD, Found, look, trimmed
from garage.core.userdata import check_user_data
from garage.errors import GarageError

USER = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "uid": {"oneOf": [{"type": "integer"}, {"type": "string", "deprecated": True, "deprecated_description": "Use a ``number``."}]},
    },
}  # fmt: skip
SCHEMA = trimmed(
    json.dumps(
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "$defs": {
                "cc_users": {"properties": {"users": {"type": "array", "items": {"oneOf": [{"type": "string"}, USER]}}}},
                "cc_run": {"properties": {"runcmd": {"type": "array", "items": {"oneOf": [{"type": "array"}, {"type": "string"}]}}}},
                "cc_mode": {"properties": {"mode": {"enum": ["on", "off"]}, "apt_update": {"type": "boolean", "deprecated": True}}},
            },
            "allOf": [{"$ref": f"#/$defs/{name}"} for name in ("cc_users", "cc_run", "cc_mode")],
        }
    )
)  # fmt: skip
"""As cloud-init 22.4 has it: modules by reference, nothing said of unknown keys at the top."""


def seen(text: str) -> Found:
    return look(check_user_data(f"#cloud-config\n{text}\n"), SCHEMA)


@pytest.mark.parametrize(
    ("text", "pointer", "message"),
    [
        ("runcmd: ls", "/user_data/runcmd", "user-data line 2: runcmd must be of type array"),
        ("runcmd:\n- ls\n- 7", "/user_data/runcmd/1", "user-data line 4: runcmd[1] must be of type array | string"),
        ("users:\n- uid: 5", "/user_data/users/0", "user-data line 3: users[0] lacks name"),
        ("users:\n- name: x\n  nam~e/: y", "/user_data/users/0/nam~0e~1", "user-data line 4: there is no key users[0].nam~e/"),
        ("users: [{name: X}]", "/user_data/users/0/name", "users[0].name is not as it should be"),
        ("x: &x [7]\nruncmd: *x", "/user_data/runcmd/0", "user-data line 2: runcmd[0] must be of type array | string"),
        ("mode: auto", "/user_data/mode", "user-data line 2: mode is one of on, off"),
    ],
)  # fmt: skip
def test_what_cloud_init_would_leave_out_is_told_with_its_place(text: str, pointer: str, message: str) -> None:
    (error,) = seen(text).wrong
    assert (error.code, error.pointer) == ("invalid_field", pointer)
    assert message in error.message
    assert error.hint


def test_what_is_valid_but_old_or_unknown_is_only_told() -> None:
    found = seen("users:\n- default\n- {name: x, uid: '5'}\napt_update: true\nuserz: []\nfinal_message: done")
    assert not found.wrong
    assert [(error.pointer, error.params["line"]) for error in found.doubtful] == [
        ("/user_data/users/1/uid", 4),
        ("/user_data/apt_update", 5),
        ("/user_data/userz", 6),
    ]
    assert "deprecated: Use a number." in found.doubtful[0].message


def test_a_value_is_never_repeated() -> None:
    """It may be a password."""
    assert all("SECRET" not in str(error) for error in seen("users: [{name: SECRET}, {name: x, uid: [SECRET]}]").wrong)


@pytest.mark.parametrize("text", ["", "{}", "users: [default]\nruncmd: [[ls, 5], ls]\nmode: 'on'"])
def test_what_is_right_is_taken(text: str) -> None:
    assert seen(text) == Found()


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 30)),
        "a: &a [*a]",
        "runcmd: [" + "{}," * 21_000 + "]",
        "l0: &l0 []\n" + "".join(f"l{i}: &l{i} [*l{i - 1}]\n" for i in range(1, 80)),
    ],
    ids=["merged", "endless", "many", "deep"],
)
def test_what_would_fill_memory_or_stack_is_refused(text: str) -> None:
    with pytest.raises(GarageError) as caught:
        seen(text)
    assert caught.value.pointer == "/user_data"


def test_of_thousands_of_mistakes_a_few_are_told() -> None:
    assert len(seen("runcmd: [" + "{}," * 100 + "]").wrong) == MAX_TOLD
    assert len(seen("runcmd: [" + "{}," * (MANY + 1) + "]").wrong) == 1


@pytest.mark.parametrize(
    "value",
    ["!!timestamp x", "!!int ''", "!!bool x", "!!float ''", ".inf", "0x" + "f" * 9_000, "!!binary aGFs", "!!set {a, b}", "2032-09-01"],
)  # fmt: skip
def test_odd_scalars_are_no_defect_of_ours(value: str) -> None:
    assert not seen(f"a: {value}").wrong


@pytest.mark.parametrize(
    "text", ["", "[1]", "7", '{"type": 7}', '{"allOf": [{"$ref": "https://example.org/x"}]}', " " * (1 << 20) + "{}"]
)
def test_what_is_no_usable_schema_is_not_kept(text: str) -> None:
    assert trimmed(text) == ""
