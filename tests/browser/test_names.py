"""Names that try to be markup: the short form of ``python -m tests.stress.names``."""

from __future__ import annotations

from tests.stress import names


def test_nothing_of_a_name_runs(chromium, tmp_path):
    made = list(names.pages(tmp_path, names.PAYLOADS[:1]))
    assert len({view for view, _ in made}) >= 14
    assert list(names.ran_in(chromium, made)) == []
    bare = tmp_path / "bare.html"
    bare.write_text(f"<!doctype html>{names.PAYLOADS[0]}{names.PAYLOADS[3]}", encoding="utf-8")
    assert list(names.ran_in(chromium, [("bare", bare)])), "what is not escaped is seen"
