"""What a setting's value must look like: pydantic types that read text as well as YAML and JSON values.

In: what an operator wrote. Out: the value that Settings holds, or ValueError in words that name the way out. These
types know neither flags nor files.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_type_hints

from pydantic import AfterValidator, BeforeValidator, Field

from ingressd.admin.token import TOKEN_WORDS, is_token
from ingressd.balancing.registry import SCHEDULERS
from ingressd.compile.health import detection_of
from ingressd.http.field_rules import valid_name
from ingressd.settings import OFF, Limits

_BACKEND = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_DOMAIN_CHARACTERS = 57
"""A name of DNS has at most 253; this leaves room for `svc` and three labels of 63 before it."""
_ZONE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""The value of the label topology.kubernetes.io/zone."""

_LEAST_CLUSTER_ADDRESSES = 8
"""Of a smaller network nothing is left beside its own address, the name server's and the broadcast address."""

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


def _port(value: object) -> int:
    text = str(value).strip().lower()
    if text == "off":
        return OFF
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError("a port is a number from 0 (any free one) to 65535, or off")
    return int(text)


def _workers(value: object) -> int:
    text = str(value).strip().lower()
    if text == "auto":
        return 0
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise ValueError("the number of workers is 1 to 1024, or auto (one a CPU)")
    return int(text)


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        raise ValueError("an address to listen on is an IP address, such as 127.0.0.1, 0.0.0.0 or ::") from None


def _cidr(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is not a network such as 10.0.0.0/8 or fd00::/8") from None


def _optional_address(value: str) -> str:
    return _address(value) if value else ""


def _cluster_cidr(value: str) -> str:
    try:
        network = ipaddress.IPv4Network(value, strict=False)
    except ValueError:
        network = None
    if network is None or network.num_addresses < _LEAST_CLUSTER_ADDRESSES:
        raise ValueError(f"{value!r} is not an IPv4 network of 8 addresses or more, such as 127.96.0.0/16")
    return str(network)


def _domain(value: str) -> str:
    name = value.lower().removesuffix(".")
    if len(name) > _DOMAIN_CHARACTERS or not _DOMAIN.fullmatch(name):
        raise ValueError(f"{value!r} is not a DNS name such as cluster.local")
    return name


def _prefix(value: str) -> str:
    name = value.removesuffix("/")
    if name and not _DOMAIN.fullmatch(name):
        raise ValueError(f"{value!r} is not a prefix of annotations such as ingress.example.com")
    return name


def _field_name(value: str) -> str:
    if not valid_name(value.encode("ascii", "replace")):
        raise ValueError(f"{value!r} is not the name of a field such as X-Frame-Options")
    return value


def _limit_status(value: object) -> int:
    if str(value).strip() not in {"503", "429"}:
        raise ValueError("the status above a limit is 503 or 429")
    return int(str(value))


def _redirect_status(value: object) -> int:
    if str(value).strip() not in {"301", "302", "303", "307", "308"}:
        raise ValueError("the status of a redirect is 301, 302, 303, 307 or 308")
    return int(str(value))


def _zone(value: str) -> str:
    if value and not _ZONE.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a zone such as eu-central-1a")
    return value


def _name_server(value: str) -> str:
    host, port = value, "53"
    if value.startswith("[") and "]" in value:
        host, _, rest = value[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif value.count(":") == 1:
        host, _, port = value.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{value!r} is not ADDRESS or ADDRESS:PORT of a name server")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _certificate(value: object) -> tuple[str, str]:
    chain, _, key = str(value).partition(":")
    if not chain or not key:
        raise ValueError(f"{value!r} is not CERTIFICATE-FILE:KEY-FILE")
    return chain, key


def _token(value: object) -> str:
    # Never with the value in the message: it goes to a terminal or a log.
    if not isinstance(value, str) or not is_token(value):
        raise ValueError(TOKEN_WORDS)
    return value


def _backend(value: str) -> str:
    if value and not _BACKEND.fullmatch(value):
        raise ValueError("a default backend is NAMESPACE/SERVICE:PORT, such as default/web:80")
    return value


def _user(value: str) -> str:
    if value and not _USER.fullmatch(value):
        raise ValueError(f"{value!r} is not NAME, NAME:GROUP, or their numbers")
    return value


def _outliers(value: str) -> str:
    try:
        detection_of(value)
    except ValueError as problem:
        raise ValueError(f"{value!r} must be {problem}") from None
    return value


def _items(separator: str) -> Callable[[object], object]:
    """A list may come as a list, as one text, or as a list of texts (a repeated flag)."""

    def split(value: object) -> object:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, Iterable):
            return value
        return [item.strip() for text in value for item in str(text).split(separator) if item.strip()]

    return split


def one_of(words: Iterable[str]) -> Any:
    """A word out of `words`."""
    known = tuple(words)

    def check(value: str) -> str:
        if value in known:
            return value
        choice = " or ".join(known) if len(known) < 3 else f"{', '.join(known[:-1])} or {known[-1]}"
        raise ValueError(f"{value!r} is not known; choose {choice}")

    return Annotated[str, AfterValidator(check)]


Port = Annotated[int, BeforeValidator(_port)]
RedirectPort = Annotated[int, Field(ge=0, le=65535)]
Workers = Annotated[int, BeforeValidator(_workers)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Interval = Annotated[float, Field(ge=0.01, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Backend = Annotated[str, AfterValidator(_backend)]
User = Annotated[str, AfterValidator(_user)]
Outliers = Annotated[str, AfterValidator(_outliers)]
Domain = Annotated[str, AfterValidator(_domain)]
Prefix = Annotated[str, AfterValidator(_prefix)]
FieldNames = Annotated[tuple[Annotated[str, AfterValidator(_field_name)], ...], BeforeValidator(_items(","))]
LimitStatus = Annotated[int, BeforeValidator(_limit_status)]
RedirectStatus = Annotated[int, BeforeValidator(_redirect_status)]
Zone = Annotated[str, AfterValidator(_zone)]
OptionalAddress = Annotated[str, AfterValidator(_optional_address)]
ClusterCidr = Annotated[str, AfterValidator(_cluster_cidr)]
FlowSeconds = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Cidrs = Annotated[tuple[Annotated[str, AfterValidator(_cidr)], ...], BeforeValidator(_items(","))]
NameServers = Annotated[tuple[Annotated[str, AfterValidator(_name_server)], ...], BeforeValidator(_items(","))]
CertificatePair = Annotated[tuple[str, str], BeforeValidator(_certificate)]
Token = Annotated[str, BeforeValidator(_token)]
CertificatePairs = Annotated[tuple[CertificatePair, ...], BeforeValidator(_items(","))]
Paths = Annotated[tuple[str, ...], BeforeValidator(_items(os.pathsep))]

TYPES: Mapping[str, Any] = {
    "paths": Paths,
    "http_port": Port,
    "https_port": Port,
    "admin_port": Port,
    "bind": Address,
    "admin_bind": Address,
    "admin_public": bool,
    "admin_token_file": str,
    "admin_token": Token,
    "admin_certificate": CertificatePair,
    "workers": Workers,
    "ingress_class": str,
    "nginx_class": bool,
    "ssl_passthrough": bool,
    "classless": bool,
    "default_backend": Backend,
    "drain_timeout_s": Seconds,
    "annotations_prefix": Prefix,
    "limit_status": LimitStatus,
    "redirect_status": RedirectStatus,
    "plugins": Paths,
    "allowed_response_headers": FieldNames,
    "proxy_mode": one_of(["nftables", "iptables", "ipvs"]),
    "regex_scope": one_of(["ingress", "host"]),
    "scheduler": one_of([*SCHEDULERS, "auto"]),
    "outlier_detection": Outliers,
    "trusted_proxies": Cidrs,
    "proxy_protocol": one_of(["off", "on"]),
    "forwarded_header": bool,
    "https_redirect_port": RedirectPort,
    "certificates": CertificatePairs,
    "default_certificate": CertificatePair,
    "discovery": str,
    "external_name_allow": Cidrs,
    "dns_servers": NameServers,
    "dns_port": Port,
    "dns_bind": Address,
    "cluster_domain": Domain,
    "dns_upstream": NameServers,
    "zone": Zone,
    "node_ports": bool,
    "node_port_bind": OptionalAddress,
    "external_ips": bool,
    "cluster_ips": bool,
    "cluster_cidr": ClusterCidr,
    "stream_idle_s": Seconds,
    "udp_idle_s": FlowSeconds,
    "access_log": str,
    "access_log_format": one_of(["json", "nginx"]),
    "log_level": one_of(["debug", "info", "warning", "error"]),
    "log_format": one_of(["auto", "json", "text"]),
    "strict": bool,
    "poll_interval_s": Interval,
    "watch_events": bool,
    "user": User,
    "pid_file": str,
    "state_dir": str,
    "upgrade_timeout_s": Seconds,
    "hang_timeout_s": Seconds,
}
"""Field of Settings -> the type of its value."""

LIMIT_TYPES: Mapping[str, Any] = {
    name: Count if hint is int else Seconds for name, hint in get_type_hints(Limits).items()
}
"""Field of Limits -> the type of its value."""
