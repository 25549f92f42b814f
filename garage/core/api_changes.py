"""What of a change between two OpenAPI documents breaks a client that was written for the former. docs/api.md tells the rules to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]
Schema = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")


def breaking(before: Document, after: Document) -> list[str]:
    """A line per breaking change, empty where every client goes on."""
    found = list[str]()
    for path, methods in before["paths"].items():
        for method in (each for each in METHODS if each in methods):
            name = f"{method.upper()} {path}"
            if (now := after["paths"].get(path, {}).get(method)) is None:
                found.append(f"{name}: is gone")
            else:
                found += (f"{name}: {line}" for line in _operation(before, methods[method], after, now))
    return found


def _operation(before: Document, was: Schema, after: Document, now: Schema) -> Iterator[str]:
    yield from _parameters(before, was, after, now)
    yield from _taken(before, _body(was), after, _body(now), "", ())
    if not was.get("requestBody", {}).get("required") and now.get("requestBody", {}).get("required"):
        yield "needs a body now"
    for status, response in was.get("responses", {}).items():
        same = [other for other in now.get("responses", {}) if other == status or _within(other, status)]
        if not same:
            yield f"answers {status} no more"
        for other in same:
            answers = _resolved(before, response), _resolved(after, now["responses"][other])
            yield from _given(before, _content(answers[0]), after, _content(answers[1]), "", ())


def _within(status: str, range_: str) -> bool:
    """Whether 409 is said instead of 4XX."""
    return range_.endswith("XX") and status.startswith(range_[0])


def _parameters(before: Document, was: Schema, after: Document, now: Schema) -> Iterator[str]:
    former = {(each["in"], each["name"]): each for each in was.get("parameters", ())}
    present = {(each["in"], each["name"]): each for each in now.get("parameters", ())}
    for key in sorted(former.keys() - present.keys()):
        yield f"takes no {key[0]} parameter {key[1]} any more"
    for key, each in present.items():
        if each.get("required") and not former.get(key, {}).get("required"):
            yield f"needs the {key[0]} parameter {key[1]}"
    for key in sorted(former.keys() & present.keys()):
        schemas = former[key].get("schema", {}), present[key].get("schema", {})
        yield from _taken(before, schemas[0], after, schemas[1], f"{key[0]} {key[1]}", ())


def _taken(
    before: Document, was: Schema, after: Document, now: Schema, at: str, seen: tuple[str, ...]
) -> Iterator[str]:
    """Of what a client sends: nothing may be taken away, asked for anew, or allowed less."""
    if (name := was.get("$ref", "")) in seen:
        return
    was, now, seen = _resolved(before, was), _resolved(after, now), (*seen, *([name] if name else []))
    fields, present = was.get("properties", {}), now.get("properties", {})
    yield from (f"takes no {at}/{field} any more" for field in fields if field not in present)
    needed = set(now.get("required", ())) - set(was.get("required", ()))
    yield from (f"needs {at}/{field}" for field in sorted(needed))
    yield from _narrower(was, now, at or "the body")
    for field in (each for each in fields if each in present):
        yield from _taken(before, fields[field], after, present[field], f"{at}/{field}", seen)
    for former, later in zip(_choices(was), _choices(now), strict=False):
        yield from _taken(before, former, after, later, at, seen)


def _given(
    before: Document, was: Schema, after: Document, now: Schema, at: str, seen: tuple[str, ...]
) -> Iterator[str]:
    """Of what a client reads: nothing may be missing, or be of another type."""
    if (name := was.get("$ref", "")) in seen:
        return
    was, now, seen = _resolved(before, was), _resolved(after, now), (*seen, *([name] if name else []))
    fields, present = was.get("properties", {}), now.get("properties", {})
    yield from (f"gives no {at}/{field} any more" for field in fields if field not in present)
    if (kinds := _kinds(now) - _kinds(was)) and _kinds(was):
        yield f"gives {at or 'an answer'} as {', '.join(sorted(kinds))}"
    for field in (each for each in fields if each in present):
        yield from _given(before, fields[field], after, present[field], f"{at}/{field}", seen)
    if "items" in was and "items" in now:
        yield from _given(before, was["items"], after, now["items"], f"{at}[]", seen)
    for former, later in zip(_choices(was), _choices(now), strict=False):
        yield from _given(before, former, after, later, at, seen)


def _narrower(was: Schema, now: Schema, at: str) -> Iterator[str]:
    if _kinds(was) and _kinds(now) and (lost := _kinds(was) - _kinds(now)):
        yield f"takes {at} no more as {', '.join(sorted(lost))}"
    if "enum" in was and (lost := set(map(str, was["enum"])) - set(map(str, now.get("enum", was["enum"])))):
        yield f"takes {at} no more as {', '.join(sorted(lost))}"
    for bound, tighter in (("maxLength", -1), ("maximum", -1), ("minLength", 1), ("minimum", 1), ("maxItems", -1)):
        if bound in now and (bound not in was or (now[bound] - was[bound]) * tighter > 0):
            yield f"takes {at} only with {bound} {now[bound]}"


def _kinds(schema: Schema) -> set[str]:
    """JSON types that a schema allows; empty: any, or told elsewhere. An integer is a number, too."""
    kinds = {each.get("type", "") for each in _choices(schema)} | {schema.get("type", "")}
    return {"integer", *kinds} - {""} if "number" in kinds else kinds - {""}


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf", schema.get("oneOf", ())))


def _resolved(document: Document, schema: Schema) -> Schema:
    while "$ref" in schema:
        _, _, kind, name = schema["$ref"].split("/")
        schema = document["components"][kind][name]
    return schema


def _body(operation: Schema) -> Schema:
    return _content(operation.get("requestBody", {}))


def _content(part: Schema) -> Schema:
    kinds = part.get("content", {})
    found: Schema = (kinds.get("application/json") or kinds.get("application/problem+json") or {}).get("schema", {})
    return found
