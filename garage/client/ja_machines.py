"""What is said of machines that are renamed, tagged, rebuilt or resized, in Japanese."""

from __future__ import annotations

MACHINES: dict[str, str] = {
    "The disk of a machine that is stopped, also after its lease, as a qcow2 file that stands alone.": (
        "停止中の機械のディスクを、単独で使える qcow2 ファイルとして取り出します（期限切れの後も可）。"
    ),
    "downloading": "取り出しています",
    "the download broke off: {reason}": "受信が途切れました：{reason}",
    "try again; it goes on where it ended": "もう一度試すと、続きから受け取ります",
    "what has come is not the file": "届いた内容が元のファイルと違います",
    "{file}: {size} MiB, its sha256 compared": "{file}：{size} MiB、sha256 を確かめました",
    "{name} was started meanwhile": "その間に {name} が起動しました",
    "stop it, and ask again": "停止してから、もう一度頼んでください",
    "try again": "もう一度試してください",
    "warning: {detail}": "注意: {detail}",
    "Whether an image's cloud-init takes this user-data; nothing is made.": (
        "この user-data をイメージの cloud-init が受け付けるか調べます。機械は作りません。"
    ),
    "What the machine would boot (default: debian-12).": "起動するイメージ（既定は debian-12）。",
    "{file} is taken": "{file} は受け付けられます",
    "complete commands in your shell": "シェルでコマンドを補完する",
    'Print what makes a shell complete “garage”; for bash: eval "$(garage completion bash)".': (
        'シェルが「garage」を補完するための設定を表示します。bash なら: eval "$(garage completion bash)"'
    ),
    "{name} is called {new} now": "{name} の名前を {new} に変えました",
    "no tags": "タグはありません",
    "no notes": "メモはありません",
    "TAGS": "タグ",
    "tags": "タグ",
    "notes": "メモ",
    "Rebuild {name}? Everything on its disk is lost.": "{name} を作り直しますか。ディスクの中身はすべてなくなります。",
    "{name}: {size} ({figures}) from its next start on": "{name}: 次の起動から {size}（{figures}）になります",
    "With this tag.": "このタグが付いたもの。",
    "A word by which “list --tag” finds it.": "あとで「list --tag」で探すための言葉。",
    "Give a machine another name; it is reached by that one from now on.": "機械の名前を変えます。これからは新しい名前で呼び出します。",
    "Put words on a machine, by which “list --tag” finds it.": "機械にタグを付けます。「list --tag」で探せるようになります。",
    "Take this one off.": "このタグを外します。",
    "Write something down about a machine, or show what is written; an empty text removes it.": (
        "機械にメモを書きます。本文を省くと今のメモを表示し、空の本文を渡すと消します。"
    ),
    "The same machine on a new disk: what is on the old one is lost; name, addresses, keys and lease stay.": (
        "同じ機械を新しいディスクで作り直します。古いディスクの中身はなくなり、名前、アドレス、鍵、期限はそのままです。"
    ),
    "What it boots then (default: the newest of what it was made of).": "起動するイメージ（省くと、元のイメージの最新版）。",
    "Another size: a machine that runs grows at once; one that is off has it from its next start on. A disk never shrinks.": (
        "別の大きさにします。動いている機械はその場で大きくなり、止まっている機械は次の起動から変わります。ディスクは小さくなりません。"
    ),
    "Wait until a machine that runs has grown.": "動いている機械が大きくなり終わるまで待ちます。",
    "{name} grows to {size} ({figures})": "{name} を {size}（{figures}）に広げています",
    "{name}: {size} ({figures})": "{name}: {size}（{figures}）",
    "Give a machine to another of your projects; its addresses stay, its name and who may log in change.": (
        "機械を自分の別のプロジェクトに移します。アドレスはそのままで、名前とログインできる人が変わります。"
    ),
    "{name} belongs to {project} now; its name is {fqdn}": "{name} を {project} に移しました。名前は {fqdn} です",
    "Set what a machine may take of what its node shares (admin), also while it runs: 0 is no limit, “default” as its size has it.": (
        "サーバーを共有する機械が使える量の上限を決めます（管理者）。動作中でもすぐ効きます。0 は上限なし、default は大きさごとの値です。"
    ),
    "Reads and writes per second.": "1 秒あたりの読み書きの回数。",
    "MB per second, read and written.": "1 秒あたりの読み書きの量（MB）。",
    "Mbit per second, each way.": "上りと下りそれぞれの速さ（Mbit/s）。",
    "Open at the same time.": "同時に開ける接続の数。",
    "{value} is neither a number nor “default”": "{value} は数でも default でもありません",
    "{} connections": "接続 {} 本",
    "any IOPS": "IOPS の上限なし",
    "any MB/s": "MB/s の上限なし",
    "any Mbit/s": "Mbit/s の上限なし",
    "any number of connections": "接続数の上限なし",
    "(set)": "（個別に設定）",
    "limits": "上限",
    "Start it then, and wait until its SSH answers.": "続けて起動し、SSH が応えるまで待ちます。",
    "A machine's disk as it was: keep it, return to it.": "機械のディスクの状態を残し、あとでそこに戻します。",
    "Keep a machine's disk as it is now; it may run meanwhile.": "機械のディスクを今の状態で残します。動いているままで作れます。",
    "Without freezing its file systems: the disk is as after a power cut.": (
        "ファイルシステムを一時停止しません。ディスクは停電の直後と同じ状態になります。"
    ),
    "Wait until it is there.": "でき上がるまで待ちます。",
    "{name} ({size})": "{name}（{size}）",
    "A machine's snapshots, the newest first.": "機械のスナップショットを新しい順に表示します。",
    "HOW": "状態の種類",
    "MADE": "作成",
    "none; keep its disk as it is now: garage machine snapshot create {name}": (
        "ありません。今のディスクを残すには: garage machine snapshot create {name}"
    ),
    "Return a machine that is off to a snapshot: what came on its disk since is lost.": (
        "止まっている機械をスナップショットの状態に戻します。その後のディスクの変更はなくなります。"
    ),
    "Return {machine} to {name}? What came on its disk since is lost.": (
        "{machine} を {name} に戻しますか。その後のディスクの変更はなくなります。"
    ),
    "{machine} is what it was at {name}; start it: garage machine start {machine}": (
        "{machine} を {name} の状態に戻しました。起動するには: garage machine start {machine}"
    ),
    "Delete a snapshot; the others stay.": "スナップショットを削除します。ほかのものはそのままです。",
    "Delete the snapshot {name} of {machine}?": "{machine} のスナップショット {name} を削除しますか。",
    "Deleting {name}.": "{name} を削除しています。",
    "being made": "作成中",
    "being deleted": "削除中",
    "being returned to": "復元中",
    "machine off": "停止中に作成",
    "while it ran": "動作中に作成",
    "as after a power cut": "停電の直後と同じ",
}
