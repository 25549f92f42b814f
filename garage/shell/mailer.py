"""E-mail, by the mail server that an admin has named."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

from garage.core.channels import Smtp, Undelivered
from garage.errors import N_, GarageError

SILENCE = 20.0
"""Seconds that the server may take for each of its answers."""


def send(smtp: Smtp, mail: EmailMessage, *, silence: float = SILENCE) -> None:
    """Raises `Undelivered` unless the mail server takes it. What that server says in words is for its admin, and not told."""
    try:
        server = _connected(smtp, silence)
        try:
            if smtp.user:
                server.login(smtp.user, _password(smtp))
            server.send_message(mail)
        finally:
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
    except smtplib.SMTPAuthenticationError as error:  # no letter's fault
        raise _answered(error.smtp_code, refused=False) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _answered(max(code for code, _text in error.recipients.values())) from None
    except smtplib.SMTPResponseException as error:
        raise _answered(error.smtp_code) from None
    except ssl.SSLCertVerificationError:
        hint = N_("an admin sets ca_file in [smtp], or the right host")
        told = GarageError("network_error", N_("the mail server's certificate is not its own"), hint=hint)
        raise Undelivered(told) from None
    except (smtplib.SMTPException, OSError) as error:
        reason = type(error).__name__
        told = GarageError("network_error", N_("the mail server cannot be used: {reason}"), hint=_ADMIN, reason=reason)
        raise Undelivered(told) from None


_ADMIN = N_("an admin looks at [smtp] in garage.toml, and at the worker's log")


def _connected(smtp: Smtp, silence: float) -> smtplib.SMTP:
    """Encrypted before anything is said, unless the settings say otherwise: without STARTTLS there it is an error."""
    context = ssl.create_default_context(cafile=smtp.ca_file or None)
    if smtp.security == "tls":
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=silence, context=context)
    server = smtplib.SMTP(smtp.host, smtp.port, timeout=silence)
    if smtp.security == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _password(smtp: Smtp) -> str:
    try:
        return Path(smtp.password_file).read_text().rstrip("\r\n")
    except OSError as error:
        text = N_("the mail server's password cannot be read from {path}")
        raise Undelivered(GarageError("config", text, hint=_ADMIN, path=str(error.filename))) from None


def _answered(code: int, *, refused: bool = True) -> Undelivered:
    error = GarageError("network_error", N_("the mail server answered {status}"), hint=_ADMIN, status=code)
    return Undelivered(error, refused=refused and code >= 500)
