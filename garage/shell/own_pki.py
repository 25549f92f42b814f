"""The certificate of QEMU on the controller's own server: machines that move between it and other nodes travel in TLS."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from garage.errors import N_, GarageError
from garage.shell.authority import Authority
from garage.shell.outward import outward

PLACE = Path("/etc/pki/qemu")
USER = "libvirt-qemu"


class OwnPki:
    """Made when the first other node is added; again, it only brings what is void."""

    def __init__(self, authority: Authority, node: str, place: Path = PLACE) -> None:
        self._authority, self._node, self._place = authority, node, place

    def place(self, revocations: bytes) -> None:
        """Raises `config` where somebody else's certificates are."""
        self._place.mkdir(mode=0o755, parents=True, exist_ok=True)
        known = self._place / "ca-cert.pem"
        if known.exists() and known.read_bytes() != self._authority.pem:
            hint = N_("move that folder away if nothing needs it")
            text = N_("{path} holds certificates of another authority")
            raise GarageError("config", text, hint=hint, path=str(self._place))
        if not (self._place / "server-cert.pem").exists():
            self._make()
        (self._place / "ca-crl.pem").write_bytes(revocations)
        known.write_bytes(self._authority.pem)

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
        names = [self._node, socket.gethostname(), *filter(None, [outward().strip("[]")])]
        made = self._authority.issue(request.public_bytes(Encoding.PEM), f"{self._node} qemu", names, client=True)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for name in ("client-key.pem", "server-key.pem"):
            path = self._place / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(private)
            shutil.chown(path, USER)
        for name in ("client-cert.pem", "server-cert.pem"):
            (self._place / name).write_bytes(made.pem)
