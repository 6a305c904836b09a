"""The same requests to nginx, configured as ingress-nginx's documentation says, and to an edge with the annotations.

Answers and what the backends saw must be the same, but where docs/regex-paths.md says that they differ: then both are
written here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.backend import Conversation, Peer, backend
from tests.support.edge import Running
from tests.support.manifest_edge import service_yaml, serving_manifests
from tests.support.nginx import PATIENCE_S, nginx

SERVICES = ("a", "b", "c")
PORT = ":8080"
"""What clients think that they talk to."""


class Rule(NamedTuple):
    """One path of a host: its Service and the annotations of its Ingress."""

    path: str
    annotations: Mapping[str, str]
    service: str = "a"
    path_type: str = "ImplementationSpecific"


SOMETHING = {"rewrite-target": "/$2", "x-forwarded-prefix": "/something"}
REGEX = {"use-regex": "true"}

HOSTS: Mapping[str, Sequence[Rule]] = {
    "app.test": [Rule("/something(/|$)(.*)", SOMETHING)],
    "plain.test": [
        Rule("/foo", {"rewrite-target": "/"}),
        Rule("/", {"rewrite-target": "/"}, "b"),
        Rule("/foo/deep", {"rewrite-target": "/deep"}, "c", "Exact"),
    ],
    "regex.test": [
        Rule("/foo/bar/bar", REGEX, "a", "Prefix"),
        Rule("/foo/bar/[A-Z0-9]{3}", REGEX, "b"),
        Rule("/foo/.*", REGEX, "c"),
        Rule("/Exact", REGEX, "b", "Exact"),
        Rule("/a.c", REGEX, "c"),
        Rule(r"/v\d+(?:/|$)", REGEX),
        Rule("/(?!no)[a-z]{2}$", REGEX, "b"),
        Rule("/left|/right", REGEX, "a"),
        Rule("/(?<name>[^/]+)/x$", REGEX, "b"),
    ],
    "query.test": [
        Rule("/q/(.*)", {"rewrite-target": "/search?term=$1"}),
        Rule("/drop/(.*)", {"rewrite-target": "/kept/$1?"}, "b"),
        Rule("/set/(.*)", {"rewrite-target": "/s?only=$1?"}, "c"),
        Rule("/swap/([^/]+)/([^/]+)", {"rewrite-target": "/$2/$1"}),
        Rule("/host/(.*)", {"rewrite-target": "/$host/$1"}),
        Rule("/double/(.*)", {"rewrite-target": "/d//$1/"}),
        Rule("/digits/(.*)", {"rewrite-target": "/$10/v$1x_y$host-$1"}),
    ],
    "url.test": [Rule("/go/(.*)", {"rewrite-target": "https://other.test/$1"})],
    "permanent.test": [
        Rule("/", {"permanent-redirect": "https://new.test$request_uri", "permanent-redirect-code": "308"})
    ],
    "default.test": [Rule("/", {"permanent-redirect": "https://new.test/"})],
    "both.test": [Rule("/", {"permanent-redirect": "https://no.test/", "temporal-redirect": "https://yes.test$uri"})],
    "temporal.test": [Rule("/", {"temporal-redirect": "http://$host/x?$args", "temporal-redirect-code": "307"})],
    "root.test": [Rule("/", {"app-root": "/app?x=1"})],
    "www.away.test": [Rule("/", {"from-to-www-redirect": "true"})],
    "home.test": [Rule("/", {"from-to-www-redirect": "true"})],
    "named.test": [Rule("/x(.*)", {"server-alias": "other-name.test", "rewrite-target": "/y$1"})],
}

MIXED: Sequence[Rule] = [
    Rule("/api", {}, "a", "Prefix"),
    Rule("/api/exact", {}, "b", "Exact"),
    Rule("/ap.+", REGEX, "c"),
]
"""Of a host in whose mode one Ingress decides about all paths."""


class Case(NamedTuple):
    """A request, and what nginx makes of it where that is not what we make of it."""

    host: str
    target: str
    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()


CASES = [
    *(
        Case("app.test", target)
        for target in (
            "/something",
            "/something/",
            "/something/new",
            "/something/new/?a=1&b=2",
            "/SomeThing/New",
            "/somethingelse",
            "/something//double///slash",
            "/something/./a/../b",
            "/something/a%20b",
            "/something/caf%C3%A9?q=%C3%A9",
            "/something/100%25",
            "/something/a%3Fb%23c",
            "/something/%7Euser",
            "/something?only=query",
            "/other",
            "/something/a+b",
            "/something/a%26b=c;d",
            "/something/a%5Cb%22%3C%7C",
        )
    ),
    *(
        Case("plain.test", target)
        for target in ("/", "/foo", "/foobar", "/FOO/x", "/foo/deep", "/foo/deeper", "/bar?x")
    ),
    *(
        Case("regex.test", target)
        for target in (
            "/foo/bar/1",
            "/foo/bar/12",
            "/foo/bar/123",
            "/foo/bar/bar",
            "/foo/bar/barn",
            "/FOO/BAR/bar",
            "/exact",
            "/Exact/below",
            "/abc",
            "/a.c/x",
            "/v12/x",
            "/v12x",
            "/ab",
            "/no",
            "/abcd",
            "/left",
            "/x/right",
            "/x/left",
            "/any%20thing/x",
            "/%66oo/bar",
        )
    ),
    *(
        Case("query.test", target)
        for target in (
            "/q/cats",
            "/q/cats?page=2",
            "/q/a%20b",
            "/q/a%26b%3Dc",
            "/drop/x?gone=1",
            "/drop/x",
            "/set/x?gone=1",
            "/swap/one/two",
            "/swap/one/two/three",
            "/host/x",
            "/double/x",
            "/digits/x",
        )
    ),
    *(Case("url.test", target) for target in ("/go/there", "/go/there?q=1", "/stay")),
    *(Case("permanent.test", target) for target in ("/", "/a/b?c=d", "//a", "/caf%C3%A9")),
    Case("default.test", "/x"),
    Case("both.test", "/a/b?c"),
    Case("temporal.test", "/a?b=c"),
    *(Case("root.test", target) for target in ("/", "/?q", "/x", "//")),
    *(Case("away.test", target) for target in ("/", "/a/?b=c", "/caf%C3%A9")),
    *(Case("www.home.test", target) for target in ("/", "/a/?b=c")),
    Case("www.away.test", "/"),
    Case("other-name.test", "/x/1"),
    Case("unknown.test", "/"),
    # Where we differ on purpose: %2F separates nothing here, and a line break ends nothing.
    Case("app.test", "/something/a%2Fb", ("200", "a", "/a%2Fb", "/something"), ("200", "a", "/a/b", "/something")),
    Case("regex.test", "/foo%2Fbar", ("404",), ("200", "c", "/foo%2Fbar")),
    Case("app.test", "/something/a%0Ab", ("200", "a", "/a%0Ab", "/something"), ("200", "a", "/a", "/something")),
]

MIXED_CASES = ["/api", "/apis", "/API/x", "/api/x", "/api/exact", "/api/exact/below", "/ap", "/apple", "/APPLE"]


@dataclass
class Both:
    """The two programs."""

    edge: Running
    nginx_port: int

    async def answers(self, host: str, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ours and nginx's: the status, and where it goes to."""
        request = f"GET {target} HTTP/1.1\r\nHost: {host}{PORT}\r\nConnection: close\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.nginx_port)
        writer.write(request)
        theirs = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
        writer.close()
        return _shown(await self.edge.exchange(request)), _shown(theirs)


def _shown(answer: bytes) -> tuple[str, ...]:
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    status = head.split(" ", 2)[1]
    if status == "200":
        saw = json.loads(body)
        return tuple(value for value in (status, saw["service"], saw["target"], saw["prefix"]) if value)
    locations = [line.partition(": ")[2] for line in head.split("\r\n") if line.lower().startswith("location:")]
    return (status, *locations)


def _telling(service: str) -> Conversation:
    """Answers with the Service's name and what it was asked."""

    async def conversation(peer: Peer) -> None:
        while True:
            lines = (await peer.head()).decode("latin-1").split("\r\n")
            prefixes = [line.partition(": ")[2] for line in lines if line.lower().startswith("x-forwarded-prefix:")]
            target = lines[0].split(" ", 1)[1].rpartition(" ")[0]
            saw = {"service": service, "target": target, "prefix": ",".join(prefixes)}
            body = json.dumps(saw).encode()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return conversation


def _manifests(hosts: Mapping[str, Sequence[Rule]]) -> Iterator[str]:
    for number, (host, rules) in enumerate(hosts.items()):
        for index, rule in enumerate(rules):
            yield json.dumps(
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "Ingress",
                    "metadata": {
                        "name": f"i{number}-{index}",
                        "annotations": {f"nginx.ingress.kubernetes.io/{key}": v for key, v in rule.annotations.items()},
                    },
                    "spec": {
                        "rules": [
                            {
                                "host": host,
                                "http": {
                                    "paths": [
                                        {
                                            "path": rule.path,
                                            "pathType": rule.path_type,
                                            "backend": {"service": {"name": rule.service, "port": {"number": 80}}},
                                        }
                                    ]
                                },
                            }
                        ]
                    },
                }
            )


def _server(host: str, rules: Sequence[Rule], ports: Mapping[str, int]) -> str:
    """What ingress-nginx's template makes of a host."""
    regex = any(
        "use-regex" in rule.annotations or rule.annotations.get("rewrite-target", rule.path) != rule.path
        for rule in rules
    )
    names = [host, *(rule.annotations["server-alias"] for rule in rules if "server-alias" in rule.annotations)]
    extra = "".join(_sibling(host) for rule in rules if "from-to-www-redirect" in rule.annotations)
    roots = "".join(
        f"if ($uri = /) {{ return 302 $scheme://$http_host{rule.annotations['app-root']}; }}\n"
        for rule in rules
        if "app-root" in rule.annotations
    )
    located: list[tuple[str, bool, Rule]] = []
    for rule in rules:
        split = rule.path_type == "Prefix" and rule.path != "/" and not rule.annotations
        located.append((rule.path, rule.path_type == "Exact" or split, rule))
        if split:
            located.append((f"{rule.path}/", False, rule))
    located.sort(key=lambda each: each[0], reverse=True)
    located.sort(key=lambda each: -len(each[0]))
    locations = "".join(_location(path, rule, ports, regex=regex, exact=exact) for path, exact, rule in located)
    return f"server {{ listen @; server_name {' '.join(names)};\n{roots}{locations}}}\n{extra}"


def _sibling(host: str) -> str:
    other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    return f"server {{ listen @; server_name {other}; return 308 $scheme://{host}{PORT}$request_uri; }}\n"


def _location(path: str, rule: Rule, ports: Mapping[str, int], *, regex: bool, exact: bool) -> str:
    said = rule.annotations
    where = f'~* "^{path}"' if regex else f"= {path}" if exact else path
    lines = []
    for kind, code in (("temporal", "302"), ("permanent", "301")):
        if f"{kind}-redirect" in said:
            lines.append(f"return {said.get(f'{kind}-redirect-code', code)} {said[f'{kind}-redirect']};")
            break
    if said.get("rewrite-target", path) != path:
        lines.append(f'rewrite "(?i){path}" {said["rewrite-target"]} break;')
        if "x-forwarded-prefix" in said:
            lines.append(f'proxy_set_header X-Forwarded-Prefix "{said["x-forwarded-prefix"]}";')
    lines.append(f"proxy_pass http://127.0.0.1:{ports[rule.service]};")
    return f"location {where} {{ {' '.join(lines)} }}\n"


@asynccontextmanager
async def _both(folder: Path, hosts: Mapping[str, Sequence[Rule]], scope: str) -> AsyncIterator[Both]:
    async with backend(_telling("a")) as a, backend(_telling("b")) as b, backend(_telling("c")) as c:
        ports = dict(zip(SERVICES, (a.port, b.port, c.port), strict=True))
        manifests = service_yaml(ports) + "\n---\n".join(_manifests(hosts))
        servers = "".join(_server(host, rules, ports) for host, rules in hosts.items())
        async with (
            serving_manifests(manifests, options={"regex_scope": scope}) as edge,
            nginx(folder, f"server {{ listen @ default_server; return 404; }}\n{servers}") as port,
        ):
            yield Both(edge, port)


@pytest.mark.parametrize("scope", ["ingress", "host"])
async def test_all_requests_go_where_nginx_sends_them(tmp_path: Path, scope: str) -> None:
    differences: list[str] = []
    async with _both(tmp_path, HOSTS, scope) as both:
        for case in CASES:
            ours, theirs = await both.answers(case.host, case.target)
            if (ours, theirs) != (case.ours or theirs, case.theirs or ours):
                differences.append(f"{case.host}{case.target}: ours {ours}, nginx {theirs}")
    assert not differences, "\n".join(differences)


async def test_with_the_scope_of_a_host_one_ingress_decides_about_all_paths_as_in_ingress_nginx(tmp_path: Path) -> None:
    async with _both(tmp_path, {"mixed.test": MIXED}, "host") as both:
        for target in MIXED_CASES:
            ours, theirs = await both.answers("mixed.test", target)
            assert ours == theirs, target


async def test_with_the_scope_of_an_ingress_the_others_keep_their_paths(tmp_path: Path) -> None:
    async with _both(tmp_path, {"mixed.test": MIXED}, "ingress") as both:
        found = {target: await both.answers("mixed.test", target) for target in MIXED_CASES}
    services = {target: ours[1] for target, (ours, _) in found.items() if ours[0] == "200"}
    assert services == {
        "/api": "c",
        "/apis": "c",
        "/API/x": "c",
        "/api/x": "c",
        "/api/exact": "b",
        "/api/exact/below": "c",
        "/apple": "c",
        "/APPLE": "c",
    }
    assert found["/api/exact"][1][1] == "b"
