"""The pages: Jinja, htmx and server-sent events over the services; everything works without JavaScript too."""

from web.app import register

__all__ = ["register"]
