"""What is served, and the requests that reach it."""

from __future__ import annotations

from bench.scenario import APP_HOST, EDITED_HOST, Scenario


def test_there_is_one_request_for_each_route_in_a_fixed_order_of_its_own() -> None:
    requests = Scenario(hosts=20, paths=3).requests()
    assert len(set(requests)) == len(requests) == 60
    assert requests == Scenario(hosts=20, paths=3).requests()
    assert requests != sorted(requests)
    assert ("h7.bench.test", "/p2/x") in requests


def test_the_sites_end_with_the_echo_and_the_edited_host() -> None:
    hosts = [site.host for site in Scenario(hosts=2).sites()]
    assert hosts == ["h0.bench.test", "h1.bench.test", APP_HOST, EDITED_HOST]


def test_the_last_url_is_among_the_requests() -> None:
    for scenario in (Scenario(), Scenario(hosts=1, paths=10_000), Scenario(hosts=3, paths=1)):
        assert scenario.last_url() in scenario.requests()


def test_an_edition_changes_the_edited_host_and_nothing_else() -> None:
    before, after = (list(scenario.sites()) for scenario in (Scenario(), Scenario().edited(4)))
    assert before[:-1] == after[:-1]
    assert after[-1].paths == ("/edition-4",)


def test_the_label_names_what_is_not_plain() -> None:
    assert Scenario().label == "10 hosts x 2 paths"
    assert Scenario(hosts=1, paths=10, tls=True, access_log=True).label == "1 host x 10 paths, TLS, access log"
    assert Scenario(stream=True, services=1000).label == "10 hosts x 2 paths, TCP, 1,000 Services beside"
