"""What a manifest cannot do, whatever is written in it: run code, read files, reach a metadata service or loopback.

Through the same readers, provider and compiler as `ingressd run`, with a real name server where a name is asked for.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest

from ingressd.compile.compilation import Compilation
from ingressd.compile.compiler import compile_snapshot
from ingressd.discovery.base import Answer, Query
from ingressd.discovery.dns import DnsDiscovery
from ingressd.discovery.name_files import NameFiles
from ingressd.errors import Severity
from ingressd.settings import Settings
from ingressd.sources.documents import read_documents
from ingressd.sources.files import FileSource
from tests.support.dns_server import DnsServer, dns_server
from tests.unit.compile.manifests import codes, ingress, options, path, resources, rule, service

POOL = "default/web:80"
WEB = ingress(rules=[rule("a.test", path("/", "web"))])


# Code.


@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/apply:builtins.open ['{mark}', 'w']",
        "!!python/object/new:os.system ['touch {mark}']",
        "!!python/object/apply:subprocess.Popen [[touch, '{mark}']]",
        "!!python/object/apply:eval [\"open('{mark}', 'w')\"]",
        "!!python/module:this",
        "!!python/name:os.system",
        "!!java.lang.Runtime {{}}",
        "!include {mark}",
        "!!binary aGVsbG8=",
        "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {mark}']",
    ],
)
@pytest.mark.parametrize("place", ["", "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  labels: {a: ", "- "])
def test_a_tag_runs_nothing_and_is_a_fault(tmp_path: Path, payload: str, place: str) -> None:
    mark = tmp_path / "ran"
    end = "}" if place.endswith("{a: ") else ""
    text = f"{place}{payload.format(mark=mark)}{end}\n"
    found = [fault for document in read_documents("a.yaml", text) for fault in document.faults]
    assert [fault.severity for fault in found if fault.code in ("yaml_tag", "yaml_syntax")] == [Severity.ERROR]
    assert [resource for document in read_documents("a.yaml", text) for resource in document.served] == []
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "/; } location /x { return 200; } #",
        "/$(touch /tmp/ran)",
        "/`id`",
        '/{{ env "HOME" }}',
        "/${HOME}",
        "/%(path)s{0.__class__}",
        '/";\nload_module evil.so;',
    ],
)
def test_a_path_is_compared_and_never_interpreted(text: str) -> None:
    compilation = compile_snapshot(
        resources(ingress(rules=[rule("a.test", path(text, "web"))]), service()), {}, options()
    )
    written = [route.path for host in compilation.snapshot.hosts.values() for route in host.routes]
    # Octet by octet, in the escapes of a request; or not at all, where no request could have it.
    assert [unquote(each) for each in written] in ([text], [])
    assert written or [fault for fault in compilation.faults if fault.code in ("field_invalid", "path_never_matches")]


# Files.


def test_a_link_to_a_file_elsewhere_is_not_read_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    secret, folder = tmp_path / "passwd", tmp_path / "manifests"
    secret.write_text("root:x:0:0:a-line-of-another-file\n")
    folder.mkdir()
    (folder / "a.yaml").symlink_to(secret)
    (folder / "b.yaml").symlink_to("/proc/self/environ")
    (folder / "c").symlink_to("/etc")
    os.mkfifo(folder / "d.yaml")
    found = FileSource((str(folder),)).load()
    assert sorted(fault.code for fault in found.faults) == ["not_a_file", *["symlink_outside"] * 3]
    assert "a-line-of-another-file" not in repr(found) + "".join(map(str, found.faults))
    assert not found.services


def test_a_file_that_is_no_manifest_is_not_quoted_in_its_faults(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n---\nx: [\n")
    found = FileSource((str(tmp_path),)).load()
    assert found.faults
    assert "MIGHAgEAMBMG" not in "".join(map(str, found.faults))


def test_a_secret_is_what_is_written_in_it_and_never_a_path(tmp_path: Path) -> None:
    key = tmp_path / "tls.key"
    key.write_text("a-line-of-another-file")
    named = base64.b64encode(str(key).encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls", "namespace": "default"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": named, "tls.key": named},
    }
    using = ingress(tls=[{"hosts": ["a.test"], "secretName": "tls"}], rules=[rule("a.test", path("/", "web"))])
    compilation = compile_snapshot(resources(using, secret, service()), {}, options())
    assert compilation.snapshot.certificates == {}
    assert "certificate_unusable" in codes(compilation)
    assert "a-line-of-another-file" not in repr(compilation)


@pytest.mark.parametrize("name", ["../other/tls", "other/tls", "/etc/ssl/private/a.key", "default/../other/tls"])
def test_the_name_of_a_secret_leads_to_no_other_namespace_and_no_file(name: str) -> None:
    using = ingress(tls=[{"hosts": ["a.test"], "secretName": name}], rules=[rule("a.test", path("/", "web"))])
    compilation = compile_snapshot(resources(using, service()), {}, options())
    assert compilation.snapshot.certificates == {}
    assert {"field_invalid", "secret_missing"} & {*codes(compilation)}


# Addresses.


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with dns_server() as server:
        yield server


class Resolving:
    """What a Service of the type ExternalName leads to, asked of a real name server again and again."""

    def __init__(self, server: DnsServer, folder: Path, stack: AsyncExitStack) -> None:
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        (folder / "resolv.conf").write_text("")
        files = NameFiles(
            (server.address,), hosts=str(folder / "hosts"), resolv_conf=str(folder / "resolv.conf"), check_s=0
        )
        self._discovery = DnsDiscovery(Settings(), files=files, sleep=self._no_sleep)
        self._stack = stack
        self._watches: dict[Query, AsyncIterator[Answer]] = {}

    async def _no_sleep(self, _seconds: float) -> None:
        pass

    async def compiled(self, external_name: str) -> Compilation:
        """With the next answer to what the compiler asks."""
        objects = resources(WEB, service(type="ExternalName", externalName=external_name))
        answers: dict[Query, Answer] = {}
        for query in compile_snapshot(objects, {}, options()).queries:
            if query not in self._watches:
                watch = self._discovery.watch(query)
                self._stack.push_async_callback(watch.aclose)  # type: ignore[attr-defined]
                self._watches[query] = watch
            answers[query] = await anext(self._watches[query])
        return compile_snapshot(objects, answers, options())


@pytest.fixture
async def resolving(server: DnsServer, tmp_path: Path) -> AsyncIterator[Resolving]:
    async with AsyncExitStack() as stack:
        yield Resolving(server, tmp_path, stack)


def reached(compilation: Compilation) -> list[str]:
    pool = compilation.snapshot.pools.get(POOL)
    return [] if pool is None else [endpoint.address for endpoint in pool.endpoints]


@pytest.mark.parametrize(
    "spelling",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",  # as one number
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "127.1",
        "0",
        "localhost",
        "LOCALHOST.",
        "::1",
        "[::1]",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "fe80::a9fe:a9fe",
        "127.0.0.1:80",
    ],
)
async def test_no_spelling_of_a_forbidden_address_is_a_way_to_it(resolving: Resolving, spelling: str) -> None:
    compilation = await resolving.compiled(spelling)
    assert reached(compilation) == []
    assert compilation.faults


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("A", "169.254.169.254"),
        ("A", "127.0.0.1"),
        ("A", "0.0.0.0"),
        ("AAAA", "::1"),
        ("AAAA", "::"),
        ("AAAA", "fe80::1"),
        ("AAAA", "::ffff:169.254.169.254"),
        ("AAAA", "::ffff:127.0.0.1"),
    ],
)
async def test_a_name_that_leads_to_a_forbidden_address_is_refused_and_said(
    resolving: Resolving, server: DnsServer, kind: str, address: str
) -> None:
    server.add("api.example.", kind, address)
    compilation = await resolving.compiled("api.example")
    assert reached(compilation) == []
    assert codes(compilation) == ["external_name_refused"]


async def test_an_alias_of_a_forbidden_name_is_refused(resolving: Resolving, server: DnsServer) -> None:
    server.alias("api.example.", "metadata.example.")
    server.add("metadata.example.", "A", "169.254.169.254")
    assert reached(await resolving.compiled("api.example")) == []


async def test_every_answer_is_looked_at_and_not_only_the_first(resolving: Resolving, server: DnsServer) -> None:
    server.add("api.example.", "A", "203.0.113.7", ttl=0)
    assert reached(await resolving.compiled("api.example")) == ["203.0.113.7"]
    server.add("api.example.", "A", "169.254.169.254", ttl=0)
    second = await resolving.compiled("api.example")
    assert reached(second) == []
    assert codes(second) == ["external_name_refused"]
    server.add("api.example.", "A", "203.0.113.8", "127.0.0.1", ttl=0)
    assert reached(await resolving.compiled("api.example")) == ["203.0.113.8"]


async def test_what_was_looked_at_is_what_is_dialled(resolving: Resolving, server: DnsServer) -> None:
    server.add("api.example.", "A", "203.0.113.7")
    (address,) = reached(await resolving.compiled("api.example"))
    # An address and no name: nobody asks DNS again between the check and the connection.
    assert address == "203.0.113.7"


@pytest.mark.parametrize("address", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "127.1", "169.254.169.254/32"])
def test_an_address_in_a_slice_is_an_address_in_its_one_spelling(address: str) -> None:
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address]}],
    }
    compilation = compile_snapshot(resources(WEB, service(), slice_), {}, options())
    assert reached(compilation) == []
    assert "field_invalid" in codes(compilation)
