"""What the site takes from outside docs/, and where its links lead.

Pages are written for a reader of the repository: links are relative to the file. Some of them are
pages of the site, too, under another name (`PAGES`), some are files that the site carries. Whatever
else they lead to is source code: a link into the repository where its address is known, plain text
where it is not.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Folders and files of the repository that are part of the site, and their names there.
PAGES = {
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/results": "benchmarks",
    "kernels/README.md": "contract.md",
    "kernels/contract": "contract",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/."""
    for source, target in PAGES.items():
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".md", ".png", ".json", ".svg"):
                name = f"{target}/{file.relative_to(path)}" if path.is_dir() else target
                files.append(File.generated(config, name, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give each link outside of code blocks its target on the site, or in the repository."""
    folder = posixpath.dirname(repository_path(page.file.src_uri))
    lines, fenced = [], False
    for line in markdown.splitlines():
        fenced ^= bool(FENCE.match(line))
        lines.append(line if fenced else LINK.sub(_linker(folder, page, config, files), line))
    return "\n".join(lines)


def repository_path(name: str) -> str:
    """Return the path in the repository of a file of the site."""
    for source, target in PAGES.items():
        if name == target or name.startswith(f"{target}/"):
            return source + name.removeprefix(target)
    return f"docs/{name}"


def site_path(path: str) -> str:
    """Return the name on the site of a path in the repository, if it has one."""
    if path == "README.md":
        return "index.md"
    for source, target in PAGES.items():
        if path == source or path.startswith(f"{source}/"):
            return target + path.removeprefix(source)
    return path.removeprefix("docs/")


def _linker(folder: str, page: Page, config: MkDocsConfig, files: Files) -> Any:
    def link(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        if re.match(r"\w+:|#|/", target):
            return match[0]
        path, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri}: no {target}")
        name = site_path(path)
        if files.get_file_from_path(name) is not None:
            here = posixpath.dirname(page.file.src_uri)
            return f"{picture}[{label}]({posixpath.relpath(name, here or '.')}{mark}{anchor})"
        if config.repo_url:
            return f"[{label}]({config.repo_url.rstrip('/')}/blob/HEAD/{path}{mark}{anchor})"
        return label if label.startswith("`") else f"{label} (`{path}`)"

    return link
