"""Read by mypy and run by nobody: what is imported late must not be Any in a user's own script.

mypy warns of an ignore that nothing needs: so each of these lines has to be an error.
"""

from __future__ import annotations

from gan_lessons import cost_all, diagnose, explore, record, tiny_gan

gan = tiny_gan()
with record(gan.nets, optimizer=gan.optimizers) as rec:  # type: ignore[call-arg]
    pass
diagnose(record=rec, strictly=True)  # type: ignore[call-arg]
explore("detach", what_ifs=True)  # type: ignore[call-arg]
table: int = cost_all({})  # type: ignore[assignment]
