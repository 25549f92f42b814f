"""Words of the pages for what services name by a key: states, steps, sizes, roles, what the audit log tells."""

from __future__ import annotations

from garage.errors import N_

SHAPES: dict[str, str] = {
    "requested": "waiting",
    "spare": "waiting",
    "preparing": "working",
    "booting": "working",
    "ready": "ready",
    "stopping": "working",
    "stopped": "stopped",
    "suspended": "stopped",
    "failed": "failed",
    "unreachable": "unreachable",
    "lost": "failed",
    "deleting": "working",
    "gone": "stopped",
}
"""A state's shape and colour; the word comes from STATES."""

STATES: dict[str, str] = {
    "requested": N_("waiting"),
    "spare": N_("spare"),
    "preparing": N_("preparing"),
    "booting": N_("booting"),
    "ready": N_("ready"),
    "stopping": N_("stopping"),
    "stopped": N_("stopped"),
    "suspended": N_("suspended"),
    "failed": N_("failed"),
    "unreachable": N_("unreachable"),
    "lost": N_("lost"),
    "deleting": N_("deleting"),
    "gone": N_("deleted"),
}

STEPS: dict[str, str] = {
    "preparing": N_("reserved"),
    "network": N_("network"),
    "image": N_("copying the image to the node"),
    "disk": N_("disk"),
    "seed": N_("disk"),
    "starting": N_("starting"),
    "booting": N_("booting"),
    "identity": N_("name and keys"),
    "waiting_ssh": N_("waiting for SSH"),
    "ready": N_("ready"),
}
"""Progress on the way to `ready`: a step's name, or its state's where it has none."""

POWERS: dict[str, str] = {
    "running": N_("runs"),
    "paused": N_("paused"),
    "off": N_("off"),
    "crashed": N_("crashed"),
}
ADOPTION: dict[str, str] = {
    "keep": N_("no row: is shut down and kept"),
    "here": N_("is on this node now"),
    "runs": N_("runs, and goes on running"),
    "recover": N_("is started again if its disk is there, else marked lost"),
    "retire": N_("waits for nobody any more: is replaced"),
}
"""`core.adoption.Do` for people."""

SIZES: dict[str, str] = {
    "tiny": N_("tiny"),
    "small": N_("small"),
    "medium": N_("medium"),
    "large": N_("large"),
}
"""The sizes of a new garage; those that an admin adds keep their own name."""

ROLES: dict[str, str] = {"owner": N_("owner"), "member": N_("member"), "admin": N_("admin"), "auditor": N_("auditor")}

RESOURCES: dict[str, str] = {
    "machines": N_("machines"),
    "vcpus": N_("vCPUs"),
    "memory_mib": N_("MiB of memory"),
    "disk_gib": N_("GiB of disk"),
    "image_gib": N_("GiB of images"),
}

ORIGINS: dict[str, str] = {
    "": N_("booted in advance"),
    "empty": N_("had to boot: no machine of this system and size was waiting"),
    "user_data": N_("had to boot: its user-data holds what is read at the first boot"),
    "image": N_("had to boot: machines of this image learn who they are at their first boot"),
    "pool_failed": N_("had to boot: the one that was waiting did not answer"),
}
"""How a machine began, by `cold_reason`; nothing is said where pools are off."""

PARTS: dict[str, str] = {
    "pool": N_("a machine waited there"),
    "image": N_("the system was there already"),
    "spread": N_("memory left free"),
    "pack": N_("memory in use"),
}
"""What counts when a node is chosen."""
PARTS_TOLD: dict[str, str] = {
    "pool": N_("A machine waited there."),
    "image": N_("The system was there already."),
}
"""The same as sentences about one that was."""

SNAPSHOTS: dict[str, str] = {
    "making": N_("is being made"),
    "ready": N_("ready"),
    "failed": N_("was not made"),
    "deleting": N_("is being deleted"),
    "returning": N_("the machine returns to it"),
}
SNAPSHOT_HOW: dict[str, str] = {
    "off": N_("of the machine when it was off"),
    "frozen": N_("while it ran"),
    "crash": N_("as after a power cut"),
}

EVENTS: dict[str, str] = {
    "start": N_("starting it"),
    "stop": N_("stopping it"),
    "delete": N_("deleting it"),
    "rebuild": N_("rebuilding it"),
    "taken": N_("taking it"),
    "aged": N_("ending it"),
    "suspend": N_("suspending it"),
}
"""What somebody wanted to do when the answer is `wrong_state`."""

NODE_STATES: dict[str, str] = {
    "active": N_("takes machines"),
    "draining": N_("is being emptied"),
    "maintenance": N_("in maintenance"),
}

VOLUME_STATES: dict[str, str] = {
    "making": N_("being made"),
    "available": N_("available"),
    "attaching": N_("being attached"),
    "attached": N_("attached"),
    "detaching": N_("being detached"),
    "reverting": N_("being returned to a snapshot"),
    "deleting": N_("being deleted"),
    "failed": N_("failed"),
}

NODE_EVENTS: dict[str, str] = {
    "drain": N_("emptying it"),
    "drained": N_("ending that"),
    "maintain": N_("maintenance"),
    "activate": N_("taking it back"),
}

AUDIT: dict[str, str] = {
    "machine.create": N_("asked for a machine"),
    "node.add": N_("asked for a server to become a node"),
    "node.add_failed": N_("could not make a server a node"),
    "node.let_in": N_("put the controller's key on a server"),
    "node.renew": N_("renewed a node"),
    "node.remove": N_("asked for a node to be removed"),
    "node.remove_failed": N_("could not remove a node"),
    "node.removed": N_("removed a node"),
    "machine.start": N_("started a machine"),
    "machine.stop": N_("stopped a machine"),
    "machine.reboot": N_("rebooted a machine"),
    "machine.renew": N_("renewed a lease"),
    "machine.describe": N_("changed a machine's name, tags or notes"),
    "machine.rebuild": N_("rebuilt a machine"),
    "machine.resize": N_("changed a machine's size"),
    "machine.resize_failed": N_("could not let a machine grow"),
    "machine.transfer": N_("gave a machine to another project"),
    "machine.limit": N_("set a machine's limits"),
    "machine.delete": N_("deleted a machine"),
    "snapshot.create": N_("asked for a snapshot"),
    "snapshot.revert": N_("returned a machine to a snapshot"),
    "snapshot.delete": N_("deleted a snapshot"),
    "volume.create": N_("asked for a volume"),
    "volume.attach": N_("attached a volume"),
    "volume.detach": N_("detached a volume"),
    "volume.grow": N_("enlarged a volume"),
    "volume.delete": N_("deleted a volume"),
    "volume.snapshot": N_("asked for a snapshot of a volume"),
    "volume.revert": N_("returned a volume to a snapshot"),
    "volume.snapshot_delete": N_("deleted a snapshot of a volume"),
    "volume.snapshot_failed": N_("could not make a snapshot of a volume, or return it to one"),
    "volume.failed": N_("could not do what was asked of a volume"),
    "snapshot.failed": N_("could not make a snapshot, or return to one"),
    "key.add": N_("added a key"),
    "key.delete": N_("deleted a key"),
    "session.open": N_("signed in"),
    "session.refuse": N_("was not let in"),
    "user.arrive": N_("came in for the first time"),
    "user.connect": N_("connected an account by OpenID Connect"),
    "user.disconnect": N_("disconnected an account by OpenID Connect"),
    "token.create": N_("made a token"),
    "token.delete": N_("deleted a token"),
    "session.prove": N_("showed once more who they are"),
    "session.end": N_("signed a browser out"),
    "service.create": N_("made a service account"),
    "service.delete": N_("ended a service account"),
    "user.passkey": N_("registered a security key"),
    "user.no_passkey": N_("removed a security key"),
    "user.second_factor": N_("set up a second factor"),
    "user.no_second_factor": N_("removed a second factor"),
    "user.recovery_codes": N_("made new recovery codes"),
    "user.recovered": N_("used a recovery code"),
    "user.offboard": N_("let a user go"),
    "user.create": N_("invited a user"),
    "user.reset_link": N_("made a link for a new password"),
    "user.grant": N_("gave a role"),
    "user.revoke": N_("took a role back"),
    "user.disable": N_("disabled a user"),
    "user.enable": N_("enabled a user"),
    "user.set_password": N_("set a password"),
    "project.create": N_("opened a project"),
    "project.member": N_("added a member or changed a role"),
    "project.member_removed": N_("removed a member"),
    "project.quota": N_("changed a quota"),
    "project.delete": N_("deleted a project"),
    "lease.warn": N_("warned of a lease's end"),
    "lease.end": N_("stopped a machine whose lease ended"),
    "lease.delete": N_("deleted a machine whose lease ended"),
    "machine.move": N_("moved a machine to another node"),
    "node.label": N_("labelled a node"),
    "node.park": N_("shut the machines of a node down"),
    "worker.lost": N_("gave a worker up that showed no life"),
    "node.drain": N_("had a node emptied"),
    "node.drained": N_("emptied a node"),
    "node.maintain": N_("put a node into maintenance"),
    "node.activate": N_("took a node back"),
    "node.silent": N_("heard nothing of a node any more"),
    "node.back": N_("heard of a node again"),
    "image.register": N_("registered an image"),
    "image.delete": N_("deleted an image"),
    "image.import": N_("asked for an image from elsewhere"),
    "machine.disk_copy": N_("asked for a copy of a machine's disk"),
    "machine.disk_fetch": N_("downloaded a machine's disk"),
    "image.save": N_("asked for an image of a machine"),
    "image.build": N_("asked for an image to be built"),
    "image.cancel": N_("called an image off"),
    "image.failed": N_("could not get an image"),
    "image.share": N_("said who may use an image"),
    "image.damaged": N_("found a stored image damaged"),
    "site.own": N_("made this garage a registry"),
    "site.invite": N_("invited a site"),
    "site.withdraw": N_("withdrew an invitation"),
    "site.join": N_("joined the overlay"),
    "site.leave": N_("left the overlay"),
    "site.remove": N_("removed a site"),
    "site.rename": N_("renamed the site"),
    "site.rotate": N_("asked a site for new keys"),
    "site.measure": N_("had the throughput between two sites measured"),
    "site.renumber": N_("gave the site other addresses"),
    "site.place": N_("put a site on the map"),
    "site.relay": N_("decided whether a site may be a hub"),
    "pool.fix": N_("set how many machines wait"),
    "site.configure": N_("changed the overlay's settings"),
    "channel.add": N_("added a way for news"),
    "channel.change": N_("chose which news come by a way"),
    "channel.remove": N_("removed a way for news"),
    "channel.test": N_("sent a test by a way for news"),
    "channel.confirm": N_("confirmed an e-mail address"),
    "channel.mail": N_("asked for a code by e-mail"),
    "announcement.set": N_("announced something"),
    "announcement.clear": N_("announced it no more"),
    "garage.backup": N_("took a backup"),
    "garage.restore": N_("restored a backup"),
    "garage.adopt": N_("adopted nodes after a restore"),
    "audit.truncate": N_("removed old entries of the audit log"),
    "domain.keep": N_("kept a domain without a row"),
}

SCOPES: dict[str, str] = {
    "all": N_("everything that you may do"),
    "project": N_("machines and projects"),
    "machines": N_("machines only"),
    "read": N_("looking only"),
}
"""`core.scopes` for people."""

WAYS_OUT: dict[str, str] = {
    "mail": N_("E-mail"),
    "slack": N_("Slack, or what takes the same"),
    "matrix": N_("Matrix"),
    "json": N_("JSON, signed"),
}
"""`core.channels.KINDS` for people."""

KEY_STATES: dict[str, str] = {
    "gone": N_("removed"),
    "waiting": N_("does not answer yet"),
    "stopped": N_("is off: they go when it starts"),
    "unreachable": N_("its node does not answer"),
}
"""Of keys that somebody leaves behind."""

AUDIT_KINDS: dict[str, str] = {
    "machine": N_("Machines"),
    "lease": N_("Leases"),
    "project": N_("Projects"),
    "key": N_("Keys"),
    "session": N_("Sign-ins"),
    "token": N_("API tokens"),
    "service": N_("Service accounts"),
    "user": N_("Users"),
    "node": N_("Nodes"),
    "image": N_("Images"),
    "site": N_("Sites"),
    "garage": N_("The garage itself"),
    "announcement": N_("Announcements"),
    "audit": N_("The audit log"),
}
"""The beginnings of `AUDIT`'s keys that one may look for."""

BROKEN: dict[str, str] = {
    "missing": N_("the entry was removed"),
    "changed": N_("the entry was changed, or its seal"),
    "added": N_("the entry was put in afterwards"),
    "gap": N_("seals before it were removed"),
    "signature": N_("the seal was not made by this garage"),
    "cut": N_("the log's beginning was removed by hand"),
    "head": N_("it is not the head that was noted"),
}
"""`services.sealing.REASONS`."""

PARAMS: dict[str, dict[str, str]] = {
    "state": VOLUME_STATES | STATES | NODE_STATES,
    "event": EVENTS | NODE_EVENTS,
    "what": RESOURCES,
    "role": ROLES,
    "scope": SCOPES,
}
"""Fields of error texts whose values are keys, and their words."""
