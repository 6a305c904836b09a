"""Every setting once: its flag and its words. Flags, INGRESSD_* variables, keys of a settings file and the reference
in docs/settings.md are all made from this table.

In: nothing. Out: FLAGS, and `takes_settings`, which puts them on a command. What a value must look like is said in
setting_types.py, so that `--help` need not import pydantic.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from ingressd.settings import OFF, Settings

PREFIX = "INGRESSD_"
LIMIT_PREFIX = "INGRESSD_LIMIT_"


@dataclass(frozen=True, slots=True)
class SettingFlag:
    """One field of Settings as the operator meets it."""

    field: str
    flag: str
    help: str
    metavar: str = ""
    """Empty for a switch."""
    compiles: bool = False
    """The compiled table depends on it: the commands that work without a running proxy take it too."""
    secret: bool = False
    """Only a variable: ps shows what is on a command line, and settings files are read by many."""

    @property
    def key(self) -> str:
        """The name in a settings file."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.key.upper()

    @property
    def default(self) -> Any:
        """What Settings has without it."""
        return _DEFAULTS[self.field]

    @property
    def switch(self) -> bool:
        """On or off, without a value."""
        return isinstance(self.default, bool)

    @property
    def repeated(self) -> bool:
        """May be given several times."""
        return isinstance(self.default, tuple)


_DEFAULTS: Mapping[str, Any] = {
    field.name: field.default for field in dataclasses.fields(Settings) if field.name != "limits"
}

PATHS = SettingFlag("paths", "--paths", "Folders or files with manifests; folders recursively.", "DIR...")

FLAGS = (
    SettingFlag("http_port", "--http-port", "Port for HTTP: 0 is any free one, off is none.", "PORT", compiles=True),
    SettingFlag("https_port", "--https-port", "Port for HTTPS: 0 is any free one, off is none.", "PORT", compiles=True),
    SettingFlag("admin_port", "--admin-port", "Port of health, metrics and the API.", "PORT", compiles=True),
    SettingFlag("bind", "--bind", "Address for HTTP and HTTPS.", "ADDRESS", compiles=True),
    SettingFlag("admin_bind", "--admin-bind", "Address of the admin port.", "ADDRESS", compiles=True),
    SettingFlag(
        "admin_public",
        "--admin-public",
        "Let the admin port listen beyond loopback without a token: something else keeps strangers out.",
    ),
    SettingFlag(
        "admin_token_file",
        "--admin-token-file",
        "File with the bearer token that the admin port demands, but for /healthz and /readyz.",
        "FILE",
    ),
    SettingFlag("admin_token", "--admin-token", "The same token itself; only as a variable.", "TOKEN", secret=True),
    SettingFlag(
        "admin_certificate",
        "--admin-certificate",
        "A certificate and its key as PEM files: the admin port then speaks HTTPS.",
        "CERT:KEY",
    ),
    SettingFlag("workers", "--workers", "Processes that carry traffic; auto is one a CPU.", "N|auto"),
    SettingFlag("ingress_class", "--ingress-class", "Name of the Ingress class that is served.", "NAME", compiles=True),
    SettingFlag("nginx_class", "--nginx-class", "Also serve Ingresses of the class nginx.", compiles=True),
    SettingFlag("classless", "--classless", "Also serve Ingresses that name no class.", compiles=True),
    SettingFlag(
        "regex_scope",
        "--regex-scope",
        "Whose paths use-regex and rewrite-target make regular expressions: ingress, or host as in ingress-nginx.",
        "SCOPE",
        compiles=True,
    ),
    SettingFlag(
        "annotations_prefix",
        "--annotations-prefix",
        "A further prefix of annotations that means what ingressd.dev means.",
        "PREFIX",
        compiles=True,
    ),
    SettingFlag(
        "allowed_response_headers",
        "--allowed-response-headers",
        "Fields that custom-headers may set.",
        "NAME,...",
        compiles=True,
    ),
    SettingFlag(
        "plugins",
        "--plugin",
        "A Python file with filters that Ingresses may name.",
        "FILE",
        compiles=True,
    ),
    SettingFlag(
        "limit_status",
        "--limit-status",
        "Status of requests above limit-rps and its kin: 503 as in ingress-nginx, or 429.",
        "STATUS",
        compiles=True,
    ),
    SettingFlag(
        "redirect_status",
        "--redirect-status",
        "Status of redirects to HTTPS and between a host and its www host: 301, 302, 303, 307 or 308.",
        "STATUS",
        compiles=True,
    ),
    SettingFlag(
        "ssl_passthrough",
        "--ssl-passthrough",
        "Honour ssl-passthrough: pass connections on by the host in their ClientHello, without ending their TLS.",
        compiles=True,
    ),
    SettingFlag(
        "default_backend",
        "--default-backend",
        "Takes what no rule takes, instead of 404.",
        "NAMESPACE/SERVICE:PORT",
        compiles=True,
    ),
    SettingFlag(
        "drain_timeout_s",
        "--drain-timeout",
        "Time that requests in flight have to end when the program stops.",
        "SECONDS",
    ),
    SettingFlag(
        "proxy_mode",
        "--proxy-mode",
        "kube-proxy's: nftables and iptables pick an endpoint at random, ipvs by --scheduler, rr if there is none.",
        "MODE",
        compiles=True,
    ),
    SettingFlag(
        "scheduler",
        "--scheduler",
        "Picks the endpoint: rr, wrr, lc, wlc, sh, dh, sed, nq, random, p2c, ewma, maglev; auto: by --proxy-mode.",
        "NAME",
        compiles=True,
    ),
    SettingFlag(
        "outlier_detection",
        "--outlier-detection",
        "When an endpoint is left out for a while, in the words of ingressd.dev/outlier-detection, or off.",
        "NAME=VALUE,...",
        compiles=True,
    ),
    SettingFlag(
        "trusted_proxies",
        "--trusted-proxies",
        "Networks of proxies before this one, whose X-Forwarded-* and Forwarded fields are believed.",
        "CIDR,...",
    ),
    SettingFlag(
        "proxy_protocol",
        "--proxy-protocol",
        "on: connections from --trusted-proxies to HTTP and HTTPS must begin with a PROXY header, version 1 or 2.",
        "off|on",
    ),
    SettingFlag("forwarded_header", "--forwarded-header", "Send the RFC 7239 Forwarded field to backends."),
    SettingFlag(
        "https_redirect_port",
        "--https-redirect-port",
        "Port in redirects to HTTPS; 0 is the HTTPS port itself.",
        "PORT",
        compiles=True,
    ),
    SettingFlag(
        "certificates",
        "--certificate",
        "A certificate and its key as PEM files, beside those of the Secrets.",
        "CERT:KEY",
        compiles=True,
    ),
    SettingFlag(
        "default_certificate",
        "--default-certificate",
        "The certificate for names that no other one covers, instead of a self-made one.",
        "CERT:KEY",
        compiles=True,
    ),
    SettingFlag(
        "discovery",
        "--discovery",
        "Provider that is asked for Services without endpoints in the files: dns, a plug-in's name, or off.",
        "NAME",
        compiles=True,
    ),
    SettingFlag(
        "external_name_allow",
        "--external-name-allow",
        "Loopback (for an ExternalName), link-local and metadata networks that Services may reach.",
        "CIDR,...",
        compiles=True,
    ),
    SettingFlag(
        "dns_servers",
        "--dns-servers",
        "Name servers for discovery, instead of those of /etc/resolv.conf.",
        "ADDRESS:PORT,...",
    ),
    SettingFlag(
        "dns_port",
        "--dns-port",
        "Port of the DNS server for the names of Services, UDP and TCP: 0 is any free one.",
        "PORT",
        compiles=True,
    ),
    SettingFlag("dns_bind", "--dns-bind", "Address of the DNS server.", "ADDRESS", compiles=True),
    SettingFlag("cluster_domain", "--cluster-domain", "What the names of Services end with.", "NAME", compiles=True),
    SettingFlag(
        "dns_upstream",
        "--dns-upstream",
        "Name servers that the DNS server asks for other names; without one it refuses them.",
        "ADDRESS:PORT,...",
    ),
    SettingFlag(
        "zone",
        "--zone",
        "Topology zone of this machine: endpoints that are meant for it, or are in it, may be preferred.",
        "NAME",
        compiles=True,
    ),
    SettingFlag(
        "node_ports",
        "--node-ports",
        "Open the ports of NodePort and LoadBalancer Services for TCP and UDP.",
        compiles=True,
    ),
    SettingFlag(
        "node_port_bind",
        "--node-port-bind",
        "Address for those ports; without it that of --bind.",
        "ADDRESS",
        compiles=True,
    ),
    SettingFlag(
        "external_ips", "--external-ips", "Open the externalIPs of Services that are loopback addresses.", compiles=True
    ),
    SettingFlag(
        "cluster_ips",
        "--cluster-ips",
        "Open a virtual address of its own for each Service.",
        compiles=True,
    ),
    SettingFlag("cluster_cidr", "--cluster-cidr", "Network of those virtual addresses.", "CIDR", compiles=True),
    SettingFlag(
        "stream_idle_s",
        "--stream-idle",
        "How long a TCP connection to a Service may be silent; 0 is for ever.",
        "SECONDS",
    ),
    SettingFlag(
        "udp_idle_s",
        "--udp-idle",
        "How long a flow of datagrams to a Service that was answered may be silent.",
        "SECONDS",
    ),
    SettingFlag("access_log", "--access-log", "Where requests are logged: - is standard output, or off.", "FILE"),
    SettingFlag(
        "access_log_format",
        "--access-log-format",
        "json, or nginx for ingress-nginx's default format.",
        "FORMAT",
    ),
    SettingFlag(
        "log_level",
        "--log-level",
        "debug, info, warning or error.",
        "LEVEL",
    ),
    SettingFlag(
        "log_format",
        "--log-format",
        "json, text, or auto: text on a terminal, JSON elsewhere.",
        "FORMAT",
    ),
    SettingFlag("strict", "--strict", "Refuse to start when a manifest has a fault."),
    SettingFlag(
        "poll_interval_s",
        "--poll-interval",
        "How often the folders are compared, for file systems that send no events.",
        "SECONDS",
    ),
    SettingFlag("watch_events", "--watch-events", "Use file system events; without them only the poll is left."),
    SettingFlag(
        "user",
        "--user",
        "Account that all processes run as once the ports are open; needs root at the start.",
        "NAME[:GROUP]",
    ),
    SettingFlag("pid_file", "--pid-file", "Where the process id is written, for `ingressd upgrade`.", "FILE"),
    SettingFlag(
        "state_dir",
        "--state-dir",
        "Folder for the last good table, private keys included: served when there are no manifests at a start.",
        "DIR",
    ),
    SettingFlag(
        "upgrade_timeout_s",
        "--upgrade-timeout",
        "By when a new version must be ready; if it is not, the old one goes on.",
        "SECONDS",
    ),
    SettingFlag(
        "hang_timeout_s",
        "--hang-timeout",
        "How long a worker or the controller may not answer before it is killed and started again; 0: for ever.",
        "SECONDS",
    ),
)


def takes_settings(
    flags: tuple[SettingFlag, ...], *, limits: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put `flags` on a typer command whose body takes them as `**flags`. typer reads a command's signature."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        added = [_parameter(flag) for flag in flags if not flag.secret]
        if limits:
            added.append(_option("limit", list[str], "--limit", "NAME=VALUE", "One limit of docs/limits.md."))
        added.append(_option("settings", str, "--settings", "FILE", "A YAML or JSON file with any of these settings."))
        command.__signature__ = signature.replace(parameters=own + added)  # type: ignore[attr-defined]
        return command

    return decorate


def _parameter(flag: SettingFlag) -> inspect.Parameter:
    if flag.switch:
        state = "on" if flag.default else "off"
        names = f"{flag.flag}/--no-{flag.flag.removeprefix('--')}"
        return _option(flag.field, bool, names, None, f"{flag.help} [{state}]")
    default = shown_default(flag)
    text = f"{flag.help} [{default}]" if default else flag.help
    return _option(flag.field, list[str] if flag.repeated else str, flag.flag, flag.metavar, text)


def shown_default(flag: SettingFlag) -> str:
    """The default as an operator would write it; empty when there is none."""
    default = flag.default
    if flag.field == "workers":
        return "auto"
    if flag.metavar == "PORT" and default == OFF:
        return "off"
    if default is None or default == ():
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _option(name: str, kind: Any, flag: str, metavar: str | None, text: str) -> inspect.Parameter:
    option = typer.Option(flag, metavar=metavar, help=text, show_default=False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )
