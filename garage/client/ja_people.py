"""Japanese words of the client about people and the audit log."""

from __future__ import annotations

AUDIT: dict[str, str] = {
    "auditor": "監査担当",
    "operator": "運用者",
    "{role} of {site}": "{site} の{role}",
    "{name} is: {roles}.": "{name} の役割: {roles}",
    "Make a user an auditor, or an operator of a site.": "利用者を監査担当、または拠点の運用者にします。",
    "Take such a role; it ends at once.": "その役割を外します。すぐに効きます。",
    "An operator's; this garage's own by default.": "運用者の拠点（省略時はこの garage の拠点）。",
    "the entry was removed": "記録が消されています",
    "the entry was changed, or its seal": "記録またはその封印が書き換えられています",
    "the entry was put in afterwards": "記録があとから差し込まれています",
    "seals before it were removed": "この前の封印が消されています",
    "the seal was not made by this garage": "この garage が作った封印ではありません",
    "the log's beginning was removed by hand": "記録の先頭が手作業で消されています",
    "it is not the head that was noted: the log's end was removed, or its seals were made anew": (
        "控えておいた先端と違います。記録の末尾が消されたか、封印が作り直されています"
    ),
    "{value} is no time: write 2026-11-20 or 2026-11-20T14:05": (
        "{value} は日時ではありません。2026-11-20 または 2026-11-20T14:05 のように書いてください"
    ),
    "Only before this time.": "この日時より前だけ。",
    "Only from this time on: 2026-11-20 or 2026-11-20T14:05.": "この日時以後だけ（2026-11-20 または 2026-11-20T14:05）。",
    "Only in this project.": "このプロジェクトの分だけ。",
    "Only this: machine.create, or of its kind: machine.": "この操作だけ（machine.create、または種類で machine）。",
    "Only what this user did.": "この利用者がしたことだけ。",
    "Only what was done to this: a part of its name.": "これに対して行われたことだけ（名前の一部）。",
    "The audit log, oldest first, a line per entry on standard output.": (
        "監査記録を古い順に、一件一行で標準出力に書き出します。"
    ),
    "Look whether an entry was changed, removed or put in; names the first one (admin).": (
        "書き換え・削除・差し込みがないか調べ、あれば最初の一件を示します（管理者）。"
    ),
    "What an earlier look has printed: finds a cut-off end, too.": "以前の検証が表示した値。末尾が消されたことも分かります。",
    "as an earlier look has printed it: NUMBER:HASH": "以前の検証が表示したとおりに NUMBER:HASH と書いてください",
    "the audit log is broken at entry {entry} (seal {number}): {reason}": (
        "監査記録は {entry} 番の記録（封印 {number}）で壊れています: {reason}"
    ),
    "compare it with an export or a backup from before": "以前の書き出しかバックアップと比べてください",
    "The log is whole: {entries} entries, {waiting} not sealed yet. Head: {number}:{hash}": (
        "記録は完全です。{entries} 件、まだ封印していないもの {waiting} 件。先端: {number}:{hash}"
    ),
}

ACCESS: dict[str, str] = {
    "What it may do.": "許すこと。",
    "MAY": "許可",
    "service account of {project}": "{project} のサービスアカウント",
    "browsers in which you are signed in": "サインインしているブラウザー",
    "Accounts of programs: members of one project, with API tokens alone.": (
        "プログラムのためのアカウント。一つのプロジェクトに属し、API トークンだけを持ちます。"
    ),
    "A project's service accounts with their tokens.": "プロジェクトのサービスアカウントとそのトークン。",
    "TOKENS": "トークン",
    "Make a service account (owner).": "サービスアカウントを作ります（所有者）。",
    "Made {name}. Its token: garage project service token": (
        "{name} を作りました。トークンはこう作ります: garage project service token"
    ),
    "End a service account with its tokens and keys (owner).": "サービスアカウントをトークンと鍵ごと終わらせます（所有者）。",
    "Removed {name}.": "{name} を消しました。",
    "Make a token for it; it is shown this once, on standard output (owner).": (
        "そのトークンを作ります。表示は一度だけ、標準出力に出ます（所有者）。"
    ),
    "Revoke one of its tokens by its id (owner).": "そのトークンを ID で取り消します（所有者）。",
    "Browsers in which you are signed in.": "サインインしているブラウザー。",
    "Where you are signed in, the newest first.": "サインインしている所を新しい順に表示します。",
    "FROM": "接続元",
    "HOW": "方法",
    "password": "パスワード",
    "API token": "API トークン",
    "BROWSER": "ブラウザー",
    "Sign a browser out by its id, or all of them.": "ブラウザーを ID で、またはすべてサインアウトさせます。",
    "All of them.": "すべて。",
    "name a session, or --all": "セッションの ID か --all を書いてください",
    "Signed out.": "サインアウトしました。",
}

FACTOR: dict[str, str] = {
    "Code of your authenticator app": "認証アプリのコード",
    "Take a user's second factor, who has lost it; they set up a new one.": (
        "二要素認証の手段をなくした利用者の登録を消します。本人が新しく登録します。"
    ),
    "{name} has no second factor any more.": "{name} の二要素認証の登録を消しました。",
}

LEAVING: dict[str, str] = {
    "does not answer yet": "まだ応答がありません",
    "is off: they go when it starts": "止まっています。起動したときに消えます",
    "its node does not answer": "ノードが応答しません",
    "Let a user go: end all that lets them in, hand over or delete what is theirs.": (
        "去る利用者のアクセスをすべて終わらせ、持ち物を引き継ぐか削除します。"
    ),
    "Who takes over what they alone own.": "その人だけが所有するものを引き継ぐ人。",
    "Delete the machines and volumes of what they alone own.": "その人だけが所有するプロジェクトの機械とボリュームを削除します。",
    "say --to OTHER or --delete": "--to OTHER か --delete のどちらかを書いてください",
    "{name} is shut out.": "{name} のアクセスを終わらせました。",
    "{to} owns now: {projects}.": "{to} が引き継いだもの: {projects}。",
    "End the service account {name} with its tokens and keys?": "サービスアカウント {name} を、トークンと鍵ごと終了しますか？",
    "Machines being deleted: {count}.": "削除中の機械: {count} 台。",
    "Machines from which keys were removed: {count}.": "鍵を消した機械: {count} 台。",
    "Still there:": "まだ残っているもの:",
}

PEOPLE: dict[str, str] = AUDIT | ACCESS | FACTOR | LEAVING
