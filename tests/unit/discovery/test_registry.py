"""Providers of real distributions: a module and its dist-info on sys.path."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from ingressd.discovery import registry
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.dns import DnsDiscovery
from ingressd.discovery.static import StaticDiscovery
from ingressd.settings import Settings
from ingressd.table.endpoint import Endpoint

WORKING = """
from ingressd.discovery.base import Answer
from ingressd.table.endpoint import Endpoint

class Provider:
    def __init__(self, settings):
        self.paths = settings.paths

    async def watch(self, query):
        yield Answer((Endpoint("10.0.0.1", query.port, zone=",".join(self.paths), source=query.provider),))
"""


class Site:
    """A folder on sys.path that distributions are put into."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(str(folder))

    def install(self, package: str, code: str, **entries: str) -> None:
        """A distribution with one module; `entries` are provider name -> name in that module."""
        module = package.replace("-", "_")
        (self._folder / f"{module}.py").write_text(code)
        self._monkeypatch.delitem(sys.modules, module, raising=False)
        info = self._folder / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        lines = "".join(f"{name} = {module}:{value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[ingressd.discovery]\n{lines}")
        self._monkeypatch.syspath_prepend(str(self._folder))  # forgets what importlib remembered of the folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.ERROR, logger="ingressd.discovery.registry")
    return caplog


def test_the_built_in_providers_are_there_without_a_word(log: pytest.LogCaptureFixture) -> None:
    providers = registry.load(Settings())
    assert isinstance(providers["dns"], DnsDiscovery)
    assert isinstance(providers["static"], StaticDiscovery)
    assert log.messages == []


def test_the_built_in_providers_need_no_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    assert set(registry.load(Settings())) == {"dns", "static"}


async def test_a_plug_in_is_made_with_the_settings_and_answers(site: Site, log: pytest.LogCaptureFixture) -> None:
    site.install("plugin-of-others", WORKING, others="Provider")
    providers = registry.load(Settings(paths=("manifests",)))
    answers = [answer async for answer in providers["others"].watch(Query("others", "web", 81))]
    assert answers == [Answer((Endpoint("10.0.0.1", 81, zone="manifests", source="others"),))]
    assert log.messages == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("raise SystemExit('I stop everything')", "SystemExit: I stop everything"),
        ("def Provider(settings): raise ValueError('no token')", "ValueError: no token"),
        ("Other = 1", "AttributeError: module 'broken_plugin' has no attribute 'Provider'"),
        (
            "def Provider(settings): return 7",
            "TypeError: broken_plugin:Provider makes a int, which has no method watch(query)",
        ),
    ],
)
def test_a_plug_in_that_does_not_work_is_left_out_and_said(
    site: Site, log: pytest.LogCaptureFixture, code: str, said: str
) -> None:
    site.install("broken-plugin", code, broken="Provider")
    site.install("working-plugin", WORKING, working="Provider")
    assert set(registry.load(Settings())) == {"dns", "static", "working"}
    assert log.messages == [f"discovery broken of the package broken-plugin is left out: {said}"]


def test_a_plug_in_never_takes_the_place_of_a_built_in_provider(site: Site, log: pytest.LogCaptureFixture) -> None:
    site.install("usurper", WORKING, dns="Provider")
    assert isinstance(registry.load(Settings())["dns"], DnsDiscovery)
    assert log.messages == ["discovery dns of the package usurper is left out: that name is built in"]


def test_of_two_plug_ins_with_one_name_the_first_by_package_wins(site: Site, log: pytest.LogCaptureFixture) -> None:
    site.install("second-plugin", WORKING, shared="Provider")
    site.install("first-plugin", WORKING, shared="Provider")
    assert type(registry.load(Settings())["shared"]).__module__ == "first_plugin"
    assert log.messages == ["discovery shared of the package second-plugin is left out: another has that name"]
