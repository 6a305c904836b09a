"""The ConfigMap of ingress-nginx's controller: which flags and annotations say the same here.

In: its data. Out: an Entry a key. What the controller decides for all Ingresses is here a flag of `ingressd run`, or an
annotation on each Ingress that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ingressd.filters.request_body import size
from ingressd.filters.unsupported import LEFT_OUT
from ingressd.migration.header_directives import seconds
from ingressd.migration.proposals import Cannot, Proposal
from ingressd.migration.snippets import read_snippet
from ingressd.model.config_map import ConfigMap
from ingressd.model.resource import Resource

NAMES = frozenset({"ingress-nginx-controller", "nginx-configuration", "nginx-ingress-controller"})
STREAMS = frozenset({"tcp-services", "udp-services", "ingress-nginx-tcp", "ingress-nginx-udp"})
_LEAST_KEYS = 2
"""So many known keys make a ConfigMap the controller's, whatever its name."""


class Means(StrEnum):
    """What becomes of a key."""

    FLAG = "flag"
    """A flag of `ingressd run`."""
    ANNOTATION = "annotation"
    """An annotation on each Ingress."""
    ALREADY = "already"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key."""

    key: str
    value: str
    means: Means
    to: str = ""
    """The flag or the annotation, with its value."""
    remark: str = ""
    proposals: tuple[Proposal, ...] = ()
    """Of a snippet."""

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        return {
            "key": self.key,
            "value": self.value,
            "means": str(self.means),
            "to": self.to,
            "remark": self.remark,
            "proposals": [proposal.as_dict() for proposal in self.proposals],
        }


ASKED = "=CIDR"
"""How a flag ends whose value is not in the ConfigMap."""

_Read = Callable[[str, str], Entry]


def is_controllers(resource: Resource[ConfigMap]) -> bool:
    """Whether it is the one that a controller reads."""
    known = sum(key in _TABLE for key in resource.object.data)
    return resource.name in NAMES | STREAMS or known >= _LEAST_KEYS


def entries(resource: Resource[ConfigMap]) -> Iterator[Entry]:
    """Its keys in their order."""
    for key, value in resource.object.data.items():
        if resource.name in STREAMS:
            to = "a Service of the type NodePort or LoadBalancer"
            remark = f"it opens a port for {value.partition(':')[0]} by itself: docs/services.md"
            yield Entry(key, value, Means.NONE, to, remark)
            continue
        read = _TABLE.get(key)
        yield Entry(key, value, Means.UNKNOWN) if read is None else read(key, value)


def flags(found: Iterable[Entry]) -> list[str]:
    """What `ingressd run` is told, each once; one with a value counts before one that only asks for it."""
    told = dict.fromkeys(entry.to for entry in found if entry.means is Means.FLAG)
    return [flag for flag in told if not flag.endswith(ASKED) or not _named(flag.removesuffix(ASKED), told)]


def _named(flag: str, told: Iterable[str]) -> bool:
    return any(each.startswith(flag) and not each.endswith(ASKED) for each in told)


def _flag(form: str, convert: Callable[[str], str] = str, remark: str = "") -> _Read:
    """`form` has `{}` for the value. Raises nothing: a value that means nothing is told."""

    def read(key: str, value: str) -> Entry:
        try:
            return Entry(key, value, Means.FLAG, form.format(convert(value.strip())), remark)
        except (Cannot, ValueError) as problem:
            return Entry(key, value, Means.NONE, "", f"the value means nothing: {problem}")

    return read


def _each(form: str, remark: str = "") -> _Read:
    def read(key: str, value: str) -> Entry:
        return Entry(
            key, value, Means.ANNOTATION, form.format(value.strip()), remark or "on each Ingress that needs it"
        )

    return read


def _when(wanted: str, then: _Read, otherwise: _Read) -> _Read:
    return lambda key, value: (then if value.strip().lower() == wanted else otherwise)(key, value)


def _already(why: str) -> _Read:
    return lambda key, value: Entry(key, value, Means.ALREADY, "", why)


def _none(why: str) -> _Read:
    return lambda key, value: Entry(key, value, Means.NONE, "", why)


def _snippet(key: str, value: str) -> Entry:
    proposals = read_snippet(value).proposals
    if any(each.annotations for each in proposals):
        return Entry(key, value, Means.ANNOTATION, "annotations on each Ingress that needs it", "", proposals)
    return Entry(key, value, Means.NONE, "", "it is nginx's configuration", proposals)


def _seconds(text: str) -> str:
    return str(seconds(text))


def _bytes(text: str) -> str:
    return str(size(text))


def _whole(text: str) -> str:
    return str(int(text))


def _status(text: str) -> str:
    if text not in ("429", "503"):
        raise ValueError("429 or 503")
    return text


def _workers(text: str) -> str:
    if text != "auto" and int(text) < 1:
        raise ValueError("1 or more, or auto")
    return text


def _redirect_status(text: str) -> str:
    if text not in ("301", "302", "303", "307"):
        raise ValueError("301, 302, 303, 307 or 308")
    return text


def _buffers(text: str) -> str:
    number, _, each = text.partition(" ")
    return str(int(number) * size(each.strip()))


def _level(text: str) -> str:
    word = text.split()[0] if text.split() else "notice"
    return {"debug": "debug", "info": "info", "notice": "info", "warn": "warning"}.get(word, "error")


_TRUST = "the proxies in front of ingressd, whose X-Forwarded-* is believed; ingress-nginx believes everybody"
_TRUSTED = _flag(f"--trusted-proxies{ASKED}", lambda text: "", _TRUST)
_TLS = LEFT_OUT["ssl-ciphers"].removeprefix("remove it: ")
_STREAMED = "bodies and responses are streamed"
_ACCEPTED = _already(_STREAMED)
_OFF_IS_DEFAULT = _already("it is so without it")
_GZIP = 'ingressd.dev/compression: "true"'

_TABLE: Mapping[str, _Read] = {
    "access-log-path": _flag("--access-log={}"),
    "add-headers": _each('ingressd.dev/custom-headers: "{}"', "on each Ingress; --allowed-response-headers names them"),
    "allow-backend-server-header": _already("the Server field of an endpoint passes"),
    "allow-snippet-annotations": _already("no snippet is ever used"),
    "annotations-risk-level": _already("no annotation is raw configuration"),
    "bind-address": _flag("--bind={}"),
    "block-cidrs": _each('nginx.ingress.kubernetes.io/denylist-source-range: "{}"'),
    "block-referers": _each('ingressd.dev/match-headers: "Referer=~{}"', "on an Ingress of its own that refuses them"),
    "block-user-agents": _each(
        'ingressd.dev/match-headers: "User-Agent=~{}"', "on an Ingress of its own that refuses them"
    ),
    "client-body-buffer-size": _ACCEPTED,
    "client-body-timeout": _flag("--limit=request_body_gap_s={}", _seconds),
    "client-header-buffer-size": _flag("--limit=header_line_bytes={}", _bytes),
    "client-header-timeout": _flag("--limit=request_head_s={}", _seconds),
    "compute-full-forwarded-for": _already("the chain of a trusted proxy is continued"),
    "custom-http-errors": _each('nginx.ingress.kubernetes.io/custom-http-errors: "{}"'),
    "default-type": _already("an answer without a type has none"),
    "denylist-source-range": _each('nginx.ingress.kubernetes.io/denylist-source-range: "{}"'),
    "disable-access-log": _when("true", _flag("--access-log=off", lambda text: ""), _OFF_IS_DEFAULT),
    "enable-access-log-for-default-backend": _already("every request is in the log"),
    "enable-brotli": _when("true", _each(_GZIP), _OFF_IS_DEFAULT),
    "enable-modsecurity": _when("true", _none(LEFT_OUT["enable-modsecurity"]), _OFF_IS_DEFAULT),
    "enable-opentelemetry": _when("true", _none(LEFT_OUT["enable-opentelemetry"]), _OFF_IS_DEFAULT),
    "enable-owasp-modsecurity-crs": _when("true", _none(LEFT_OUT["enable-modsecurity"]), _OFF_IS_DEFAULT),
    "enable-real-ip": _when("true", _TRUSTED, _OFF_IS_DEFAULT),
    "enable-underscores-in-headers": _when(
        "true", _none("fields with an underscore in their names are always dropped"), _OFF_IS_DEFAULT
    ),
    "error-log-level": _flag("--log-level={}", _level),
    "force-ssl-redirect": _when(
        "true", _each('nginx.ingress.kubernetes.io/force-ssl-redirect: "true"'), _OFF_IS_DEFAULT
    ),
    "forwarded-for-header": _when(
        "x-forwarded-for", _OFF_IS_DEFAULT, _none("only X-Forwarded-For and Forwarded are read")
    ),
    "generate-request-id": _already("X-Request-ID is made when there is none"),
    "global-allowed-response-headers": _flag("--allowed-response-headers={}"),
    "global-auth-url": _each('nginx.ingress.kubernetes.io/auth-url: "{}"', "on each Ingress: none is open by mistake"),
    "global-auth-signin": _each('nginx.ingress.kubernetes.io/auth-signin: "{}"'),
    "global-auth-response-headers": _each('nginx.ingress.kubernetes.io/auth-response-headers: "{}"'),
    "gzip-level": _already("each coding has a level that is worth its CPU"),
    "gzip-min-length": _each('ingressd.dev/compression-min-size: "{}"'),
    "gzip-types": _each('ingressd.dev/compression-types: "{}"', "on each Ingress, with commas between the types"),
    "hide-headers": _each('ingressd.dev/response-headers-remove: "{}"'),
    "hsts": _when(
        "false", _already("no field is sent unless ingressd.dev/hsts says so"), _each('ingressd.dev/hsts: "true"')
    ),
    "hsts-include-subdomains": _when("false", _OFF_IS_DEFAULT, _each('ingressd.dev/hsts-include-subdomains: "true"')),
    "hsts-max-age": _each('ingressd.dev/hsts-max-age: "{}"'),
    "hsts-preload": _when("true", _each('ingressd.dev/hsts-preload: "true"'), _OFF_IS_DEFAULT),
    "http-redirect-code": _when("308", _OFF_IS_DEFAULT, _flag("--redirect-status={}", _redirect_status)),
    "http-snippet": _snippet,
    "ignore-invalid-headers": _already("a field that is none is 400"),
    "keep-alive": _flag("--limit=keepalive_idle_s={}", _seconds),
    "keep-alive-requests": _flag("--limit=keepalive_requests={}", _whole),
    "large-client-header-buffers": _flag("--limit=request_head_bytes={}", _buffers),
    "limit-conn-status-code": _flag("--limit-status={}", _status),
    "limit-req-status-code": _flag("--limit-status={}", _status),
    "load-balance": _flag("--scheduler={}", lambda text: {"round_robin": "rr"}.get(text, text)),
    "location-snippet": _snippet,
    "log-format-escape-json": _flag("--access-log-format=json", lambda text: ""),
    "log-format-upstream": _flag(
        "--access-log-format=nginx", lambda text: "", "that is ingress-nginx's default format; json has every field"
    ),
    "main-snippet": _none("it is nginx's configuration"),
    "max-worker-connections": _flag("--limit=connections={}", _whole),
    "no-tls-redirect-locations": _already("/.well-known/acme-challenge is never redirected"),
    "proxy-add-original-uri-header": _none("ingressd.dev/request-headers-set: X-Original-URI: $request_uri does it"),
    "proxy-body-size": _flag(
        "--limit=request_body_bytes={}", _bytes, "for all Ingresses that do not say proxy-body-size themselves"
    ),
    "proxy-buffer-size": _ACCEPTED,
    "proxy-buffering": _ACCEPTED,
    "proxy-buffers-number": _ACCEPTED,
    "proxy-connect-timeout": _flag("--limit=connect_s={}", _seconds),
    "proxy-next-upstream": _each('nginx.ingress.kubernetes.io/proxy-next-upstream: "{}"'),
    "proxy-next-upstream-timeout": _each('nginx.ingress.kubernetes.io/proxy-next-upstream-timeout: "{}"'),
    "proxy-next-upstream-tries": _each('nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "{}"'),
    "proxy-read-timeout": _flag("--limit=read_gap_s={}", _seconds),
    "proxy-real-ip-cidr": _flag("--trusted-proxies={}", lambda text: ",".join(text.replace(",", " ").split()), _TRUST),
    "proxy-request-buffering": _ACCEPTED,
    "proxy-send-timeout": _flag("--limit=send_gap_s={}", _seconds),
    "proxy-set-headers": _each(
        'ingressd.dev/request-headers-set: "..."', "on each Ingress, with the lines of that ConfigMap"
    ),
    "relative-redirects": _when(
        "true", _each('nginx.ingress.kubernetes.io/relative-redirects: "true"'), _OFF_IS_DEFAULT
    ),
    "retry-non-idempotent": _when(
        "true",
        _each('nginx.ingress.kubernetes.io/proxy-next-upstream: "error timeout non_idempotent"'),
        _OFF_IS_DEFAULT,
    ),
    "reuse-port": _already("each worker has its own socket"),
    "server-snippet": _snippet,
    "server-tokens": _already("no answer names a version"),
    "service-upstream": _when("true", _each('nginx.ingress.kubernetes.io/service-upstream: "true"'), _OFF_IS_DEFAULT),
    "ssl-ciphers": _none(_TLS),
    "ssl-protocols": _none(_TLS),
    "ssl-redirect": _when("false", _each('nginx.ingress.kubernetes.io/ssl-redirect: "false"'), _OFF_IS_DEFAULT),
    "ssl-session-tickets": _already("sessions are resumed"),
    "stream-snippet": _none(LEFT_OUT["stream-snippet"]),
    "strict-validate-path-type": _already("paths are validated as the API does"),
    "upstream-keepalive-connections": _flag("--limit=upstream_idle_connections={}", _whole),
    "upstream-keepalive-timeout": _flag("--limit=upstream_idle_s={}", _seconds),
    "use-forwarded-headers": _when("true", _TRUSTED, _OFF_IS_DEFAULT),
    "use-gzip": _when("true", _each(_GZIP), _OFF_IS_DEFAULT),
    "use-http2": _when("false", _already("HTTP/1.1 is spoken"), _none("HTTP/1.1 is spoken")),
    "use-proxy-protocol": _when(
        "true", _flag("--proxy-protocol=on", lambda text: "", "for connections from --trusted-proxies"), _OFF_IS_DEFAULT
    ),
    "use-port-in-redirects": _none(LEFT_OUT["use-port-in-redirects"]),
    "whitelist-source-range": _each('nginx.ingress.kubernetes.io/whitelist-source-range: "{}"'),
    "worker-processes": _flag("--workers={}", _workers),
    "worker-shutdown-timeout": _flag("--drain-timeout={}", _seconds),
}
"""Keys of the controller's ConfigMap that people set."""
