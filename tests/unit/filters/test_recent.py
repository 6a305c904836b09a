"""What is known of late: how long, and how much."""

from __future__ import annotations

from ingressd.filters.recent import Recent


def test_something_is_known_until_its_time() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1, 10.0)
    assert recent.get("a", 9.9) == 1
    assert recent.get("a", 10.0) is None
    assert len(recent) == 0


def test_what_was_not_asked_for_the_longest_makes_room() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1, 10.0)
    recent.put("b", 2, 10.0)
    assert recent.get("a", 0.0) == 1
    recent.put("c", 3, 10.0)
    assert [recent.get(key, 0.0) for key in "abc"] == [1, None, 3]


def test_what_is_put_again_holds_longer() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1, 10.0)
    recent.put("a", 2, 20.0)
    assert (recent.get("a", 15.0), len(recent)) == (2, 1)
