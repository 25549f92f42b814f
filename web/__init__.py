"""The pages of the garage: Flask, Jinja, htmx."""
