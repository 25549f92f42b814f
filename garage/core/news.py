"""What people are told about what concerns them: the kinds, and each one's sentences in both languages. Pure.

The page, the command, e-mail and webhooks all take their words from here; a worker that sends them needs no catalogue of the pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from garage.errors import fill

Detail = dict[str, Any]
Stamp = Callable[[float], str]
"""A time (UTC seconds since 1970) for people."""
Explain = Callable[[Detail], str]
"""An error (`GarageError.as_dict()`) for people, in the language that is wanted."""


@dataclass(frozen=True, slots=True)
class Sentences:
    """A title of one line and a text, with `{name}` fields of the news' detail."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Kind:
    """`by_mail`: sent by e-mail unless somebody says otherwise. `of_project`: its webhooks are told, too. `of_site`: for admins and
    operators alone."""

    en: Sentences
    ja: Sentences
    label_en: str
    label_ja: str
    by_mail: bool = True
    of_project: bool = True
    of_site: bool = False


KINDS: dict[str, Kind] = {
    "machine.ready": Kind(
        Sentences("{machine} is ready", "Log in: garage ssh {machine}"),
        Sentences("{machine} が使えます", "ログイン: garage ssh {machine}"),
        "A machine is ready",
        "機械が使えるようになった",
        by_mail=False,
    ),
    "machine.failed": Kind(
        Sentences("{machine} failed", "{error}"),
        Sentences("{machine} で問題が起きました", "{error}"),
        "A machine failed",
        "機械で問題が起きた",
    ),
    "lease.soon": Kind(
        Sentences(
            "The lease of {machine} ends soon", "It stops at {until}. To keep it: garage machine renew {machine}"
        ),
        Sentences(
            "{machine} の期限がもうすぐ切れます", "{until} に止まります。延長するには: garage machine renew {machine}"
        ),
        "A lease ends soon",
        "期限がもうすぐ切れる",
    ),
    "lease.ended": Kind(
        Sentences(
            "The lease of {machine} has ended",
            "It was stopped, and is deleted with its disk at {until}. To keep it: garage machine renew {machine}",
        ),
        Sentences(
            "{machine} の期限が切れました",
            "止めました。{until} にディスクごと削除します。残すには: garage machine renew {machine}",
        ),
        "A lease has ended",
        "期限が切れた",
    ),
    "lease.deleted": Kind(
        Sentences("{machine} is deleted", "Its lease ended, and nobody renewed it in time."),
        Sentences("{machine} を削除しました", "期限が切れ、延長されませんでした。"),
        "A machine was deleted because its lease had ended",
        "期限切れの機械が削除された",
    ),
    "machine.moving": Kind(
        Sentences("{machine} will move to another node", "Node {node} is being emptied. {way}"),
        Sentences("{machine} を別のノードに移します", "ノード {node} を空けています。{way}"),
        "A machine will be moved",
        "機械が別のノードに移される",
    ),
    "image.done": Kind(
        Sentences("Image {image} is here", "Machines can be made of it now."),
        Sentences("イメージ {image} ができました", "このイメージで機械を作れます。"),
        "An image has come",
        "イメージができた",
        of_project=False,
    ),
    "image.failed": Kind(
        Sentences("Image {image} did not come", "{error}"),
        Sentences("イメージ {image} を用意できませんでした", "{error}"),
        "An image did not come",
        "イメージを用意できなかった",
        of_project=False,
    ),
    "project.added": Kind(
        Sentences("You are in project {project} now", "{by} has added you."),
        Sentences("プロジェクト {project} に加わりました", "{by} さんが追加しました。"),
        "Somebody adds you to a project",
        "プロジェクトに追加された",
        of_project=False,
    ),
    "project.removed": Kind(
        Sentences("You are no longer in project {project}", "{by} has taken you out."),
        Sentences("プロジェクト {project} から外れました", "{by} さんが外しました。"),
        "Somebody takes you out of a project",
        "プロジェクトから外された",
        of_project=False,
    ),
    "node.silent": Kind(
        Sentences(
            "Node {node} does not answer", "Neither its hypervisor nor its netd has been heard of: garage node list"
        ),
        Sentences(
            "ノード {node} が応答しません", "ハイパーバイザーからも netd からも連絡がありません: garage node list"
        ),
        "A node does not answer (admins)",
        "ノードが応答しない（管理者）",
        of_project=False,
        of_site=True,
    ),
}

TEST = Kind(
    Sentences("A test from {organisation}", "It arrives: this is how news will come to “{channel}”."),
    Sentences("{organisation} からのテストです", "届いています。お知らせはこのように「{channel}」に届きます。"),
    "A test",
    "テスト",
)
CONFIRM = Kind(
    Sentences(
        "Your code: {code}",
        "Type it on the page “News” to get news here. It is good for a day. Was it not you? Then do nothing.",
    ),
    Sentences(
        "確認コード: {code}",
        "「お知らせ」のページに入力すると、ここに届くようになります。一日有効です。心当たりがなければ何もしないでください。",
    ),
    "A code",
    "確認コード",
)
EVERY: dict[str, Kind] = {**KINDS, "test": TEST, "confirm": CONFIRM}

WAYS: dict[str, dict[str, str]] = {
    "live": {
        "en": "It runs on while it moves, and keeps addresses and connections.",
        "ja": "動いたまま移り、アドレスも接続もそのままです。",
    },
    "cold": {"en": "It is off, and its disk is copied.", "ja": "止まっているので、ディスクをコピーします。"},
    "waits": {"en": "It moves as soon as it is in a state for that.", "ja": "移れる状態になりしだい移ります。"},
    "stays": {
        "en": "For now it has to stay, since nothing else has room for it: look at its page.",
        "ja": "今は移る先がないため、その場に残ります。機械のページをご覧ください。",
    },
}
"""`core.drain.Way`, for owners."""


@dataclass(frozen=True, slots=True)
class Told:
    """News in one language. `path` is the page that helps."""

    title: str
    text: str
    path: str


def label(kind: str, locale: str) -> str:
    """What a kind is called where one chooses."""
    return KINDS[kind].label_ja if locale == "ja" else KINDS[kind].label_en


def tell(kind: str, detail: Detail, locale: str, *, stamp: Stamp, explain: Explain) -> Told:
    """The sentences of `locale` ("en" or "ja"), filled. A kind that this version does not know tells its name."""
    path = path_of(kind, detail)
    if kind not in EVERY:
        return Told(one_line(kind), "", path)
    said = EVERY[kind].ja if locale == "ja" else EVERY[kind].en
    fields = dict(detail)
    if "until" in fields:
        fields["until"] = stamp(fields["until"])
    if "error" in fields:
        fields["error"] = explain(fields["error"]) if fields["error"] else ""
    if "way" in fields:
        fields["way"] = WAYS.get(fields["way"], {}).get("ja" if locale == "ja" else "en", "")
    return Told(one_line(fill(said.title, fields)), fill(said.text, fields).strip(), path)


def path_of(kind: str, detail: Detail) -> str:
    """Below the garage's own address."""
    if "machine" in detail and kind != "lease.deleted":
        return f"/machines/{quote(str(detail['machine']), safe='.')}"
    begin = kind.partition(".")[0]
    if begin == "project" and kind != "project.removed":
        return f"/projects/{quote(str(detail['project']), safe='')}"
    return {"image": "/images", "node": "/nodes", "machine": "/machines", "lease": "/machines"}.get(begin, "/news")


def one_line(text: str) -> str:
    """Of whatever names it holds: a title becomes a header of an e-mail."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
