"""Japanese words of `garage image`."""

from __future__ import annotations

IMAGES: dict[str, str] = {
    "Images that you may use, the current ones first.": "使えるイメージを、今使われるものから順に表示します。",
    "Bring an image: a file here, or an http(s) address that the controller fetches.": (
        "イメージを取り込みます。手元のファイルか、コントローラーが取得する http(s) のアドレスを指定します。"
    ),
    "Build the image of a recipe that ships, or of a recipe file, for all (admin).": (
        "付属のレシピ、またはレシピのファイルから、全員が使うイメージを作ります（管理者）。"
    ),
    "TITLE": "名称",
    "Recipes that ship with the garage.": "ガレージに付いているレシピ。",
    "“garage image recipes” shows those that ship": "付いているレシピは「garage image recipes」で見られます",
    "Call an image off that is on its way, or forget one that did not come.": (
        "取り込み中のイメージを取りやめます。失敗したものの記録も消せます。"
    ),
    "Delete an image of yours that no machine is made of, by name or sha256.": (
        "自分のイメージのうち、機械に使われていないものを削除します。名前か sha256 で指定します。"
    ),
    "How its own loader is started.": "イメージ自身のブートローダーの起動方法。",
    "Images on their way, and why one did not come.": "取り込み中のイメージと、失敗した理由を表示します。",
    "Of the disk; by default by the file's name.": "ディスクの形式。省くとファイル名から判断します。",
    "Of the file as it comes, from its publisher's list.": "配布元が示している、ファイルそのものの sha256。",
    "Say who may use an image of yours.": "自分のイメージを誰が使えるかを決めます。",
    "Who may use it.": "誰が使えるか（own は自分、project はプロジェクト、all は全員）。",
    "Whose members may use it, with --for project.": "--for project のとき、メンバーが使えるプロジェクト。",
    "FOR": "使える人",
    "all": "全員",
    "oneself": "本人だけ",
    "project": "プロジェクト",
    "checksums": "チェックサム",
    "comparing its sha256": "sha256 を確かめています",
    "converting": "変換しています",
    "copying its disk": "ディスクを写しています",
    "taking its identity off": "固有の情報を取り除いています",
    "Make an image of a machine that is stopped, without anything by which it or its people are known.": (
        "停止中の機械からイメージを作ります。機械や利用者を特定する情報は含みません。"
    ),
    "Of this one of its snapshots; then it need not be stopped.": (
        "ディスクの代わりに、このスナップショットから作ります（停止は不要です）。"
    ),
    "Whose members may use it, with --for project; by default the machine's.": (
        "--for project のとき、メンバーが使えるプロジェクト。省くと機械のプロジェクト。"
    ),
    "damaged": "破損",
    "decompressing": "展開しています",
    "did not come": "失敗しました",
    "fetching": "取得しています",
    "uploading": "送っています",
    "is here": "使えます",
    "making the disk": "ディスクを作っています",
    "on its way": "取り込んでいます",
    "waits for its file": "ファイルを待っています",
    "it had to boot: machines of the image {image} learn who they are at their first boot": (
        "イメージ {image} の機械は最初の起動で設定されるため、新しく起動しました"
    ),
    "the upload broke off: {reason}": "送信が途切れました：{reason}",
    "try again; what has come so far is forgotten after a day": "もう一度試してください。途中まで届いた分は一日後に消えます",
    "{file} cannot be read: {reason}": "{file} を読めません：{reason}",
    "{name} is deleted": "{name} を削除しました",
    "{name} is not wanted any more": "{name} を取りやめました",
    "{name} is on its way: garage image tasks": "{name} を取り込んでいます：garage image tasks",
}
