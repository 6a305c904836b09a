"""hosts and resolv.conf, as libc reads them."""

from __future__ import annotations

import os
from pathlib import Path

import dns.name
import pytest

from ingressd.discovery.name_files import NameFiles, NameRules


class Files:
    """The two files of a machine, absent at first."""

    def __init__(self, folder: Path) -> None:
        self.hosts = folder / "hosts"
        self.resolv_conf = folder / "resolv.conf"
        self.files = self.open()

    def open(self, *servers: str) -> NameFiles:
        return NameFiles(servers, hosts=str(self.hosts), resolv_conf=str(self.resolv_conf), check_s=0)

    async def rules(self) -> NameRules:
        return await self.files.rules()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def name(text: str) -> dns.name.Name:
    return dns.name.from_text(text, origin=None)


def candidates(rules: NameRules, text: str) -> list[str]:
    return [candidate.to_text() for candidate in rules.candidates(name(text))]


def servers(rules: NameRules) -> list[str]:
    return [str(server) for server in rules.resolver.nameservers]


async def test_hosts_gives_every_address_of_a_name_and_of_its_other_names(files: Files) -> None:
    files.hosts.write_text(
        "# comment\n\n127.0.0.1\tlocalhost\n10.0.0.1  Web web.test. # web\n10.0.0.2 web\n10.0.0.2 web\n"
        "fd00::1 web\nno-address web\n10.0.0.3\n"
    )
    rules = await files.rules()
    assert rules.local(name("WEB")) == ("10.0.0.1", "10.0.0.2", "fd00::1")
    assert rules.local(name("web.test")) == ("10.0.0.1",)
    assert rules.local(name("web.test.")) == ("10.0.0.1",)
    assert rules.local(name("localhost")) == ("127.0.0.1",)
    assert rules.local(name("other")) == ()


async def test_localhost_is_loopback_without_a_hosts_file(files: Files) -> None:
    rules = await files.rules()
    assert rules.local(name("localhost")) == rules.local(name("a.b.localhost.")) == ("127.0.0.1", "::1")
    assert rules.local(name("notlocalhost")) == ()


async def test_a_name_with_few_dots_is_searched_for_first(files: Files) -> None:
    files.resolv_conf.write_text("nameserver 10.0.0.53\nsearch ns.svc.test svc.test\noptions ndots:2\n")
    rules = await files.rules()
    assert candidates(rules, "web.ns") == ["web.ns.ns.svc.test.", "web.ns.svc.test.", "web.ns."]
    assert candidates(rules, "a.web.ns") == ["a.web.ns.", "a.web.ns.ns.svc.test.", "a.web.ns.svc.test."]
    assert candidates(rules, "web.ns.") == ["web.ns."]


async def test_one_dot_is_enough_unless_ndots_says_otherwise(files: Files) -> None:
    files.resolv_conf.write_text("nameserver 10.0.0.53\nsearch test\n")
    rules = await files.rules()
    assert candidates(rules, "web") == ["web.test.", "web."]
    assert candidates(rules, "web.one") == ["web.one.", "web.one.test."]


async def test_under_docker_a_service_name_is_tried_as_it_is_first(files: Files) -> None:
    files.resolv_conf.write_text("nameserver 127.0.0.11\nsearch corp.test\noptions ndots:0\n")
    assert candidates(await files.rules(), "web") == ["web.", "web.corp.test."]


async def test_a_candidate_that_is_too_long_for_a_name_is_passed_over(files: Files) -> None:
    files.resolv_conf.write_text(f"nameserver 10.0.0.53\nsearch {'.'.join(['a' * 60] * 4)}\n")
    assert candidates(await files.rules(), "web-with-a-name") == ["web-with-a-name."]


async def test_name_servers_of_the_settings_stand_in_for_those_of_the_file(files: Files) -> None:
    files.resolv_conf.write_text("nameserver 10.0.0.53\nsearch test\n")
    assert servers(await files.rules()) == ["10.0.0.53"]
    rules = await files.open("127.0.0.1:5353", "[::1]:53", "127.0.0.1:5354").rules()
    assert servers(rules) == ["Do53:127.0.0.1@5353", "Do53:::1@53", "Do53:127.0.0.1@5354"]
    assert candidates(rules, "web") == ["web.test.", "web."]


async def test_files_are_read_again_when_they_change(files: Files) -> None:
    files.resolv_conf.write_text("nameserver 10.0.0.53\n")
    first = await files.rules()
    assert await files.rules() is first
    fresh = files.resolv_conf.with_suffix(".new")
    fresh.write_text("nameserver 10.0.0.54\n")
    os.replace(fresh, files.resolv_conf)
    files.hosts.write_text("10.0.0.1 web\n")
    second = await files.rules()
    assert servers(second) == ["10.0.0.54"]
    assert second.local(name("web")) == ("10.0.0.1",)
    files.hosts.unlink()
    assert (await files.rules()).local(name("web")) == ()


async def test_files_are_not_looked_at_at_every_question(files: Files) -> None:
    lazy = NameFiles(hosts=str(files.hosts), resolv_conf=str(files.resolv_conf), check_s=3600)
    first = await lazy.rules()
    files.hosts.write_text("10.0.0.1 web\n")
    assert await lazy.rules() is first


@pytest.mark.parametrize("text", ["nameserver nonsense\n", "nameserver 10.0.0.53\nsearch a..b\n", "\xff"])
async def test_a_broken_file_is_said_and_stops_nothing(
    files: Files, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    files.resolv_conf.write_bytes(text.encode("latin-1"))
    rules = await files.open("127.0.0.1:5353").rules()
    assert servers(rules) == ["Do53:127.0.0.1@5353"]
    assert [record.message.partition(":")[0] for record in caplog.records] == [str(files.resolv_conf)]


async def test_hosts_that_cannot_be_read_are_said_and_stop_nothing(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.hosts.mkdir()
    assert (await files.rules()).local(name("web")) == ()
    assert [record.message for record in caplog.records] == [f"{files.hosts}: Is a directory"]
