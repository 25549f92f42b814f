"""The seed disk: all that a machine learns about itself, and nothing that another one could have too."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile

from garage.core.seed import AUTHORIZED_KEYS, Identity, authorized_keys_text, guest_machine_id, seed_files

WHO = Identity(
    machine_id="0123456789abcdef0123",
    hostname="arm",
    fqdn="arm.robots.home.garage.internal",
    host_key_private="-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----\n",
    host_key_public="ssh-ed25519 AAAA arm",
    authorized_keys=("ssh-ed25519 BBBB alice@laptop", "ssh-ed25519 CCCC bob@laptop"),
)


def unpacked(files: dict[str, bytes]) -> dict[str, tuple[tarfile.TarInfo, str]]:
    """Path → (entry, text) of the identity."""
    with tarfile.open(fileobj=io.BytesIO(files["identity.tar"])) as archive:
        found = {}
        for entry in archive:
            data = archive.extractfile(entry)
            assert data is not None, "plain files only"
            found[entry.name] = (entry, data.read().decode())
        return found


def test_the_identity_is_complete() -> None:
    files = {path: text for path, (_, text) in unpacked(seed_files(WHO)).items()}
    assert files["etc/hostname"] == "arm\n"
    assert "127.0.1.1 arm.robots.home.garage.internal arm\n" in files["etc/hosts"]
    assert files["etc/ssh/ssh_host_ed25519_key"] == WHO.host_key_private
    assert files[AUTHORIZED_KEYS.lstrip("/")].splitlines() == list(WHO.authorized_keys)


def test_the_host_key_is_roots_alone() -> None:
    """sshd refuses a host key that others may read, and the port would stay closed."""
    entry, _ = unpacked(seed_files(WHO))["etc/ssh/ssh_host_ed25519_key"]
    assert entry.mode == 0o600
    assert all(entry.uid == entry.gid == 0 for entry, _ in unpacked(seed_files(WHO)).values())


def test_paths_stay_below_the_root() -> None:
    for path in unpacked(seed_files(WHO)):
        assert not path.startswith("/")
        assert ".." not in path.split("/")


def test_cloud_init_stays_out_unless_there_is_work_for_it() -> None:
    disabled = "etc/cloud/cloud-init.disabled"
    assert disabled in unpacked(seed_files(WHO))
    for text in ("#cloud-config\nruncmd: [id]\n", "#!/bin/sh\nid\n", ""):
        assert disabled not in unpacked(seed_files(dataclasses.replace(WHO, user_data=text)))


def test_user_data_is_the_users_to_the_letter() -> None:
    text = "#cloud-config\npackages: [jq]  # ロボット\n"
    assert seed_files(dataclasses.replace(WHO, user_data=text))["user-data"].decode() == text


def test_cloud_init_never_makes_or_drops_host_keys() -> None:
    vendor = seed_files(WHO)["vendor-data"].decode()
    assert vendor.startswith("#cloud-config\n")
    config = json.loads(vendor.split("\n", 1)[1])
    assert config["ssh_deletekeys"] is False
    assert config["ssh_genkeytypes"] == []
    assert config["ssh_keys"]["ed25519_public"] == WHO.host_key_public


def test_the_network_of_the_first_seconds() -> None:
    addresses = {"ipv4": "10.31.0.16", "gateway": "10.31.0.1", "ipv6": "fd31::10", "gateway6": "fd31::1"}
    files = seed_files(dataclasses.replace(WHO, **addresses))
    assert (files["ipv4"], files["ipv6"]) == (b"10.31.0.16 10.31.0.1\n", b"fd31::10 fd31::1\n")
    assert files["resolv.conf"] == b"nameserver 10.31.0.1\nsearch robots.home.garage.internal\n"
    assert (seed_files(WHO)["ipv4"], seed_files(WHO)["ipv6"]) == (b"", b"")


def test_the_instance_is_the_machine() -> None:
    files = seed_files(WHO)
    assert json.loads(files["meta-data"]) == {"instance-id": WHO.machine_id, "local-hostname": "arm"}
    assert files["instance"].decode() == WHO.machine_id


def test_the_same_machine_gives_the_same_bytes_and_another_one_others() -> None:
    assert seed_files(WHO) == seed_files(dataclasses.replace(WHO))
    assert guest_machine_id("a") != guest_machine_id("b")
    assert len(guest_machine_id("a")) == 32
    assert int(guest_machine_id("a"), 16)


def test_no_key_means_an_empty_file() -> None:
    assert authorized_keys_text(()) == ""
    assert unpacked(seed_files(dataclasses.replace(WHO, authorized_keys=())))[AUTHORIZED_KEYS.lstrip("/")][1] == ""
