"""What is left out of the outputs of an executed lesson, before they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import Preprocessor

WIDGET = "application/vnd.jupyter.widget-view+json"
# IPython.display.Code brings a style sheet for a white page; the page has one for both themes.
_CODE_STYLE = re.compile(r"<style>pre \{ line-height.*?</style>(?=<div class=\"highlight\">)", re.S)
_FOLDER = re.compile(r"[^\s:'\"]*/(?=(?:gan_lessons|site-packages)/)")
_ARROW = re.compile(r"^-+>\s*\d+ ")


class LeaveOutTheRun(Preprocessor):
    """Leave out what belongs to the run alone: progress bars, and folders of the machine."""

    def preprocess_cell(self, cell: Any, resources: Any, index: int) -> tuple[Any, Any]:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_bare_widget(output)]
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = list(_short_traceback("\n".join(output.traceback)))
                elif output.output_type == "stream":
                    output.text = _FOLDER.sub("", output.text)
                elif "text/html" in output.data:
                    output.data["text/html"] = _CODE_STYLE.sub("", output.data["text/html"])
        return cell, resources


def _is_bare_widget(output: Any) -> bool:
    """A widget that brings no HTML (a progress bar) has nothing to say once its run is over."""
    data = output.get("data", {})
    return WIDGET in data and "text/html" not in data


def _short_traceback(traceback: str) -> Iterator[str]:
    """Per frame of the lesson the file and the line that was reached, then the error.

    The frames inside torch, and folders that only this machine has, are left out.
    """
    *frames, message = re.split(r"\n\s*\n(?=\S)", strip_ansi(traceback))
    for frame in frames:
        lines = frame.splitlines()
        where = next((line for line in lines if line.startswith(("Cell ", "File "))), None)
        if where is None or "/site-packages/" in where:
            continue
        yield _FOLDER.sub("", where)
        yield from (line for line in lines if _ARROW.match(line))
    yield ""
    yield from message.splitlines()
