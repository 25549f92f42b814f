"""The garage's own authority, checked by OpenSSL: what it signs, what it refuses to, what is void."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from garage.errors import GarageError
from garage.shell.authority import Authority, make_ssh_key
from garage.worker.adding import hypervisor_uri


def openssl(*words: str | Path) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def request(folder: Path, subject: str = "/CN=controller/O=garage tst", curve: str = "P-256") -> bytes:
    key, csr = folder / "key.pem", folder / "csr.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", subject, "-addext", "basicConstraints=CA:TRUE", "-out", csr)
    return csr.read_bytes()


def test_a_node_gets_the_name_that_it_has_and_not_the_one_it_asks_for(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    made = Authority(pki, "tst").issue(request(tmp_path), "node2", ["node2", "192.0.2.7"], client=False)
    (tmp_path / "cert.pem").write_bytes(made.pem)
    said = openssl("x509", "-in", tmp_path / "cert.pem", "-noout", "-text")
    assert "CN = node2" in said
    assert "CN = controller" not in said
    assert "CA:FALSE" in said
    assert "DNS:node2, IP Address:192.0.2.7" in said
    assert "TLS Web Client Authentication" not in said
    assert "OK" in openssl("verify", "-CAfile", pki / "cacert.pem", tmp_path / "cert.pem")
    again = Authority(pki, "tst")
    assert again.pem == (pki / "cacert.pem").read_bytes()
    assert "OK" in openssl("verify", "-CAfile", pki / "cacert.pem", "-purpose", "sslclient", pki / "clientcert.pem")


def test_what_is_revoked_is_void_and_the_rest_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki", "tst")
    made = {name: authority.issue(request(tmp_path), name, [name], client=True) for name in ("one", "two")}
    authority.revocations([(made["one"].serial, 1_700_000_000.0)])
    for name, word in (("one", "revoked"), ("two", "OK")):
        (tmp_path / name).write_bytes(made[name].pem)
        files = ("-CAfile", tmp_path / "pki" / "cacert.pem", "-CRLfile", tmp_path / "pki" / "cacrl.pem")
        assert word in openssl("verify", "-crl_check", *files, tmp_path / name)


def test_no_request_that_is_none_is_signed(tmp_path: Path) -> None:
    authority, good = Authority(tmp_path / "pki", "tst"), request(tmp_path)
    lines = good.decode().splitlines()
    lines[-3] = lines[-3][::-1]  # in the signature
    for bad in (b"", b"junk", good[: len(good) // 2], "\n".join(lines).encode(), request(tmp_path, curve="P-384")):
        with pytest.raises(GarageError):
            authority.issue(bad, "node2", ["node2"], client=True)


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    Authority(tmp_path / "pki", "tst")
    make_ssh_key(tmp_path / "node-ssh")
    before = (tmp_path / "node-ssh").read_bytes()
    make_ssh_key(tmp_path / "node-ssh")
    assert (tmp_path / "node-ssh").read_bytes() == before
    for path in (*tmp_path.glob("pki/*"), tmp_path / "node-ssh"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    said = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(tmp_path / "node-ssh")], capture_output=True, text=True, check=True
    )
    assert said.stdout.split()[:2] == (tmp_path / "node-ssh.pub").read_text().split()[:2]


def test_libvirt_is_opened_at_the_nodes_address() -> None:
    found = [hypervisor_uri(address) for address in ("node2:2222", "2001:db8::7", "[2001:db8::7]:2222")]
    assert found == ["qemu+tls://node2/system", *["qemu+tls://[2001:db8::7]/system"] * 2]
