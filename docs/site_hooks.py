"""For mkdocs: what pages link to outside this folder is taken into the site, so that links work there as they do here.

A page stands where it stands in the repository; a file beside this folder appears under `repository/`.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
DOCS, OUTSIDE = "docs/", "repository/"
_FILE = re.compile(r"<!-- (?P<how>file|append): (?P<name>.*?) -->")
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is linked, and what that links to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = _repository(waiting.pop())
        for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            place = _site(_target(page, link))
            if place.startswith(OUTSIDE) and files.get_file_from_path(place) is None:
                if not (ROOT / _repository(place)).is_file():
                    continue  # mkdocs says so itself, with the page's name
                source = str(ROOT / _repository(place))
                level = InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, place, abs_src_path=source, inclusion=level))
                waiting += [place] if place.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let a page's links lead to where the site has what they mean."""
    here = page.file.src_uri

    def turned(match: re.Match[str]) -> str:
        place = _site(_target(_repository(here), match.group(1)))
        return posixpath.relpath(place, posixpath.dirname(here) or ".")

    return _LINK.sub(turned, _FILE.sub(_caption, markdown))


def _caption(match: re.Match[str]) -> str:
    """The name of the file that a block is, which in the repository stands in a comment for the tests."""
    return f"`{match['name']}`{', at its end' if match['how'] == 'append' else ''}:\n"


def _target(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _repository(place: str) -> str:
    """Where something of the site stands in the repository."""
    return place.removeprefix(OUTSIDE) if place.startswith(OUTSIDE) else DOCS + place


def _site(path: str) -> str:
    """Where something of the repository stands in the site."""
    return path.removeprefix(DOCS) if path.startswith(DOCS) else OUTSIDE + path
