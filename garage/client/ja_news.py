"""Japanese words of the client about announcements."""

from __future__ import annotations

ANNOUNCEMENT: dict[str, str] = {
    "what stands at the top of every page": "全ページの先頭に出すお知らせ",
    "What stands at the top of every page.": "全ページの先頭に出すお知らせ。",
    "What is announced.": "今のお知らせを表示します。",
    "nothing is announced": "お知らせはありません",
    "ENGLISH": "英語",
    "JAPANESE": "日本語",
    "BEGINS": "開始",
    "ENDS": "終了",
    "KIND": "種類",
    "no": "いいえ",
    "SHOWN NOW": "表示中",
    "Announce something in English and Japanese, in place of what was announced (admin).": (
        "英語と日本語でお知らせを出します。前のお知らせは置き換わります（管理者）。"
    ),
    "The text in English.": "英語の文。",
    "The text in Japanese.": "日本語の文。",
    "Readers cannot close it.": "読んだ人が閉じられないようにします。",
    "Shown from this time on: 2026-11-20 or 2026-11-20T14:05.": (
        "この日時から表示します（2026-11-20 または 2026-11-20T14:05）。"
    ),
    "Not shown from this time on.": "この日時から表示しません。",
    "It stands at the top of every page now.": "全ページの先頭に表示しました。",
    "It stands at the top of every page from {since} on.": "{since} から全ページの先頭に表示します。",
    "Announce it no more (admin).": "お知らせを取り下げます（管理者）。",
    "nothing is announced any more": "お知らせを取り下げました",
}

NEWS: dict[str, str] = ANNOUNCEMENT
