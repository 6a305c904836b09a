"""`ingressd demo`: the demo apps, a development certificate and the proxy in front of examples/, until Ctrl-C.

In: a folder laid out as examples/ of the repository, flags for the proxy. Out: a running proxy and commands to type.
Nothing is written into that folder: where the apps are, and the Secrets that the examples lack, go into another one.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from ingressd.cli.console import FOUND, fail

ADDRESS = "127.0.0.1"
"""The demo is for this machine only."""
NODE_PORT = 30080
"""That of the examples which commands name."""
DRAIN_S = 5
_WATCH_S = 0.2


def demo(
    flags: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- FLAG...]", help="Flags of `ingressd run` beside the demo's.", show_default=False),
    ] = None,
    directory: Annotated[str, typer.Option("--dir", metavar="DIR", help="The examples.")] = "examples",
    http_port: Annotated[str | None, typer.Option(metavar="PORT", help="[8080, or any free one]")] = None,
    https_port: Annotated[str | None, typer.Option(metavar="PORT", help="[8443, or any free one]")] = None,
    admin_port: Annotated[str | None, typer.Option(metavar="PORT", help="[9080, or any free one]")] = None,
    dns_port: Annotated[str | None, typer.Option(metavar="PORT", help="[5300, or any free one]")] = None,
    certs_only: Annotated[
        bool,
        typer.Option("--certs-only", help="Only fill certs/: the CA, and what docker-compose.yml mounts."),
    ] = False,
) -> None:
    """Serve examples/ with demo apps behind it, and print commands to try. Edit the examples meanwhile."""
    from ingressd.cli.demo_certificates import make_certificates, make_container_certificates
    from ingressd.cli.demo_ports import node_port_address
    from ingressd.cli.demo_processes import start_apps, start_proxy, stop_on_sigterm

    examples = Path(directory)
    if certs_only:
        if not examples.is_dir():
            fail(f"{directory}: no such folder; name the examples with --dir")
        print(f"made {make_container_certificates(examples)}")
        return
    if not (examples / "apps" / "__main__.py").is_file():
        fail(f"{directory}: no demo apps there; run this in a checkout of ingressd, or name its examples with --dir")
    ports = {
        "http": _choose_port("--http-port", http_port, 8080),
        "https": _choose_port("--https-port", https_port, 8443),
        "admin": _choose_port("--admin-port", admin_port, 9080),
        "dns": _choose_port("--dns-port", dns_port, 5300),
    }
    node_ports = node_port_address(examples)
    stop_on_sigterm()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stage = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingressd-demo-")))
        certificate = make_certificates(examples, stage)
        apps, said = start_apps(examples, stage / "endpoints.json")
        stack.enter_context(apps)
        proxy = start_proxy(
            [
                directory,
                str(stage),
                *(f"--{name}-port={port}" for name, port in ports.items()),
                f"--bind={ADDRESS}",
                f"--admin-bind={ADDRESS}",
                f"--node-port-bind={node_ports}",
                f"--certificate={certificate}",
                f"--dns-servers={','.join([said['name_server'], *_system_name_servers()])}",
                "--external-name-allow=127.0.0.0/8",
                f"--drain-timeout={DRAIN_S}",
                "--access-log-format=nginx",
                "--log-format=text",
                *(flags or ()),
            ],
            ports["admin"],
        )
        stack.enter_context(proxy)
        _introduce(directory, ports, node_ports, said["try"])
        while apps.running and proxy.running:
            time.sleep(_WATCH_S)
        fail("the proxy ended by itself" if apps.running else "the demo apps ended by themselves", FOUND)


def _choose_port(flag: str, wanted: str | None, usual: int) -> int:
    """The port that was asked for, else the usual one if it is free, else any free one."""
    if wanted is None:
        return usual if _free(usual) else _any_free_port()
    if not wanted.isascii() or not wanted.isdigit() or int(wanted) > 65535:
        fail(f"{flag}: {wanted!r} is not a port; 0 is any free one")
    port = int(wanted)
    if port == 0:
        return _any_free_port()
    if not _free(port):
        fail(f"{flag}: port {port} of {ADDRESS} is taken or not allowed; leave {flag} out for a free one", FOUND)
    return port


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as sock:
        sock.bind((ADDRESS, 0))
        port: int = sock.getsockname()[1]
    return port


def _system_name_servers() -> list[str]:
    """For the names that an ExternalName of the user's own may have. None, when there is no resolv.conf."""
    import dns.exception
    import dns.resolver

    try:
        servers = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException:
        return []
    return [str(server) for server in servers if "/" not in str(server)]


def _introduce(directory: str, ports: Mapping[str, int], node_ports: str, commands: Sequence[str]) -> None:
    lines = "\n".join(f"  {command}" for command in commands)
    for usual, name in (("8080", "http"), ("8443", "https"), ("9080", "admin")):
        lines = lines.replace(f":{usual}", f":{ports[name]}")
    lines = lines.replace(f"{ADDRESS}:{NODE_PORT}", f"{node_ports}:{NODE_PORT}")
    folder = directory.rstrip("/")
    print(
        f"ingressd serves {folder}/ at http {ADDRESS}:{ports['http']}, https {ADDRESS}:{ports['https']},"
        f" admin {ADDRESS}:{ports['admin']},\nnames of Services at dns {ADDRESS}:{ports['dns']}, their ports at"
        f" {node_ports}\n\n{lines}\n\n"
        f"Edit a file in {folder}/, save it, and curl again. Mistakes are told here and at"
        f" http://{ADDRESS}:{ports['admin']}/api/v1/faults\nStop with Ctrl-C.\n",
        flush=True,
    )
