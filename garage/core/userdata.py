"""What people may give a machine at its first boot, checked before anything is made."""

from __future__ import annotations

import yaml

from garage.errors import N_, GarageError

MAX_BYTES = 64 * 1024
HEADERS = (
    "#!",
    "#cloud-config-archive",
    "#include",
    "#cloud-boothook",
    "## template:",
    "Content-Type: multipart/",
    "MIME-Version:",
)
"""First lines that cloud-init knows besides #cloud-config (cloud-init's documentation, "User-data formats")."""


def check_user_data(text: str) -> str:
    """`text` if cloud-init can read it; raises `invalid_field` with the line of a YAML error."""
    if len(text.encode()) > MAX_BYTES:
        raise _bad(N_("user-data is larger than {limit} bytes"), limit=MAX_BYTES)
    if "\0" in text:
        raise _bad(N_("user-data holds a NUL character"))
    first = text.split("\n", 1)[0]
    if first.strip() == "#cloud-config":
        _check_yaml(text)
    elif not first.startswith(HEADERS):
        raise _bad(N_("cloud-init does not know user-data that begins with “{first}”"), first=first[:40])
    return text


def _check_yaml(text: str) -> None:
    try:
        data = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise _bad(
            N_("user-data is not valid YAML in line {line}: {problem}"),
            line=line,
            problem=str(getattr(error, "problem", error))[:120],
        ) from None
    except (RecursionError, ValueError) as error:
        raise _bad(
            N_("user-data is not valid YAML in line {line}: {problem}"), line=1, problem=str(error)[:120]
        ) from None
    if data is not None and not isinstance(data, dict):
        raise _bad(N_("#cloud-config must hold “key: value” lines"))


def _bad(text: str, **params: object) -> GarageError:
    hint = N_("begin with #cloud-config and YAML, or with #!/bin/sh and a script")
    return GarageError("invalid_field", text, hint=hint, pointer="/user_data", **params)
