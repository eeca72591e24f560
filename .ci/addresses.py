"""Give a release the addresses of its repository: python .ci/addresses.py URL TAG.

README's relative links and pictures become absolute, so that they work on an index, and
pyproject.toml gets its [project.urls].
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def absolute(text: str, url: str, tag: str) -> str:
    """Return Markdown whose relative links lead into a repository."""

    def link(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        return f"{picture}[{label}]({url}/{'raw' if picture else 'blob'}/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)", link, text)


def addressed(pyproject: str, url: str, tag: str) -> str:
    """Return pyproject.toml with the project's addresses."""
    urls = {
        "Documentation": f"{url}/tree/{tag}/docs",
        "Changelog": f"{url}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{url}/issues",
        "Source": url,
    }
    lines = "".join(f'{name} = "{address}"\n' for name, address in urls.items())
    return pyproject.replace("[project.scripts]", f"[project.urls]\n{lines}\n[project.scripts]")


def main(url: str, tag: str) -> None:
    """Change both files in place."""
    for name, change in (("README.md", absolute), ("pyproject.toml", addressed)):
        path = ROOT / name
        path.write_text(change(path.read_text(), url, tag))


if __name__ == "__main__":
    main(*sys.argv[1:])
