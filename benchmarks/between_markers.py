"""Where a benchmark's results go in a page: between two comments that name them."""

from pathlib import Path


def put_between(page: Path, part: str, text: str) -> None:
    """Replace what stands between ``<!-- part: begin -->`` and ``<!-- part: end -->`` in `page`.

    Raises ValueError, and leaves the page as it is, where these do not stand there once each.
    """
    begin, end = (f"<!-- {part}: {where} -->" for where in ("begin", "end"))
    old = page.read_text(encoding="utf-8")
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{page.name} must hold {begin} and then {end}, once each")
    before, after = old.partition(begin)[0], old.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
