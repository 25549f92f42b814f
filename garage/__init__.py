"""The garage controller: services, API, gateway and worker of one organisation's research cloud."""

__version__ = "0.1.0"
