"""Which user-data a machine can be given after it has booted, and which has to be there from the first boot on. Pure.

cloud-init itself applies it, by its own units in their own order. So a key is late when its module finds the same machine and leaves
the same machine, whether or not services of the image have started before (cloud-init's documentation, "Module reference"). In a cold
boot of our image SSH, too, answers before cloud-init has begun. What is not in the table is early.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

LATE: dict[str, tuple[str, ...]] = {
    "write_files": ("write_files",),
    "users_groups": ("users", "user", "groups"),
    "set_passwords": ("password", "chpasswd", "ssh_pwauth"),
    "ssh": ("ssh_authorized_keys", "disable_root", "disable_root_opts", "allow_public_ssh_keys"),
    "ssh_import_id": ("ssh_import_id",),
    "set_hostname": ("hostname", "fqdn", "prefer_fqdn_over_hostname", "preserve_hostname"),
    "update_etc_hosts": ("manage_etc_hosts",),
    "ca_certs": ("ca_certs", "ca-certs"),
    "locale": ("locale", "locale_configfile"),
    "timezone": ("timezone",),
    "ntp": ("ntp",),
    "apt_configure": ("apt",),
    "package_update_upgrade_install": ("packages", "package_update", "package_upgrade", "package_reboot_if_required"),
    "runcmd": ("runcmd",),
    "phone_home": ("phone_home",),
    "final_message": ("final_message",),
    "power_state_change": ("power_state",),
}
"""Module → its keys in #cloud-config. Not here, among others: bootcmd, disk_setup, fs_setup, mounts, swap, growpart, resize_rootfs
(before file systems are mounted), network, random_seed, rsyslog, ssh_keys and ssh_deletekeys (before SSH answers), output."""
EARLY_PATHS = (
    *("/etc/fstab", "/etc/sysctl", "/etc/modules", "/etc/modprobe.d", "/etc/udev/", "/etc/tmpfiles.d", "/etc/network/"),
    *("/etc/netplan/", "/etc/systemd/", "/etc/cloud/", "/etc/crypttab", "/etc/selinux/"),
)
"""What starts before cloud-init's write_files reads these at its start only."""
UNITS = "/etc/systemd/system/"
"""Units are read when they are wanted; drop-ins of units that run are not."""
_KEYS = frozenset(key for keys in LATE.values() for key in keys)


def early(text: str) -> tuple[str, ...]:
    """What of checked user-data (`core.userdata`) needs to be there at the first boot, in words of its own: keys, paths, a format.
    Empty: all of it can be applied later."""
    first = text.split("\n", 1)[0].strip()
    if first.startswith("#!"):
        return ()
    if first != "#cloud-config":
        return (first[:40],)
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    return tuple(dict.fromkeys(_early_parts(root))) if isinstance(root, yaml.MappingNode) else ()


def _early_parts(root: yaml.MappingNode) -> Iterator[str]:
    for key, value in root.value:
        if key.value not in _KEYS:
            yield str(key.value)[:40]
        elif key.value == "write_files":
            yield from (f"write_files {path[:60]}" for path in _paths(value) if _is_early(path))


def _paths(node: yaml.Node) -> Iterator[str]:
    """The paths of write_files' entries."""
    entries = node.value if isinstance(node, yaml.SequenceNode) else []
    for entry in entries:
        for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
            if key.value == "path" and isinstance(value, yaml.ScalarNode):
                yield str(value.value)


def _is_early(path: str) -> bool:
    unit = path.startswith(UNITS) and "/" not in path.removeprefix(UNITS)
    return path.startswith(EARLY_PATHS) and not unit
