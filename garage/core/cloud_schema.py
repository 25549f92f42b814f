"""What an image's cloud-init will not take of user-data, by the JSON schema that it brings along. Pure.

cloud-init itself only warns at the first boot, in a log that nobody reads, and leaves out what it does not understand
(cloud-init's documentation, "Validate user-data").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from garage.core.cloud_values import compose, line_of, unfold
from garage.errors import N_, GarageError

if TYPE_CHECKING:
    import jsonschema_rs
    import yaml

MAX_BYTES = 1 << 20
"""Of a schema; Debian 13's has 130 KB."""
MAX_TOLD = 10
MANY = 2_000
"""With more findings only the first is told: each costs 60 µs to write out, and 64 KiB hold 20,000."""
MASK = "it"
"""Stands in jsonschema-rs' messages for values, which may be passwords."""
HINT = N_("docs.cloud-init.io says what each module takes")
BASE = frozenset(
    (
        *("cloud_init_modules", "cloud_config_modules", "cloud_final_modules", "create_hostname_file", "datasource"),
        *(
            "datasource_list",
            "debug",
            "def_log_file",
            "disable_root_opts",
            "final_message",
            "launch-index",
            "log_basic",
        ),
        *(
            "log_cfgs",
            "manage_resolv_conf",
            "manual_cache_clean",
            "merge_how",
            "merge_type",
            "network",
            "no_ssh_fingerprints",
            "output",
        ),
        *("preserve_hostname", "reporting", "ssh_fp_console_blacklist", "syslog_fix_perms", "system_info", "user"),
        *("vendor_data"),
    )
)
"""Keys of #cloud-config that belong to no module; older schemas do not have them."""
Path = list[str | int]


@dataclass(frozen=True, slots=True)
class Found:
    """`wrong`: what cloud-init would leave out; `doubtful`: what it still takes, or may not know. Both in the order of the lines."""

    wrong: tuple[GarageError, ...] = ()
    doubtful: tuple[GarageError, ...] = ()


def trimmed(text: str) -> str:
    """A schema as it is kept, without spaces; "" of one that is too large, or none that could be used."""
    if len(text) > MAX_BYTES:
        return ""
    try:
        kept = json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True)
        _compiled(kept)
    except (ValueError, RecursionError, AttributeError):  # jsonschema-rs' errors are ValueErrors
        return ""
    return kept


def look(text: str, schema: str) -> Found:
    """Compare checked #cloud-config with a schema from `trimmed`; raises `invalid_field` where aliases make too much of it."""
    rules, root = _compiled(schema), compose(text)
    value = unfold(root)
    if wrong := [each for error in _errors(rules.all, value) for each in _causes(error)]:
        return Found(wrong=_by_line(_told(root, error) for error in wrong[:MAX_TOLD]))
    old = [each for error in _errors(rules.current, value) for each in _deprecations(error)]
    doubtful = [
        _error(root, path, N_("user-data line {line}: {where} is deprecated: {reason}"), reason=why)
        for path, why in old
    ]
    strange = [key for key in value if key not in rules.keys and rules.keys] if isinstance(value, dict) else []
    doubtful += [
        _error(root, [key], N_("user-data line {line}: cloud-init knows no key {where}")) for key in strange[:MAX_TOLD]
    ]
    return Found(doubtful=_by_line(doubtful[:MAX_TOLD]))


@dataclass(frozen=True, slots=True)
class _Rules:
    all: jsonschema_rs.Validator
    current: jsonschema_rs.Validator
    """What is deprecated is an error of it, too."""
    keys: frozenset[str]


@lru_cache(maxsize=4)
def _compiled(schema: str) -> _Rules:
    import jsonschema_rs  # 12 MB that a garage without user-data does not need

    data = json.loads(schema)
    return _Rules(
        jsonschema_rs.Draft4Validator(data, offline=True, mask=MASK),
        jsonschema_rs.Draft4Validator(data, keywords={"deprecated": _Deprecated}, offline=True, mask=MASK),
        frozenset(_keys(data)) | BASE,
    )


class _Deprecated:
    """cloud-init's own keyword."""

    def __init__(self, parent_schema: dict[str, Any], value: Any, schema_path: list[str | int]) -> None:  # noqa: ARG002
        self._on = value is True
        self._why = str(parent_schema.get("deprecated_description") or parent_schema.get("description") or "")

    def validate(self, instance: Any) -> None:  # noqa: ARG002
        if self._on:
            raise ValueError(self._why)


def _keys(schema: dict[str, Any]) -> Iterator[str]:
    """Of the whole and of the modules, which are referred to by `allOf`."""
    parts = [schema, *(_referred(schema, each) for each in schema.get("allOf", []))]
    for part in parts:
        yield from part.get("properties", {})


def _referred(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    name = str(part.get("$ref", "")).removeprefix("#/$defs/")
    found: dict[str, Any] = schema.get("$defs", {}).get(name, part)
    return found


def _errors(rules: jsonschema_rs.Validator, value: Any) -> list[jsonschema_rs.ValidationError]:
    if rules.is_valid(value):
        return []
    if len(rules.evaluate(value).errors()) <= MANY:
        return list(rules.iter_errors(value))
    import jsonschema_rs

    try:
        rules.validate(value)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _causes(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """What is wrong inside the one form that was meant; `error` itself where that is not clear."""
    branches: list[list[jsonschema_rs.ValidationError]] = getattr(error.kind, "context", [])
    meant = [branch for branch in branches if not any(_is_other_type(each, error.instance_path) for each in branch)]
    if len(meant) != 1 or not meant[0]:
        return [error]
    return [cause for each in meant[0] for cause in _causes(each)]


def _is_other_type(error: jsonschema_rs.ValidationError, path: Path) -> bool:
    return error.kind.name == "type" and error.instance_path == path


def _deprecations(error: jsonschema_rs.ValidationError) -> list[tuple[Path, str]]:
    """(path, why) of what is valid but for being deprecated."""
    if error.kind.name == "deprecated":
        return [(error.instance_path, " ".join(error.message.replace("``", "").split())[:200])]
    for branch in getattr(error.kind, "context", []):
        found = [_deprecations(each) for each in branch]
        if found and all(found):
            return [each for part in found for each in part]
    return []


def _told(root: yaml.Node | None, error: jsonschema_rs.ValidationError) -> GarageError:
    kind, path = error.kind, error.instance_path
    if types := _types(error):
        return _error(root, path, N_("user-data line {line}: {where} must be of type {types}"), types=" | ".join(types))
    match kind.name:
        case "enum":
            allowed = ", ".join(str(option) for option in getattr(kind, "options", []))[:200]
            return _error(root, path, N_("user-data line {line}: {where} is one of {allowed}"), allowed=allowed)
        case "required":
            key = str(getattr(kind, "property", ""))
            return _error(root, path, N_("user-data line {line}: {where} lacks {key}"), key=key)
        case "additionalProperties":
            unknown = str(getattr(kind, "unexpected", [""])[0])[:80]
            text = N_("user-data line {line}: there is no key {where}")
            return _error(root, [*path, unknown], text)
        case "anyOf" | "oneOf":
            return _error(root, path, N_("user-data line {line}: {where} has none of the forms that cloud-init takes"))
    problem = error.message[:160]
    return _error(root, path, N_("user-data line {line}: {where} is not as it should be: {problem}"), problem=problem)


def _types(error: jsonschema_rs.ValidationError) -> list[str]:
    """What it should have been, where nothing else is wrong."""
    branches = getattr(error.kind, "context", None)
    if branches is None:
        return list(getattr(error.kind, "types", []))
    alike = all(len(branch) == 1 and _is_other_type(branch[0], error.instance_path) for branch in branches)
    return [name for branch in branches for name in _types(branch[0])] if alike else []


def _by_line(errors: Iterable[GarageError]) -> tuple[GarageError, ...]:
    return tuple(sorted(errors, key=lambda error: int(error.params["line"])))


def _error(root: yaml.Node | None, path: Path, text: str, **params: str) -> GarageError:
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in ("user_data", *path))
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:60]}" for step in path).lstrip(".")
    return GarageError(
        "invalid_field",
        text,
        hint=HINT,
        pointer=pointer,
        line=line_of(root, path),
        where=where or "#cloud-config",
        **params,
    )
