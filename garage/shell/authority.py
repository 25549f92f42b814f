"""The garage's own certificate authority: who a node is to libvirt and QEMU. Node's private keys are made on the node and stay there.

`GARAGE_HOME/keys/pki/` (root alone): `ca.key`; `cacert.pem`, `cacrl.pem`, and `clientcert.pem`, `clientkey.pem`, by which the controller
opens nodes' libvirt (the names are those that libvirt's `pkipath` wants).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from garage.errors import N_, GarageError

FOLDER = Path("keys", "pki")
"""Below GARAGE_HOME."""
AUTHORITY_DAYS, NODE_DAYS = 3650, 730
CLIENT = "controller"
"""The common name that nodes' libvirt lets in."""
MAX_CSR = 8192


@dataclass(frozen=True, slots=True)
class Issued:
    pem: bytes
    serial: str
    """Hexadecimal."""
    not_after: float


class Authority:
    """Made once per garage; `Authority(folder, instance)` opens or makes it."""

    def __init__(self, folder: Path, instance: str) -> None:
        self._folder, self._organisation = folder, f"garage {instance}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / "ca.key").exists() or not (folder / "cacert.pem").exists():
            self._make()
        key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise GarageError("config", N_("{path} cannot be read"), path=str(folder / "ca.key"))
        self._key = key
        self.certificate = x509.load_pem_x509_certificate((folder / "cacert.pem").read_bytes())
        if not (folder / "clientcert.pem").exists():
            self._make_client()

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def allowed(self) -> str:
        """The distinguished name of the controller's own certificate, the only one that opens a libvirt, a line for each order in which
        GnuTLS may write it (gnutls_x509_crt_get_dn, RFC 4514)."""
        return f"O={self._organisation},CN={CLIENT}\nCN={CLIENT},O={self._organisation}\n"

    def issue(self, csr: bytes, common_name: str, names: Sequence[str], *, client: bool) -> Issued:
        """A certificate for the key of a request, whose own wishes count for nothing. `names`: DNS names and addresses that the holder is
        reached by; `client`: it may open connections, too. Raises `invalid_field` for a request that is none."""
        try:
            request = x509.load_pem_x509_csr(csr[:MAX_CSR])
            key = request.public_key()
            good = (
                request.is_signature_valid
                and isinstance(key, ec.EllipticCurvePublicKey)
                and key.curve.name == "secp256r1"
            )
        except (ValueError, InvalidSignature):
            good = False
        if not good:
            raise GarageError("invalid_field", N_("the node's certificate request is not usable"))
        return self._sign(key, common_name, names, client=client, days=NODE_DAYS)  # type: ignore[arg-type]

    def revocations(self, revoked: Sequence[tuple[str, float]]) -> bytes:
        """The list of certificates that are void, by (serial, when); also written beside the others."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        # sent to every node when it changes: an end of its own would only be an outage
        builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=AUTHORITY_DAYS))
        for serial, at in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
            builder = builder.add_revoked_certificate(entry.revocation_date(datetime.fromtimestamp(at, UTC)).build())
        pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        _write(self._folder / "cacrl.pem", pem)
        return pem

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(self._organisation, "nodes")
        builder = _builder(key.public_key(), name, name, AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        _write(self._folder / "ca.key", _private(key))
        _write(self._folder / "cacert.pem", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def _make_client(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._sign(key.public_key(), CLIENT, [CLIENT], client=True, days=AUTHORITY_DAYS)
        _write(self._folder / "clientkey.pem", _private(key))
        _write(self._folder / "clientcert.pem", made.pem)

    def _sign(
        self, key: ec.EllipticCurvePublicKey, common_name: str, names: Sequence[str], *, client: bool, days: int
    ) -> Issued:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
        builder = _builder(key, _name(self._organisation, common_name), self.certificate.subject, days)
        builder = (
            builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        made = builder.sign(self._key, hashes.SHA256())
        pem = made.public_bytes(Encoding.PEM)
        return Issued(pem, f"{made.serial_number:x}", made.not_valid_after_utc.timestamp())


def make_ssh_key(path: Path) -> None:
    """The controller's own SSH key pair, once: `path` and `path.pub`."""
    public = path.with_name(f"{path.name}.pub")
    if path.exists() and public.exists():
        return
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    _write(public, line + b" garage-controller\n", 0o644)


def _builder(
    key: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, days: int
) -> x509.CertificateBuilder:
    start = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - timedelta(hours=1))  # servers' clocks differ
        .not_valid_after(start + timedelta(days=days))
    )


def _name(organisation: str, common_name: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _usage(*, signs: bool) -> x509.KeyUsage:
    """libvirt 9 asks for key encipherment also where the key cannot do it."""
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=not signs,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.rstrip("."))


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, never readable by others for a moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
