"""One view as a file of its own: it works from disk, asks nobody; its address says what to show."""

from __future__ import annotations

import os
from pathlib import Path

from gan_lessons.classroom.content_policy import may_load
from gan_lessons.classroom.page import classic, module, static
from gan_lessons.classroom.templating import template
from gan_lessons.whole_file import write_whole

NO_HTML = "save() got {path!r}; expected a name that ends in .html, by which browsers know a page"
NO_FOLDER = "there is no folder {folder} to save {name} in; make it first, or choose another"
IS_FOLDER = "{path} is a folder; add the name of a file, such as {path}/explorer.html"

_PAGE = template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{{ policy }}
<title>{{ title }}</title>
<style>{{ looks | safe }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{{ fragment | safe }}
</main>
<script>{{ script | safe }}.follow();</script>
</body>
</html>
""")


def save_page(path: str | Path, title: str, fragment: str) -> Path:
    """Write a page with this title around one widget's ``fragment``, which is in a group.

    See ``StrategyExplorer.save`` for what it raises and for the page's address.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(IS_FOLDER.format(path=path))
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(NO_HTML.format(path=str(path)))
    path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    if not path.parent.is_dir():
        raise FileNotFoundError(NO_FOLDER.format(folder=path.parent, name=path.name))
    script, looks = classic(module("address.js")), static("saved_page.css")
    page = _PAGE.render(
        title=title, fragment=fragment, script=script, looks=looks, policy=may_load(scripts=True)
    )
    write_whole(path, page)
    return path
