"""Whether processes hold the same weights: what each says and waits for, in a store that is here.

``test_ranks_differ`` does it with true processes.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gan_lessons import torch_internals as internals
from gan_lessons.lens.record import processes
from gan_lessons.lens.record.gradients import Fingerprint

NAMES = [("G", "weight"), ("D", "weight"), ("D", "bias")]
BEFORE: list[Fingerprint] = [(1.0, 0.5), (2.0, 0.5), (3.0, 0.5)]
NOW: list[Fingerprint] = [(1.5, 0.5), (2.5, 0.5), (3.5, 0.5)]


class Store:
    """What torch's store does, for ``wait`` without waiting."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self.waited: list[tuple[tuple[str, ...], timedelta]] = []

    def set(self, key: str, value: str) -> None:
        self.said[key] = value

    def get(self, key: str) -> bytes:
        return self.said[key].encode()

    def wait(self, keys: list[str], limit: timedelta) -> None:
        self.waited.append((tuple(keys), limit))
        if not set(keys) <= set(self.said):
            raise RuntimeError("wait timeout")


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """[store, rank, how many], to be changed by a test."""
    found: list[Any] = [Store(), 0, 3]
    monkeypatch.setattr(internals, "joined_processes", lambda: tuple(found))
    return found


def said_by(rank: int, joined: list[Any], key: str, **other: Any) -> None:
    """What the process ``rank`` of the same recording leaves in the store."""
    told = {"names": NAMES, "steps": ["D"], "before": BEFORE, "now": NOW} | other
    joined[0].set(f"{key}{rank}/begun", "")
    joined[0].set(f"{key}{rank}", json.dumps([*told.values()]))


def asked(key: str | None) -> Any:
    return processes.drifted(key, NAMES, BEFORE, lambda: NOW, ["D"])


def test_one_process_alone_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internals, "joined_processes", lambda: None)
    assert processes.begun() is None
    assert asked(None) == asked("key/") == (1, {})


def test_the_first_process_looks_at_all_others(joined: list[Any]) -> None:
    key = processes.begun()
    assert key is not None
    assert joined[0].said == {f"{key}0/begun": ""}
    said_by(1, joined, key)
    said_by(2, joined, key, now=[NOW[0], (9.0, 0.5), (9.0, 9.0)])
    assert asked(key) == (3, {"D": ("weight", "bias")})
    assert json.loads(joined[0].get(f"{key}0"))[1:] == [
        ["D"],
        *json.loads(json.dumps([BEFORE, NOW])),
    ]
    assert joined[0].waited == [
        ((f"{key}1/begun", f"{key}2/begun"), timedelta(seconds=1)),
        ((f"{key}1", f"{key}2"), timedelta(seconds=10)),
    ]


def test_another_process_looks_at_the_first_alone(joined: list[Any]) -> None:
    joined[1] = 2
    key = processes.begun()
    assert key is not None
    assert joined[0].said == {f"{key}2/begun": ""}
    said_by(0, joined, key, now=[(9.0, 0.5), *NOW[1:]])
    assert asked(key) == (3, {"G": ("weight",)})
    assert [keys for keys, _ in joined[0].waited] == [(f"{key}0/begun",), (f"{key}0",)]


@pytest.mark.parametrize(
    "other", [{"names": NAMES[:2]}, {"steps": ["D", "D"]}, {"steps": []}], ids=str
)
def test_another_recording_is_not_compared(joined: list[Any], other: dict[str, Any]) -> None:
    key = processes.begun()
    assert key is not None
    said_by(1, joined, key, now=BEFORE)
    said_by(2, joined, key, **other)
    assert asked(key) == (1, {})


def test_weights_that_were_never_the_same_have_not_drifted(joined: list[Any]) -> None:
    key = processes.begun()
    assert key is not None
    said_by(1, joined, key, before=NOW, now=BEFORE)
    said_by(2, joined, key)
    assert asked(key) == (3, {})


@pytest.mark.parametrize("half", [False, True])
def test_who_gets_no_answer_asks_no_more(joined: list[Any], half: bool) -> None:
    key = processes.begun()
    assert key is not None
    if half:  # they began, and did not end
        joined[0].set(f"{key}1/begun", "")
        joined[0].set(f"{key}2/begun", "")
    assert asked(key) == (1, {})
    waited = len(joined[0].waited)
    assert waited == (2 if half else 1)
    assert (f"{key}0" in joined[0].said) is half
    assert processes.begun() is None
    assert asked(key) == (1, {})
    assert len(joined[0].waited) == waited


def test_a_recording_that_began_before_the_processes_joined_asks_nobody(joined: list[Any]) -> None:
    assert asked(None) == (1, {})
    assert joined[0].waited == []


def test_each_recording_has_a_key_of_its_own(joined: list[Any]) -> None:
    assert processes.begun() != processes.begun()
