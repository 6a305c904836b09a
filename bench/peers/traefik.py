"""Traefik: one Go thread, a folder of dynamic configuration that it watches.

In: a scenario. Out: traefik.yaml and the files of dynamic/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.peers.base import IDLE_S, Peer, Place, Ports, Running, said_version, write_files
from bench.peers.wheels import wheel_program
from bench.process import ADDRESS
from bench.scenario import EDITED_HOST, Scenario, Site


class Traefik(Peer):
    """Traefik from its wheel."""

    name = "traefik"
    takes_many_files = True

    def program(self) -> str | None:
        return wheel_program("traefik")

    def version(self) -> str:
        return said_version([self.program() or self.name, "version"], r"Version:\s+(\S+)")

    def files(self, scenario: Scenario, place: Place, ports: Ports) -> dict[str, str]:
        files = {"traefik.yaml": _static(scenario, place, ports), "dynamic/services.yaml": _services(scenario, place)}
        routers: dict[str, list[str]] = {}
        for site in scenario.sites():
            own_file = scenario.file_per_host or site.host == EDITED_HOST
            routers.setdefault(site.host if own_file else "all", []).extend(_routers(site))
        for name, lines in routers.items():
            files[f"dynamic/{name}.yaml"] = "http:\n  routers:\n" + "".join(lines)
        return files

    def command(self, scenario: Scenario, place: Place, ports: Ports) -> list[str]:
        return [self.program() or self.name, f"--configFile={place.folder / 'traefik.yaml'}"]

    def environ(self, scenario: Scenario, place: Place) -> dict[str, str]:
        return {"GOMAXPROCS": str(scenario.workers)}

    def edit(self, running: Running, edition: int) -> Callable[[], None]:
        files = self.changed_files(running, edition)
        return lambda: write_files(running.place.folder, files)


def _static(scenario: Scenario, place: Place, ports: Ports) -> str:
    timeouts = f"transport: {{respondingTimeouts: {{idleTimeout: {IDLE_S}s}}}}"
    secure = f'\n  websecure: {{address: "{ADDRESS}:{ports.https}", {timeouts}, asDefault: true, http: {{tls: {{}}}}}}'
    log = (
        f"""accessLog:
  filePath: {place.access_log}
  format: json
  fields: {{headers: {{names: {{User-Agent: keep, Referer: keep}}}}}}
"""
        if scenario.access_log
        else ""
    )
    return f"""\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
log: {{level: ERROR}}
entryPoints:
  web: {{address: "{ADDRESS}:{ports.http}", {timeouts}, asDefault: true}}{secure if scenario.tls else ""}
  metrics: {{address: "{ADDRESS}:{ports.admin}"}}
providers:
  file: {{directory: {place.folder}/dynamic, watch: true}}
metrics:
  prometheus: {{entryPoint: metrics}}
{log}"""


def _services(scenario: Scenario, place: Place) -> str:
    pools = "".join(
        f'    {name}: {{loadBalancer: {{servers: [{{url: "http://{ADDRESS}:{port}"}}]}}}}\n'
        for name, port in (("web", place.upstream.web_port), ("app", place.upstream.app_port))
    )
    tls = (
        f"tls:\n  stores:\n    default:\n      defaultCertificate:\n"
        f"        certFile: {place.certificate}\n        keyFile: {place.key}\n"
    )
    return f"http:\n  services:\n{pools}{tls if scenario.tls else ''}"


def _routers(site: Site) -> Iterator[str]:
    for number, path in enumerate(site.paths):
        name = f"{site.host.replace('.', '-')}-{number}"
        rule = f"Host(`{site.host}`) && PathPrefix(`{path}`)"
        yield f'    {name}: {{rule: "{rule}", service: {site.pool.value}}}\n'
