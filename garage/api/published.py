"""The OpenAPI document that is checked in, docs/openapi.json: what clients are promised.

python -m garage.api.published            writes it anew, unless a client would break
python -m garage.api.published --break    writes it all the same: say so in CHANGELOG.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from garage.api import asyncdoc
from garage.api.app import make_flask
from garage.core.api_changes import breaking
from garage.services.context import Context

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def present() -> dict[str, Any]:
    """The document of this source tree, without the version that a release changes."""
    document = asyncdoc.complete(make_flask(cast(Context, None)).api_doc)  # it is asked for its document alone
    return document | {"info": {name: text for name, text in document["info"].items() if name != "version"}}


def text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    now = present()
    broken = breaking(json.loads(FILE.read_text()), now) if FILE.exists() else []
    for line in broken:
        print(line, file=sys.stderr)
    if broken and "--break" not in arguments:
        print("clients would break; docs/api.md says what to do instead", file=sys.stderr)
        return 1
    FILE.write_text(text(now))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
