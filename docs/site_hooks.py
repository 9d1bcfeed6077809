"""Builds the site from the repository's files where they are.

README, changelog and the like become pages of the site, and a link between two files of the
repository leads to the target's page, or to the repository if the target is not a page.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent

# Files outside docs/, and the pages that they become.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "experiments/pretrained_models/README.md": "weights.md",
}
SOURCES = {page: source for source, page in PAGES.items()}

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    uri = page.file.src_uri
    source = SOURCES.get(uri, f"docs/{uri}")

    def target(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        inside = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside is not None and files.get_file_from_path(inside) is not None:
            return posixpath.relpath(inside, posixpath.dirname(uri) or ".")
        if (ROOT / path).exists():
            return f"{config.repo_url}/blob/main/{path}"
        return match[1]  # which the strict build refuses

    return _LINK.sub(target, markdown)
