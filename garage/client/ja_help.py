"""What commands and options say of themselves, in Japanese."""

from __future__ import annotations

HELP: dict[str, str] = {
    "Try placement policies on a simulated fleet; no server is touched. Runs on the controller's own server.": (
        "模擬のサーバー群で配置の方針を試します。実際のサーバーには触れません。コントローラーのサーバーで実行してください。"
    ),
    "Servers of the fleet.": "サーバーの台数。",
    "Machines that exist on average.": "平均して存在する機械の台数。",
    "Simulated time.": "模擬する時間（分）。",
    "How many minutes a machine lives.": "機械の平均寿命（分）。",
    "May be given several times, to compare.": "何度か指定すると比べられます。",
    "The same seed draws the same requests.": "同じ値なら同じ要求の列になります。",
    "run it on the server where the garage runs": "ガレージが動いているサーバーで実行してください",
    "the garage's own program is not installed here": "このコンピューターにはガレージ本体のプログラムがありません",
    "Why a machine is where it is; without NAME: where one would go, and what each node lacks.": (
        "機械がなぜそのノードにあるかを説明します。NAME を省くと、作るとしたらどこに置かれ、ほかのノードには何が足りないかを表示します。"
    ),
    "Not on a node with another machine of the project with this word.": (
        "同じプロジェクトで同じ言葉を付けた機械とは、別のノードに置きます。"
    ),
    "A label that its node must have.": "ノードに付いていなければならないラベル。",
    "So many at once, all or none, named NAME-1, NAME-2, …": (
        "この台数をまとめて作ります（すべて作れなければ一台も作りません）。名前は NAME-1、NAME-2、… になります。"
    ),
    "Label a node; KEY= removes one (admin).": "ノードにラベルを付けます。KEY= で外します（管理者）。",
    "a label is KEY=VALUE": "ラベルは KEY=VALUE の形で書いてください",
    "give the name of a machine, or say what one would be like": "機械の名前か、作る機械の条件か、どちらか一方を指定してください",
    "one waits there": "待機中の機械がある",
    "the image is there": "イメージがある",
    "memory left free": "残るメモリ",
    "memory used": "使うメモリ",
    "take no machines": "台は機械を受け入れていません",
    "do not answer": "台は応答がありません",
    "have a hypervisor that does not answer": "台はハイパーバイザーが応答しません",
    "have not been looked at": "台はまだ調べていません",
    "have not the labels": "台にはラベルがありません",
    "have one of those that are kept apart": "台には別々に置く機械がすでにあります",
    "have too little free disk": "台は空きディスクが足りません",
    "have promised too much disk": "台は割り当てられるディスクが足りません",
    "have too little memory": "台はメモリが足りません",
    "have too few vCPUs": "台は vCPU が足りません",
    "{name} is on {node} since {time}.": "{name} は {time} から {node} にあります。",
    "Then {fitting} nodes had room; {node} was best: {why}.": "そのとき空きのあったノードは {fitting} 台で、{node} が最適でした（{why}）。",
    "Next best was {node}: {why}.": "次点は {node} でした（{why}）。",
    "Why it was placed there is not known.": "なぜそこに置かれたかの記録はありません。",
    "If it were placed now:": "今あらためて置くとしたら:",
    "there are no nodes": "ノードがありません",
    "{fitting} of {total} nodes have room; it would go to {node}.": "{total} 台のうち {fitting} 台に空きがあり、{node} に置かれます。",
    "None of {total} nodes can take it.": "{total} 台のどのノードにも置けません。",
    "Of all nodes: {counts}.": "全ノードのうち: {counts}。",
    "no labels": "ラベルなし",
    "Break a garage made for it, at random, and examine it after each fault. Yours is not touched.": (
        "専用に作った garage を手当たり次第に壊し、そのたびに点検します。お使いの garage には触れません。"
    ),
    "How long; each fault comes at least once.": "時間（分）。どの故障も一度は起こします。",
    "Repeats an earlier run's draws.": "前回と同じ順序で繰り返すための種。",
    "Simulated servers.": "模擬サーバーの台数。",
    "pools of machines that wait (admin)": "待機中の機械（管理者）",
    "Empty a server: show what would move where, ask, then move one machine at a time.": (
        "サーバーを空にします。何がどこへ移るかを示し、確認してから 1 台ずつ移します。"
    ),
    "Only show what would happen.": "何が起こるかを示すだけにします。",
    "Let a server take machines again.": "サーバーがまた機械を受け入れるようにします。",
    "Say that a server on which nothing runs may be switched off.": (
        "何も動いていないサーバーを、電源を切ってもよい状態にします。"
    ),
    "moves to {target} while it runs": "動いたまま {target} へ移ります",
    "moves to {target}, off as it is": "止まったまま {target} へ移ります",
    "ends": "終わります",
    "moves when it is up, or off": "起動か停止が済んだら移ります",
    "stays": "残ります",
    "takes machines": "機械を受け入れます",
    "is being emptied": "空にしています",
    "in maintenance": "整備中",
    "{node} is being emptied": "{node} を空にしています",
    "Empty {node}? {moving} machines move, {staying} stay; their owners are told.": (
        "{node} を空にしますか。{moving} 台が移り、{staying} 台が残ります。所有者に知らせます。"
    ),
    "So many nodes are silent at once that the fault must be on this side: nothing moves now.": (
        "一度に多くのノードから応答が途絶えたため、原因はこちら側とみられます。いまは何も移しません。"
    ),
    "so many nodes are silent at once that the fault must be on this side: nothing is moved or declared lost": (
        "一度に多くのノードから応答が途絶えたため、原因はこちら側とみられます。何も移さず、失われたともみなしません"
    ),
    "MACHINE": "機械",
    "OWNER": "所有者",
    "WHAT HAPPENS": "どうなるか",
    "WHY": "理由",
    "there is no machine on {node}": "{node} に機械はありません",
    "moves to {target}: {percent} %": "{target} へ移っています: {percent} %",
    "{node} is empty: nothing runs on it": "{node} は空です。何も動いていません",
    "These are off and have their disks there:": "次の機械は止まっていて、ディスクがそこに残っています:",
    "what was refused is tried again every minute; garage node activate {node} takes the server back": (
        "移せなかった機械は 1 分ごとにもう一度試します。garage node activate {node} でサーバーを元に戻せます"
    ),
    "some machines could not leave {node}: {count}": "{node} から移せない機械が {count} 台あります",
    "its owner wants something else first": "先に所有者の操作を行います",
    "{name} did not move: {why}": "{name} は移りませんでした: {why}",
    "{name} is on {target} now": "{name} は {target} に移りました",
    "{name} runs on {target} now; it stood still for {pause} ms": (
        "{name} は {target} で動いています（止まっていた時間 {pause} ミリ秒）"
    ),
    "{name} moves to {target}": "{name} を {target} へ移しています",
    "emptying {node}": "{node} を空にしています",
    "its libvirt does not answer": "libvirt が応答しません",
    "its netd does not answer": "netd が応答しません",
    "its server is being emptied": "サーバーを空にしています",
    "it moves to {target} ({percent} %); it keeps its addresses, and connections stay open": (
        "{target} へ移っています（{percent} %）。アドレスは変わらず、接続も切れません"
    ),
    "its server {node} is being emptied: it moves to another one": (
        "サーバー {node} を空にしているため、別のサーバーへ移ります"
    ),
    "its server {node} is in maintenance: it cannot start there": "サーバー {node} は整備中のため、起動できません",
    "notice": "お知らせ",
    "For admins.": "管理者のためのコマンド。",
    "Machines that are booted in advance.": "あらかじめ起動しておく機械。",
    "How many wait, what they hold, how often a request found one in the last week.": (
        "待機中の台数、使っているメモリ、直近 1 週間に待機中の機械が見つかった割合。"
    ),
    "Have COUNT machines wait on each node, or “auto”: as many as demand says.": (
        "ノードごとに COUNT 台を待機させます。auto なら需要に合わせます。"
    ),
    "Machines at once, from anywhere that reaches your garage's controller.": (
        "コントローラーに届く所なら、どこからでも機械をすぐに使えます。"
    ),
    "Which controller, of those that you signed in to.": "サインインしたコントローラーのうち、どれを使うか。",
    "table for people, json for programs": "人には table、プログラムには json",
    "Commands": "コマンド",
    "sign in to a controller": "コントローラーにサインインする",
    "sign out": "サインアウトする",
    "who you are, and whether everything answers": "自分は誰か、すべて応答しているか",
    "make and use machines": "機械を作って使う",
    "log in to a machine, or run a command on it": "機械にログインする、またはコマンドを実行する",
    "copy files to and from a machine": "機械との間でファイルをコピーする",
    "let plain ssh, rsync and editors reach NAME.garage": "ふつうの ssh や rsync、エディターから NAME.garage に届くようにする",
    "SSH keys": "SSH 鍵",
    "API tokens": "API トークン",
    "projects, members, quotas": "プロジェクト、メンバー、割り当て",
    "people (admin)": "利用者（管理者）",
    "images": "イメージ",
    "servers": "サーバー",
    "who did what": "誰が何をしたか",
    "sites of the overlay (admin)": "オーバーレイの拠点（管理者）",
    "Sign in to a controller; it becomes the current one.": "コントローラーにサインインします。以後はそこを使います。",
    "What the server's certificate must be: sha256:…": "サーバーの証明書の指紋: sha256:…",
    "Your name at the controller.": "コントローラーでの利用者名。",
    "Read the password from standard input.": "パスワードを標準入力から読みます。",
    "Read an API token from standard input instead of a password.": "パスワードの代わりに API トークンを標準入力から読みます。",
    "Remember it under this name (default: host and port).": "この名前で覚えます（既定はホストとポート）。",
    "Sign out: revoke this computer's token and forget it.": "サインアウトします。このコンピューターのトークンを取り消して忘れます。",
    "Who you are, and whether everything answers.": "自分は誰か、すべて応答しているかを表示します。",
    "Make and use machines.": "機械を作って使います。",
    "Ask for a machine and wait until its SSH answers.": "機械を作り、SSH が応答するまで待ちます。",
    "How large; “garage machine sizes” shows them.": "大きさ。「garage machine sizes」で一覧を表示します。",
    "What it boots; “garage image list” shows them.": "起動するイメージ。「garage image list」で一覧を表示します。",
    "Whose it is (default: your own project).": "どのプロジェクトのものか（既定は自分のプロジェクト）。",
    "How long the lease lasts.": "使う日数。",
    "cloud-init user-data.": "cloud-init の user-data。",
    "Do not wait.": "待ちません。",
    "Your machines, newest first.": "自分の機械を新しい順に表示します。",
    "Part of a name or of NAME.PROJECT, or the beginning of an address.": "名前か「名前.プロジェクト」の一部、またはアドレスの先頭。",
    "On this node.": "このノードにあるもの。",
    "That boot this image.": "このイメージで起動するもの。",
    "Of this size.": "この大きさのもの。",
    "Made by this user.": "この利用者が作ったもの。",
    "The newest first otherwise.": "指定しなければ新しい順。",
    "At most so many.": "最大の件数。",
    "Everything about one machine.": "一台の機械のすべてを表示します。",
    "The sizes that there are.": "選べる大きさを表示します。",
    "Wait until it is done.": "終わるまで待ちます。",
    "Wait until its SSH answers.": "SSH が応答するまで待ちます。",
    "Start a stopped or failed machine.": "止まっている機械や失敗した機械を起動します。",
    "Shut a machine down; its disk stays.": "機械を止めます。ディスクは残ります。",
    "Shut a machine down and start it again.": "機械を止めて、もう一度起動します。",
    "Let the lease end later.": "期限を延長します。",
    "From now (default: the garage's lease).": "今からの日数（既定はこのガレージの期限）。",
    "Delete a machine and its disk.": "機械とディスクを削除します。",
    "Do not ask.": "確認しません。",
    "The end of the serial console.": "シリアルコンソールの最後を表示します。",
    "How much of it.": "表示する量。",
    "Log in to a machine, or run a command on it. Takes ssh's options: garage ssh [OPTIONS] NAME [-- COMMAND].": (
        "機械にログインするか、コマンドを実行します。ssh のオプションが使えます: garage ssh [OPTIONS] NAME [-- COMMAND]"
    ),
    "Copy files to or from a machine. Takes scp's options: garage scp [OPTIONS] FILE… NAME:PATH.": (
        "機械との間でファイルをコピーします。scp のオプションが使えます: garage scp [OPTIONS] FILE… NAME:PATH"
    ),
    "Let plain ssh, scp, rsync and editors reach NAME.garage.": "ふつうの ssh、scp、rsync、エディターから NAME.garage に届くようにします。",
    "Write it and include it in ~/.ssh/config, instead of printing it.": "表示する代わりにファイルに書き、~/.ssh/config から読み込みます。",
    "Standard input and output as a machine's SSH port, for OpenSSH's ProxyCommand.": (
        "標準入出力を機械の SSH ポートにつなぎます（OpenSSH の ProxyCommand 用）。"
    ),
    "SSH keys that may log in to your machines.": "自分の機械にログインできる SSH 鍵。",
    "Register a public key; your running machines learn it too.": "公開鍵を登録します。動いている機械にも届きます。",
    "What to call it.": "付ける名前。",
    "Your keys.": "自分の鍵を表示します。",
    "Forget a key; your running machines forget it too.": "鍵を消します。動いている機械からも消えます。",
    "API tokens for programs.": "プログラムのための API トークン。",
    "Make a token; it is shown this once, on standard output.": "トークンを作ります。標準出力に一度だけ表示します。",
    "How long it lives (default: until it is deleted).": "有効な日数（既定は削除するまで）。",
    "Your tokens, without their secrets.": "自分のトークンを表示します（秘密の部分は出しません）。",
    "Revoke a token by its id; what it opened is closed.": "トークンを ID で取り消します。それで開いた接続は閉じます。",
    "Projects: who shares machines, and how much they may use.": "プロジェクト: 誰と機械を共有し、どれだけ使えるか。",
    "Your projects with what they use.": "自分のプロジェクトと使用量を表示します。",
    "One project.": "一つのプロジェクトを表示します。",
    "Open a project; you own it.": "プロジェクトを作ります。所有者は自分です。",
    "Close a project that has no machines.": "機械のないプロジェクトを閉じます。",
    "Who belongs to a project.": "プロジェクトのメンバー。",
    "Add a member, or change their role.": "メンバーを加えるか、役割を変えます。",
    "Take a member out; their streams to its machines are closed.": "メンバーを外します。機械への接続は閉じます。",
    "Set what a project may use (admin).": "プロジェクトの割り当てを決めます（管理者）。",
    "People of the organisation (admin).": "組織の利用者（管理者）。",
    "All users.": "すべての利用者を表示します。",
    "Make a user; prints the one-time link by which they set a password.": (
        "利用者を作り、パスワードを決めるための一度だけ使えるリンクを表示します。"
    ),
    "A one-time link by which a user sets a new password.": "新しいパスワードを決めるための、一度だけ使えるリンクを表示します。",
    "End all of a user's sessions, tokens and streams.": "利用者のセッション、トークン、接続をすべて終わらせます。",
    "Let a disabled user sign in again.": "止めた利用者がまたサインインできるようにします。",
    "What machines boot.": "機械が起動するイメージ。",
    "The servers that machines run on.": "機械が動いているサーバー。",
    "Nodes with what is free on them.": "ノードと空きを表示します。",
    "Who did what.": "誰が何をしたか。",
    "The audit log, newest first: your projects, all for an admin.": (
        "監査記録を新しい順に表示します。自分のプロジェクトの分、管理者はすべて。"
    ),
    "Sites of the overlay (admin).": "オーバーレイの拠点を管理します（管理者）。",
    "Invite a site; prints the one line to type on its server.": "拠点を招待し、そのサーバーで打つ一行を表示します。",
    "How long the line is good for.": "その一行が使える期間。",
    "What this site itself shall be called (asked for once, while it is called home).": (
        "この拠点自身の名前（home という名前の間に一度だけ尋ねます）。"
    ),
    "One more node of a site that is a member.": "すでに参加している拠点にノードを追加します。",
    "Sites and how they are.": "拠点とその様子を一覧にします。",
    "One site, its nodes and its links.": "拠点ひとつと、そのノードとリンクを表示します。",
    "Remove a site; all others drop it at once.": "拠点を外します。ほかのすべての拠点がすぐに切り離します。",
    "New keys for a site's links, without an interruption.": "通信を止めずに、拠点のリンクの鍵を新しくします。",
    "Invitations and what became of them.": "招待とその結果を一覧にします。",
    "Set the overlay's figures.": "オーバーレイの設定値を変えます。",
    "Up to so many sites all are linked to all.": "この数の拠点までは、すべての拠点どうしをつなぎます。",
    "Milliseconds; three missed packets end a link.": "ミリ秒。三回続けて届かないとリンクを切ったものとみなします。",
    "The overlay follows its new figures.": "オーバーレイに新しい設定値を適用しました。",
    "Withdraw an invitation, by its id or the site's name.": "招待を取り消します（ID か拠点の名前で）。",
    "Throughput is measured every so many nights; 0: never.": "何日ごとに夜のうちに速度を測るか。0 なら測りません。",
    "Most Mb/s of a measurement.": "測定で流す速度の上限（Mb/s）。",
    "Most seconds of a measurement, each way.": "測定の長さの上限（片道ごとの秒数）。",
    "Links, all or those of a site.": "リンクを表示します。拠点の名前を付けると、その拠点のものだけを表示します。",
    "Measure the throughput between two linked sites, both ways.": "リンクでつながる二つの拠点の間の速度を、両方向で測ります。",
    "How long, each way.": "片道ごとに測る秒数。",
    "Most Mb/s; less where a line costs by volume.": "流す速度の上限（Mb/s）。通信量で料金が決まる回線では小さくします。",
    "Only order it; “garage site measurements” shows what came of it.": (
        "頼むだけにします。結果は「garage site measurements」で見られます。"
    ),
    "What was measured, the newest first.": "速度の測定の記録を新しい順に表示します。",
    "Take the prefixes that the registry gave this site; shows first what changes.": (
        "この拠点のアドレスを、レジストリが割り当てたものに付け替えます。先に、何が変わるかを表示します。"
    ),
    "Only show it.": "表示だけします。",
    "Say where a site is, for the map: latitude and longitude in degrees; without them it is forgotten.": (
        "地図のために、拠点の場所を緯度と経度（度）で決めます。省くと場所の記録を消します。"
    ),
    "give both latitude and longitude, or neither": "緯度と経度は、両方指定するか、両方省いてください",
    "The map follows.": "地図に反映されます。",
    "Say whether a site may be a hub, which carries other sites' packets (at first every one may).": (
        "拠点がハブ（ほかの拠点の通信を中継する拠点）になってよいかを決めます（はじめはどの拠点もなれます）。"
    ),
    "The overlay's links follow, step by step.": "オーバーレイのリンクに段階的に反映されます。",
    "hub": "ハブ",
    "carries other sites' packets": "ほかの拠点の通信を中継しています",
    "may not be one": "なれません",
    "Renumber this site now?": "この拠点のアドレスを付け替えますか？",
    "This site is {ipv4} {ipv6} now; machines that restart: {count}": (
        "この拠点は {ipv4} {ipv6} になりました。再起動する機械: {count} 台"
    ),
    "This site has the prefixes that its registry gave it, {ipv4} {ipv6}: nothing to do.": (
        "この拠点のアドレスはレジストリが割り当てたもの（{ipv4} {ipv6}）です。することはありません。"
    ),
    "Prefixes: {before} become {after}": "アドレス: {before} を {after} に変えます",
    "No machine is affected.": "変わる機械はありません。",
    "restarts": "再起動",
    "Everything that this garage's database holds, to FILE. Keep keys/ of the server separately.": (
        "データベースの中身をすべて FILE に保存します。サーバーの keys/ は別に保管してください。"
    ),
    "Replace FILE if it exists.": "FILE があれば置き換えます。",
    "Replace everything that this garage's database holds by FILE; nodes wait for “adopt” then.": (
        "データベースの中身をすべて FILE の内容に置き換えます。そのあとノードは「adopt」を待ちます。"
    ),
    "After a restore: show how nodes differ from the database; with --yes go on.": (
        "復元のあと、ノードとデータベースの違いを表示します。--yes で作業を再開します。"
    ),
    "Do what is shown.": "表示された内容を実行します。",
}
