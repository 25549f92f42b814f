"""The `garage` command's parts: a client of the API alone, installable without the controller."""
