"""Places in a worker: counted, bounded, given back once."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from ingressd.listener.gate import Gate
from ingressd.observe.stats import WorkerStats
from ingressd.settings import Limits


class Loop:
    """Accepts, or not."""

    def __init__(self) -> None:
        self.accepting = True

    def pause(self) -> None:
        self.accepting = False

    def resume(self) -> None:
        self.accepting = True


@pytest.fixture
def descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def gate(**limits: int) -> Gate:
    return Gate(Limits(**limits), WorkerStats())


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize(("connections", "capacity"), [(20_000, 800), (800, 800), (799, 799), (1, 1)])
def test_a_worker_holds_what_the_limit_says_or_four_fifths_of_its_descriptors(connections: int, capacity: int) -> None:
    assert gate(connections=connections).capacity == capacity


def test_all_loops_pause_when_the_last_place_is_taken_and_resume_when_one_is_free() -> None:
    it, loops = gate(connections=2), (Loop(), Loop())
    for loop in loops:
        it.guard(loop)
    first = it.admit(("192.0.2.1", 1))
    assert all(loop.accepting for loop in loops)
    second = it.admit(("192.0.2.1", 2))
    assert not any(loop.accepting for loop in loops)
    assert first is not None
    assert second is not None
    first.end()
    first.end()
    assert it.count == 1
    assert all(loop.accepting for loop in loops)
    assert not it.empty.is_set()
    second.end()
    assert it.empty.is_set()


def test_what_was_accepted_in_the_same_batch_as_the_last_place_is_still_counted() -> None:
    it, loop = gate(connections=1), Loop()
    it.guard(loop)
    admissions = [it.admit(("192.0.2.1", port)) for port in range(3)]
    for admission in admissions[:2]:
        assert admission is not None
        admission.end()
        assert not loop.accepting
    assert admissions[2] is not None
    admissions[2].end()
    assert loop.accepting


def test_a_client_has_as_many_places_as_the_limit_says_and_its_count_goes_with_it() -> None:
    it = gate(connections_per_client=2)
    held = [it.admit(("192.0.2.1", 1)), it.admit(("::ffff:192.0.2.1", 2, 0, 0))]
    assert it.admit(("192.0.2.1", 3)) is None
    assert it.admit(("192.0.2.2", 3)) is not None
    for admission in held:
        assert admission is not None
        admission.end()
    assert it._by_client == {"192.0.2.2": 1}
    assert it.admit(("192.0.2.1", 4)) is not None


def test_without_a_limit_no_client_is_kept_in_mind() -> None:
    it = gate()
    assert it.admit(("192.0.2.1", 1)) is not None
    assert it._by_client == {}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::1"),
        (("::ffff:1", 1, 0, 0), "::ffff:1"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::1"),
    ],
)
def test_a_client_s_address_is_written_plainly(peer: tuple[str, int], address: str) -> None:
    admission = gate().admit(peer)
    assert admission is not None
    assert (admission.address, admission.port) == (address, 1)
