"""What a browser lets a page of ours load, whatever a script in it tries: its policy."""

from __future__ import annotations

from markupsafe import Markup


def may_load(*, scripts: bool = False, media: bool = False, frames: bool = False) -> Markup:
    """The ``<meta>`` of a page that may load what stands in it, and nothing else; nor can a form
    of it be sent, of which ``default-src`` says nothing.

    scripts: those in the page run. media: fonts, sound and moving pictures, and pictures that a
    script makes. frames: files beside it in frames; from disk such a file is not ``'self'``.
    """
    rules = {
        "default-src": "'none'",
        "script-src": "'unsafe-inline'" if scripts else "",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:" if media else "data:",
        "font-src": "data:" if media else "",
        "media-src": "data:" if media else "",
        "frame-src": "'self' file:" if frames else "",
        "form-action": "'none'",
    }
    policy = "; ".join(f"{name} {sources}" for name, sources in rules.items() if sources)
    return Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">')
