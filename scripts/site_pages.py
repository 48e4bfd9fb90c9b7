"""Hooks of the documentation site (mkdocs.yml): pages that live outside docs/, and links that lead out of it.

README, CONTRIBUTING, CHANGELOG, SECURITY and the examples' READMEs stay where GitHub shows them and become pages of the
site too. Links between pages work in both places. A link to any other file of the repository becomes plain text in the
site; a link to nothing is left as it is, so that the strict build fails on it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md"}  # file in the repository -> page of the site
PAGES |= {name: name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md") if (ROOT / name).exists()}
for example in (path.parent.name for path in ROOT.glob("examples/*/README.md")):
    PAGES[f"examples/{example}/README.md"] = f"examples/{example}.md"
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the section of decisions."""
    decisions = sorted(f"adr/{path.name}" for path in (ROOT / "docs/adr").glob("*.md"))
    for section in config.nav or []:
        for part in next(iter(section.values())):
            if isinstance(part, dict) and "Decisions" in part:
                part["Decisions"] = decisions
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that live outside docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Point links at pages of the site."""
    here = page.file.src_uri
    sources = {site: source for source, site in PAGES.items()}
    source = sources.get(here, f"docs/{here}")
    return LINK.sub(lambda match: rewritten(match, source, here), markdown)


def rewritten(match: re.Match[str], source: str, here: str) -> str:
    """The link of `match` in the file `source` of the repository, as the page `here` of the site needs it."""
    target = match["target"]
    if ":" in target:
        return match[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    readme = posixpath.join(path, "README.md")
    page = PAGES.get(path) or PAGES.get(readme)
    if page is None and path.startswith("docs/") and (ROOT / path).is_file():
        page = path.removeprefix("docs/")
    if page is None:
        return match["text"] if (ROOT / path).exists() else match[0]
    way = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"{match['image']}[{match['text']}]({way}{match['anchor'] or ''})"
