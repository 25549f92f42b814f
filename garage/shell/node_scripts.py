"""What runs on a server that becomes a node: small scripts for `bash -s`, their words as arguments, secrets in files put before."""

from __future__ import annotations

PROBE = r"""
home=$1 host=$2 port=$3
say() { printf '%s=%s\n' "$1" "$2"; }
say uid "$(id -u)"
if [ -r /etc/os-release ]; then ( . /etc/os-release; say system "$ID-${VERSION_ID:-}"; say system_name "${PRETTY_NAME:-$ID}" ); fi
say arch "$(uname -m)"; say kernel "$(uname -r)"; say vcpus "$(nproc)"
say memory_mib $(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024))
place=$home; while [ ! -d "$place" ]; do place=$(dirname "$place"); done
df -Pm "$place" | awk 'NR == 2 {print "disk_total_mib=" $2; print "disk_free_mib=" $4}'
grep -qwE 'vmx|svm' /proc/cpuinfo && say flag yes
[ -c /dev/kvm ] && say kvm yes
[ -c /dev/net/tun ] && say tun yes
[ -r /etc/machine-id ] && say machine_id "$(cat /etc/machine-id)"
[ -e "$home/garage.toml" ] && say garage yes
[ -r "$home/netd/netd.toml" ] && say instance "$(sed -n 's/^instance *= *"\([^"]*\)".*/\1/p' "$home/netd/netd.toml")"
[ -r /etc/pki/CA/cacert.pem ] && say authority "$(sha256sum </etc/pki/CA/cacert.pem | cut -d' ' -f1)"
timeout 8 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$host" "$port" 2>/dev/null && say reaches yes
exit 0
"""
"""HOME HOST PORT: what `core.node_checks.parse` reads. Changes nothing."""

UNPACK = r"""
set -euo pipefail
home=$1
rm -rf "$home/.kit-new" "$home/.kit-old"; mkdir -p "$home/.kit-new"
tar -xzf "$home/kit.tgz" -C "$home/.kit-new" --no-same-owner; rm "$home/kit.tgz"
[ ! -e "$home/kit" ] || mv "$home/kit" "$home/.kit-old"
mv "$home/.kit-new" "$home/kit"; rm -rf "$home/.kit-old"
"""

REQUESTS = r"""
set -euo pipefail; umask 077
install -d -m 755 /etc/pki /etc/pki/CA /etc/pki/libvirt /etc/pki/qemu; install -d -m 700 /etc/pki/libvirt/private
request() {
  if [ ! -s "$1" ]; then
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.new" 2>/dev/null; mv "$1.new" "$1"
  fi
  openssl req -new -sha256 -key "$1" -subj /CN=node
}
request /etc/pki/libvirt/private/serverkey.pem
request /etc/pki/qemu/server-key.pem
cp /etc/pki/qemu/server-key.pem /etc/pki/qemu/client-key.pem
chown libvirt-qemu: /etc/pki/qemu/server-key.pem /etc/pki/qemu/client-key.pem
chmod 400 /etc/pki/qemu/server-key.pem /etc/pki/qemu/client-key.pem
"""
"""Makes libvirt's and QEMU's keys, which stay here, and prints a certificate request for each. QEMU's is another: a guest that breaks out
of QEMU holds it, and it opens no libvirt."""

RELOAD_TLS = "virt-admin server-update-tls libvirtd >/dev/null 2>&1 || true"
"""libvirtd reads certificates and revocations anew; no connection ends."""

NODE_SETUP = 'exec "$1/kit/scripts/node-setup" --home "$1" --roles "$2"'
GARAGE_SETUP = 'cd / && GARAGE_HOME=$1 PYTHONPATH=$1/kit/scripts exec python3 -m garage_setup "$2"'

FORGET = r"""
set -uo pipefail
home=$1 key=$2
if [ -e "$home/kit/scripts" ] && [ -e "$home/venv" ]; then
  ( cd / && GARAGE_HOME=$home PYTHONPATH=$home/kit/scripts python3 -m garage_setup node-leave ) 2>&1
fi
rm -rf "$home/netd" "$home/setup" "$home/kit"
rm -f /etc/pki/libvirt/servercert.pem /etc/pki/libvirt/private/serverkey.pem /etc/pki/libvirt/allowed
rm -f /etc/pki/qemu/{ca-cert,ca-crl,server-cert,server-key,client-cert,client-key}.pem /etc/pki/CA/ca{cert,crl}.pem
sed -i 's/^listen_tls = 1$/listen_tls = 0/; /^tls_allowed_dn_list = /d' /etc/libvirt/libvirtd.conf
if [ -d /run/systemd/system ]; then
  systemctl stop libvirtd.service; systemctl disable -q --now libvirtd-tls.socket; systemctl start libvirtd.service
elif [ -e /run/libvirtd.pid ]; then
  pid=$(cat /run/libvirtd.pid); kill "$pid"
  for _ in $(seq 100); do [ -e "/proc/$pid" ] || break; sleep 0.1; done
  libvirtd -d
fi
keys=/root/.ssh/authorized_keys
if [ -e $keys ]; then grep -vF -- "$key" $keys >$keys.garage; chmod 600 $keys.garage; mv $keys.garage $keys; fi
exit 0
"""
"""HOME KEY: ends netd, takes back what was given. Machines' disks stay. The key goes last: with it goes the way here."""

INSTALL_KEY = r"""
set -euo pipefail; umask 077
mkdir -p ~/.ssh; read -r line; keys=~/.ssh/authorized_keys
[ ! -s $keys ] || [ -z "$(tail -c1 $keys)" ] || echo >>$keys
grep -qxF -- "$line" $keys 2>/dev/null || printf '%s\n' "$line" >>$keys
"""
"""The controller's public key comes by standard input."""
