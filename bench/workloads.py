"""Workload: one thing that is asked of every proxy. ALL is the table of them.

In: a running proxy. Out: a Sample. Workloads of one cluster are started together and measured in turn, so that what is
compared is measured within seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.clients.h2load import run_h2load
from bench.clients.handshakes import disagreement, run_handshakes
from bench.clients.idle import idle_connections
from bench.clients.sample import Sample
from bench.clients.upload import upload
from bench.clients.websocket import run_websockets
from bench.clients.wrk import Ask, Wrk
from bench.peers.base import Peer, Running, answer
from bench.reload import reload_under_load
from bench.scenario import APP_HOST, CHAIN, Scenario, host_name

POST_BYTES = 64 * 1024
UPLOAD_BYTES = 100 * 1024 * 1024
IDLE_CONNECTIONS = 1_000
BROWSER_HEADERS: Mapping[str, str] = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Cache-Control": "max-age=0",
    "Cookie": "session=5f1d7e84c2b94a6fb0b8e3f1a9d6c742; theme=dark; consent=necessary; _ab=variant-b",
    "Priority": "u=0, i",
    "Referer": "http://h0.bench.test/p1/products?page=2&sort=price",
    "Sec-Ch-Ua": '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    "Sec-Ch-Ua-Mobile": "?0",
    "Sec-Ch-Ua-Platform": '"Linux"',
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a client is aimed at, and where it runs."""

    peer: Peer
    running: Running
    folder: Path
    cores: tuple[int, ...]


def passes_tcp_on(port: int) -> bool:
    """Whether the upstream answers at that port."""
    try:
        return answer(port, host_name(0), "/x")[0] == 200
    except OSError:
        return False


PLAIN = Scenario()

Drive = Callable[[Target, float], Sample]
"""Work on a target for so many seconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A name, what is served, and who asks."""

    name: str
    title: str
    cluster: str
    drive: Drive
    scenario: Scenario = PLAIN
    unit: str = "request"
    heavy: bool = False
    """Takes a long start: left out by --quick unless it is named."""
    compared: bool = False
    """With others of its cluster (series.py): they are measured there and back in each round."""
    only: str = ""
    """The one proxy that is asked; empty = all are."""
    alpn: str = ""
    """What a proxy must agree to speak over TLS."""

    def unfit(self, running: Running) -> str:
        """Why the proxy cannot be asked this; empty when it can."""
        if self.scenario.stream and not passes_tcp_on(running.ports.stream):
            return "it is not told to pass TCP on, or cannot (nginx: libnginx-mod-stream)"
        return disagreement(running.ports.https, self.alpn) if self.scenario.tls else ""

    def logged(self) -> Workload:
        """The same with the access log on."""
        return replace(
            self,
            name=f"{self.name}-log",
            title=f"{self.title}, access log",
            scenario=replace(self.scenario, access_log=True),
        )


def wrk(ask: Ask, tls: bool = False) -> Drive:
    """wrk asks over and over."""

    def drive(target: Target, seconds: float) -> Sample:
        ports = target.running.ports
        return Wrk(target.folder, ports.https if tls else ports.http, ask, seconds, target.cores, tls).result()

    return drive


def wrk_through_tcp(ask: Ask) -> Drive:
    """wrk asks the upstream, whose connections the proxy passes on without a look at them."""

    def drive(target: Target, seconds: float) -> Sample:
        return Wrk(target.folder, target.running.ports.stream, ask, seconds, target.cores, tls=False).result()

    return drive


def all_routes(target: Target, seconds: float) -> Sample:
    """wrk asks each route in turn."""
    ask = Ask(urls=target.running.scenario.requests())
    return Wrk(target.folder, target.running.ports.http, ask, seconds, target.cores, tls=False).result()


def beside_idle(target: Target, seconds: float) -> Sample:
    """wrk, while other connections are open and silent."""
    with idle_connections(target.running.ports.http, host_name(0), IDLE_CONNECTIONS):
        return wrk(Ask())(target, seconds)


def uploads(target: Target, seconds: float) -> Sample:
    """One large body after another."""
    return upload(target.running.ports.http, host_name(0), "/sink", UPLOAD_BYTES, seconds)


def handshakes(resumed: bool) -> Drive:
    """Handshakes and nothing else."""

    def drive(target: Target, seconds: float) -> Sample:
        return run_handshakes(target.running.ports.https, host_name(0), seconds, resumed)

    return drive


def websockets(target: Target, seconds: float) -> Sample:
    """Messages and their echoes."""
    return run_websockets(target.running.ports.http, APP_HOST, "/ws", seconds)


def http2(target: Target, seconds: float) -> Sample:
    """h2load asks over and over."""
    return run_h2load(target.folder, target.running.ports.https, host_name(0), "/x", seconds, target.cores)


def reloads(target: Target, seconds: float) -> Sample:
    """wrk, while the configuration is edited once a second."""
    running = target.running
    return reload_under_load(
        target.peer, running, Wrk(target.folder, running.ports.http, Ask(), seconds, target.cores, tls=False)
    )


_TLS = Scenario(tls=True)
_TCP = Scenario(stream=True)
_CLOSE = {"Connection": "close"}
_GET = Workload("get", "small GET, keep-alive", "get", wrk(Ask()), compared=True)
_BROWSER = Workload("browser", "small GET, a browser's 15 headers", "browser", wrk(Ask(headers=BROWSER_HEADERS)))
_TLS_GET = Workload("get-tls", "small GET, TLS 1.3", "tls", wrk(Ask(), tls=True), _TLS)
_BODY_10K = Workload("body-10k", "10 KiB response", "bodies", wrk(Ask("/10k")))
_CLOSING = Workload("new-connection", "a new connection a request", "connections", wrk(Ask(headers=_CLOSE)))

_BARE = Workload("chain-bare", "small GET, no filters", "chain", wrk(Ask()), compared=True, only="ingressd")


def _routes(name: str, hosts: int, paths: int) -> Workload:
    title = f"{hosts:,} hosts x {paths} paths" if hosts > 1 else f"one host, {paths:,} paths"
    cluster = "routes" if hosts > 1 else "paths"
    heavy = hosts * paths > 2_000
    return Workload(name, title, cluster, all_routes, Scenario(hosts, paths), heavy=heavy, compared=True)


def _services(number: int) -> Iterator[Workload]:
    """The same at layer 7 and at layer 4, beside so many Services."""
    scenario = Scenario(stream=True, services=number)
    title = f"small GET beside {number:,} Services"
    layer_7 = Workload(f"services-{number}", title, "services", wrk(Ask()), scenario, compared=True, only="ingressd")
    layer_7 = replace(layer_7, heavy=number > 1_000)
    yield layer_7
    title = f"a TCP connection beside {number:,} Services"
    closing = wrk_through_tcp(Ask(headers=_CLOSE))
    yield replace(layer_7, name=f"l4-services-{number}", title=title, drive=closing, unit="connection")


ALL: tuple[Workload, ...] = (
    _GET,
    _GET.logged(),
    replace(_GET, name="get-2-workers", title="small GET, two workers", scenario=Scenario(workers=2), only="ingressd"),
    _BROWSER,
    _BROWSER.logged(),
    _TLS_GET,
    _TLS_GET.logged(),
    Workload("get-h2", "small GET, HTTP/2 over TLS 1.3", "tls", http2, _TLS, alpn="h2"),
    _BODY_10K,
    _BODY_10K.logged(),
    Workload("body-1m", "1 MiB response", "bodies", wrk(Ask("/1m", connections=16))),
    Workload(
        "post-64k", "64 KiB POST", "uploads", wrk(Ask("/sink", method="POST", body_bytes=POST_BYTES, connections=16))
    ),
    Workload("upload-100m", "100 MiB upload", "uploads", uploads, unit="upload"),
    _CLOSING,
    _CLOSING.logged(),
    Workload("idle-1000", "small GET beside 1,000 idle connections", "connections", beside_idle),
    Workload("tls-full", "full TLS handshake", "handshakes", handshakes(resumed=False), _TLS, unit="handshake"),
    Workload("tls-resumed", "resumed TLS handshake", "handshakes", handshakes(resumed=True), _TLS, unit="handshake"),
    Workload("websocket", "WebSocket echo, 125 bytes", "websocket", websockets, unit="message"),
    _BARE,
    replace(_BARE, name="chain", title="small GET through filters", scenario=Scenario(annotations=CHAIN)),
    Workload("l4-throughput", "1 MiB over TCP", "l4", wrk_through_tcp(Ask("/1m", connections=8)), _TCP, unit="MiB"),
    Workload("l4-connections", "a TCP connection", "l4", wrk_through_tcp(Ask(headers=_CLOSE)), _TCP, unit="connection"),
    *_services(10),
    *_services(1_000),
    *_services(50_000),
    Workload("reload", "small GET, an edit a second", "reload", reloads),
    # Last, because some proxies take long to start with them.
    _routes("paths-10", 1, 10),
    _routes("paths-10k", 1, 10_000),
    _routes("routes-10", 10, 2),
    replace(_routes("routes-1k", 1_000, 2), only="ingressd"),
    _routes("routes-10k", 10_000, 2),
    _routes("routes-50k", 50_000, 2),
)
