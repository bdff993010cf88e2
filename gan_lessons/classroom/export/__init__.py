"""Lessons as slides and pages that need no network: ``exporters`` for one, ``build`` for all."""
