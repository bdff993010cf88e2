"""Where the project is to be found: written into what is built next, where that is known.

    python tools/project_urls.py    # the release workflow, in its own checkout, before the wheel

A clone does not say where it is public, and a fork is elsewhere; so no address is stored, and a
wheel that is built at home has none. GitHub tells its runs: GITHUB_SERVER_URL, GITHUB_REPOSITORY,
and GITHUB_REF_NAME, the tag. pyproject.toml gets its [project.urls]; what README.md and the lessons
name by a path, and a reader of the wheel has not got, becomes a link to that tag.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

NEEDED = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_REF_NAME")


def write_urls(folder: Path, told: Mapping[str, str]) -> None:
    """Change pyproject.toml, README.md and notebooks/*.ipynb of a checkout in place.

    told: the variables. Raises ValueError where one is missing, or the addresses are there already.
    """
    missing = [name for name in NEEDED if not told.get(name)]
    if missing:
        raise ValueError(f"{', '.join(missing)} not set: nobody knows where the project is public")
    server, repository, tag = (told[name] for name in NEEDED)
    home = f"{server}/{repository}"
    project, readme = folder / "pyproject.toml", folder / "README.md"
    settings = project.read_text(encoding="utf-8")
    if "[project.urls]" in settings:
        raise ValueError(f"{project} has its [project.urls] already; take a fresh checkout")
    project.write_text(f"{settings}\n[project.urls]\n{urls(home, tag)}", encoding="utf-8")
    readme.write_text(absolute(readme.read_text(encoding="utf-8"), home, tag), encoding="utf-8")
    for lesson in sorted((folder / "notebooks").glob("*.ipynb")):
        link_docs(lesson, f"{home}/blob/{tag}")


def urls(home: str, tag: str) -> str:
    """Lines of TOML."""
    found = {
        "Homepage": home,
        "Documentation": f"{home}/tree/{tag}/docs",
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/{tag}/CHANGELOG.md",
    }
    return "".join(f"{name} = {json.dumps(address)}\n" for name, address in found.items())


def absolute(text: str, home: str, tag: str) -> str:
    """Markdown whose links and pictures are found from anywhere; those within the page stay."""
    linked = re.sub(r"\]\((?!https?:|#)", f"]({home}/blob/{tag}/", text)
    return re.sub(r'\bsrc="(?!https?:)', f'src="{home}/raw/{tag}/', linked)


def link_docs(lesson: Path, files: str) -> None:
    """Where the text of a lesson names `docs/a-page.md`, link it."""
    notebook = json.loads(lesson.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = [
                re.sub(r"`(docs/[\w-]+\.md)`", rf"[`\1`]({files}/\1)", line)
                for line in cell["source"]
            ]
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    lesson.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        write_urls(Path(__file__).resolve().parents[1], os.environ)
    except ValueError as error:
        sys.exit(f"tools/project_urls.py: {error}")
