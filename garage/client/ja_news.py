"""Japanese words of the client about announcements and news."""

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
INBOX: dict[str, str] = {
    "what concerns you": "あなたに関わるお知らせ",
    "e-mail and webhooks for news": "お知らせを届けるメールとウェブフック",
    "What concerns you and your machines.": "あなたと機械に関わるお知らせ。",
    "Your news, newest first.": "お知らせを新しい順に表示します。",
    "Only those that you have not read.": "まだ読んでいないものだけ。",
    "NEWS": "お知らせ",
    "no news": "お知らせはありません",
    "Mark news as read, by their ids, or all of them.": "お知らせを ID で、またはすべて既読にします。",
    "name news, or --all": "お知らせの ID か --all を書いてください",
    "They are read.": "既読にしました。",
    "Ways by which news come: e-mail and webhooks, yours or a project's.": (
        "お知らせの届け先。自分のメールとウェブフック、またはプロジェクトのウェブフック。"
    ),
    "WHERE": "宛先",
    "waits for its code": "確認コード待ち",
    "fails: {reason}": "届きません: {reason}",
    "{count} on their way": "{count} 件を送っています",
    "works, {time}": "届いています（{time}）",
    "not used yet": "まだ使っていません",
    "By which ways news come to you, or of a project.": "自分の、またはプロジェクトの届け先を表示します。",
    "A project's instead (owner).": "自分のではなくプロジェクトの届け先（所有者）。",
    "none; add one: garage channel add NAME --mail ADDRESS": (
        "届け先はありません。追加するには: garage channel add 名前 --mail アドレス"
    ),
    "Add one: an e-mail address, or a webhook; “-” as its address reads that from standard input.": (
        "メールアドレスかウェブフックを追加します。アドレスを「-」にすると標準入力から読みます。"
    ),
    "An e-mail address: it gets a code first.": "メールアドレス。まず確認コードが届きます。",
    "A webhook that takes {“text”: …}: Slack, and whatever imitates it.": (
        "{“text”: …} を受け取るウェブフック（Slack とその互換）。"
    ),
    "A webhook of your own program, signed.": "自作のプログラムのウェブフック（署名つき）。",
    "A Matrix homeserver; its access token is asked for.": "Matrix のホームサーバー。アクセストークンを尋ねます。",
    "The Matrix room's id, as !abc:example.org.": "Matrix の部屋の ID（例: !abc:example.org）。",
    "For a project instead of you (owner).": "自分ではなくプロジェクトのため（所有者）。",
    "Only these kinds, as machine.failed; several times.": "この種類だけ（例: machine.failed）。何度でも書けます。",
    "In this language.": "この言語で届けます。",
    "say one of --mail, --slack, --json, --matrix": "--mail、--slack、--json、--matrix のどれか一つを書いてください",
    "Access token": "アクセストークン",
    "A code is on its way to {where}: garage channel confirm {id} CODE": (
        "{where} に確認コードを送りました: garage channel confirm {id} コード"
    ),
    "Added {name}. Try it: garage channel test {id}": "{name} を追加しました。試すには: garage channel test {id}",
    "Key of its signatures, shown this once: {secret}": "署名の鍵（表示は一度だけ）: {secret}",
    "nothing came by standard input": "標準入力から何も来ませんでした",
    "Say which kinds of news go there.": "届けるお知らせの種類を選びます。",
    "Set.": "設定しました。",
    "Send a test there.": "試しに一通送ります。",
    "A test is on its way. What became of it: garage channel list": "試しに送りました。結果は: garage channel list",
    "Give the code that was sent to an e-mail address.": "メールで届いた確認コードを入力します。",
    "News go there now.": "これからお知らせを届けます。",
    "Remove one, with what is on its way to it.": "届け先を、送りかけのものごと消します。",
    "Removed.": "消しました。",
}

NEWS: dict[str, str] = ANNOUNCEMENT | INBOX
