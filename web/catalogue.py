"""The catalogues: `python -m web.catalogue update` after a text has changed, `compile` at set-up."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
JAPANESE = Path(__file__).parent / "translations" / "ja" / "LC_MESSAGES" / "messages.po"
NOISE = tuple(
    f'"{name}'.encode()
    for name in ("POT-", "PO-", "Report-", "Last-", "Language-Team", "Generated-By", "Project-Id-Version")
)
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None}


def extract() -> Catalog:
    """Every text of `garage/` and `web/` that a person may read, with the files it stands in."""
    with (Path(__file__).parent / "babel.cfg").open() as config:
        methods, options = parse_mapping_cfg(config)  # type: ignore[no-untyped-call]
    catalogue = Catalog(project="garage", version="")
    found = extract_from_dir(ROOT, methods, options, KEYWORDS, ("Translators:",), strip_comment_tags=True)
    for filename, _, message, comments, context in sorted(found, key=lambda item: (item[0], item[1])):
        place: list[Any] = [(filename, None)]
        catalogue.add(message, None, place, auto_comments=comments, context=context)
    return catalogue


def read() -> Catalog:
    with JAPANESE.open("rb") as file:
        return read_po(file, locale="ja")


def update() -> list[str]:
    """Bring the Japanese catalogue in line with the sources; returns the texts that have yet to be translated."""
    catalogue = read()
    catalogue.update(extract(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    buffer = BytesIO()
    write_po(buffer, catalogue, width=120, sort_by_file=True, omit_header=False)
    JAPANESE.write_bytes(_without_noise(buffer.getvalue()))
    return [str(message.id) for message in catalogue if message.id and not message.string]


def _without_noise(text: bytes) -> bytes:
    """Header lines that say nothing, or would make every update a change."""
    kept = (line for line in text.splitlines(keepends=True) if not line.startswith(NOISE))
    return b"".join(kept)


def compile_all() -> None:
    """Write the .mo file that the pages load."""
    with JAPANESE.with_suffix(".mo").open("wb") as file:
        write_mo(file, read())


def main(command: str) -> int:
    if command == "compile":
        compile_all()
        return 0
    missing = update()
    for text in missing:
        sys.stderr.write(f"not translated: {text!r}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "update"))
