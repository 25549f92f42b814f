"""Who may log in to a running guest whose image people brought: its sshd knows no file of ours, so keys stand where cloud-init put them.

The guest keeps a list of what the garage gave it, and only that is ever taken away: what its people wrote there themselves stays.
"""

from __future__ import annotations

from garage.core.seed import LOGIN

OWN = "/var/lib/garage"
FOLLOW = rf"""set -e; umask 077
root=${{GARAGE_ROOT-}}; own=$root{OWN}; mkdir -p "$own"; cat >"$own/keys.new"; touch "$own/keys"
given=$(cat "$own/keys" "$root/var/lib/cloud/instance/vendor-data.txt" 2>/dev/null | grep -oE 'AAAA[A-Za-z0-9+/]{{60,}}=*' | sort -u || :)
for file in "$root"/root/.ssh/authorized_keys "$root"/home/*/.ssh/authorized_keys; do
  [ -f "$file" ] && [ ! -L "$file" ] || continue
  for key in $given; do
    if ! grep -qF -e "$key" "$own/keys.new" && grep -qF -e "$key" "$file"; then
      grep -vF -e "$key" "$file" >"$own/rest" || :
      cat "$own/rest" >"$file"
    fi
  done
done
home=$root$(awk -F: '$1 == "{LOGIN}" {{ print $6 }}' "$root/etc/passwd"); file=$home/.ssh/authorized_keys
if [ "$home" != "$root" ] && [ -d "$home" ] && [ ! -L "$home/.ssh" ] && [ ! -L "$file" ]; then
  [ -d "$home/.ssh" ] || {{ mkdir "$home/.ssh"; chown --reference="$home" "$home/.ssh"; }}
  [ -e "$file" ] || {{ : >"$file"; chown --reference="$home" "$file"; }}
  [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
  while read -r kind key who; do
    grep -qF -e "$key" "$file" || echo "$kind $key $who" >>"$file"
  done <"$own/keys.new"
fi
rm -f "$own/rest"; mv "$own/keys.new" "$own/keys"
"""
"""By the guest's agent, with all keys that shall be known as its standard input, a line each. What it was given at its first boot it finds
in what cloud-init has kept of the seed. Run again it changes nothing; GARAGE_ROOT is for tests."""
