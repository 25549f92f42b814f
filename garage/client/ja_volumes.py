"""What is said of volumes, in Japanese."""

from __future__ import annotations

VOLUMES: dict[str, str] = {
    "disks that outlive machines": "機械が消えても残るディスク",
    "Disks that outlive machines.": "機械が消えても残るディスク（ボリューム）を扱います。",
    "available": "空いています",
    "being attached": "取り付け中",
    "attached": "取り付け済み",
    "being returned to a snapshot": "スナップショットに戻しています",
    "A volume as it was: keep it, return to it.": "ボリュームの中身を残し、あとでその状態に戻します。",
    "Without freezing the machine's file systems: what is on it is as after a power cut.": (
        "機械のファイルシステムを一時停止しません。中身は停電の直後と同じ状態になります。"
    ),
    "Keep what is on a volume now; no machine has it, or one that is ready or off.": (
        "ボリュームの今の中身を残します。付いている機械は、使えるときか止まっているときに限ります。"
    ),
    "A volume's snapshots, the newest first.": "ボリュームのスナップショットを新しい順に表示します。",
    "none; keep what is on it now: garage volume snapshot create {name}": (
        "ありません。今の中身を残すには: garage volume snapshot create {name}"
    ),
    "Return a volume to a snapshot: what came on it since is lost; it does not shrink.": (
        "ボリュームをスナップショットの状態に戻します。そのあとの変更は失われます。小さくはなりません。"
    ),
    "Return {volume} to {name}? What came on it since is lost.": (
        "{volume} を {name} の状態に戻しますか。そのあとの変更は失われます。"
    ),
    "{volume} holds what it held at {name}.": "{volume} の中身は {name} の状態に戻りました。",
    "Delete the snapshot {name} of {volume}?": "{volume} のスナップショット {name} を削除しますか。",
    "being detached": "取り外し中",
    "Make an empty volume; a machine that is named gets it at once.": (
        "空のボリュームを作ります。機械を指定すると、できしだい取り付けます。"
    ),
    "How large, in GiB.": "大きさ（GiB）。",
    "That gets it; it is made on that machine's server.": "取り付ける機械。ボリュームはその機械のサーバーに作られます。",
    "Your volumes, the newest first.": "自分のボリュームを新しい順に表示します。",
    "That this machine has.": "この機械に付いているもの。",
    "no volumes yet: garage volume create NAME --size GIB": "ボリュームはまだありません。作るには: garage volume create 名前 --size GiB",
    "Everything about one volume.": "1 つのボリュームの詳細を表示します。",
    "A volume that it gets: it is made on that one's server.": (
        "取り付けるボリューム。機械はそのボリュームのあるサーバーに作られます。"
    ),
    "found there at": "機械での場所",
    "Give a volume to a machine on its server, which may run.": (
        "同じサーバーにある機械にボリュームを取り付けます。動いているままで取り付けられます。"
    ),
    "Take a volume from its machine; unmount it there first, or stop the machine.": (
        "機械からボリュームを取り外します。先に機械でアンマウントするか、機械を止めてください。"
    ),
    "Make a volume larger, also while a machine uses it; it never shrinks.": (
        "ボリュームを大きくします。使用中でもかまいません。小さくすることはできません。"
    ),
    "Delete a volume that no machine has, with all that is on it.": (
        "どの機械にも付いていないボリュームを、中身ごと削除します。"
    ),
    "Delete {name} and all that is on it?": "{name} を中身ごと削除しますか。",
    "{name} ({size_gib} GiB): {machine} has it at {path}": "{name}（{size_gib} GiB）: {machine} の {path} にあります",
    "{name} ({size_gib} GiB): {state}": "{name}（{size_gib} GiB）: {state}",
    "{made_gib} of {size_gib} GiB": "{size_gib} GiB のうち {made_gib} GiB",
    "MACHINE": "機械",
    "machine": "機械",
    "made": "作成",
}
