"""Carries out the calls of docs/api.md: `$ curl …` and the answer below it, in which `…` stands for anything."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import httpx

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MORE = "…"


@dataclass(frozen=True)
class Call:
    """As written: the command, and what it answers."""

    command: str
    status: int | None
    headers: dict[str, str]
    body: Any

    @classmethod
    def read(cls, text: str) -> Call:
        command, _, told = text.strip().partition("\n")
        status, headers, lines = None, {}, told.split("\n")
        if lines[0].startswith("HTTP/1.1 "):
            status = int(lines.pop(0).split()[1])
            while lines and re.match(r"[A-Za-z-]+: ", lines[0]):
                name, _, value = lines.pop(0).partition(": ")
                headers[name] = value
        body = "\n".join(lines).strip()
        return cls(command, status, headers, json.loads(_json(body)) if body else None)


def _json(text: str) -> str:
    """`, …` in an object is a field of that name, in an array an element."""
    text = re.sub(r", …(?=\})", f', "{MORE}": 0', text)
    return re.sub(r"(?<=\{)…(?=\})", f'"{MORE}": 0', text).replace(", …]", f', "{MORE}"]')


def calls(markdown: str) -> Iterator[Call]:
    for block in BLOCK.findall(markdown):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            yield Call.read(text)


@dataclass
class Shell:
    """A reader who types them; `$ETAG` and `$CURSOR` are those of the last answer that had one."""

    http: httpx.Client
    known: dict[str, str] = field(default_factory=dict)

    def carry_out(self, call: Call) -> None:
        answer = self._send(shlex.split(call.command))
        if "ETag" in answer.headers:
            self.known["ETAG"] = answer.headers["ETag"]
        said = answer.json() if answer.content else None
        if isinstance(said, dict) and said.get("cursor"):
            self.known["CURSOR"] = said["cursor"]
        told = f"{call.command}\n{answer.status_code} {answer.headers}\n{answer.text}"
        assert call.status in (None, answer.status_code), told
        for name, value in call.headers.items():
            assert fnmatchcase(answer.headers.get(name, ""), value.replace("[", "[[]").replace(MORE, "*")), (name, told)
        assert same(call.body, said), told

    def _send(self, words: list[str]) -> httpx.Response:
        assert words.pop(0) == "curl"
        method, headers, body, url = "", {}, None, ""
        while words:
            match word := words.pop(0):
                case "-i":
                    pass
                case "-X":
                    method = words.pop(0)
                case "-H":
                    name, _, value = self._filled(words.pop(0)).partition(": ")
                    headers[name] = value
                case "--json":
                    body, method = words.pop(0), method or "POST"
                    headers["Content-Type"] = "application/json"
                case _:
                    url = self._filled(word)
        return self.http.request(method or "GET", url, headers=headers, content=body)

    def _filled(self, text: str) -> str:
        return re.sub(r"\$([A-Z]+)", lambda found: self.known[found[1]], text)


def same(told: Any, said: Any) -> bool:
    """Whether an answer is what was told of it."""
    match told:
        case dict():
            named = {key: value for key, value in told.items() if key != MORE}
            complete = MORE in told or named.keys() == said.keys()
            return complete and all(key in said and same(value, said[key]) for key, value in named.items())
        case list():
            some = [item for item in told if item != MORE]
            return (len(some) == len(said) or MORE in told) and all(map(same, some, said))
        case str() if MORE in told:
            return isinstance(said, str) and fnmatchcase(said, told.replace(MORE, "*"))
        case _:
            return bool(told == said)
