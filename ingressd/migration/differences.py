"""Where ingress-nginx and ingressd answer the same request differently, annotation by annotation.

In: the annotations of an Ingress and one of its URLs. Out: Differences with an example each, and remarks about what is
accepted without effect. What holds for all Ingresses is in EVERYWHERE.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ingressd.filters.registry import ANNOTATIONS
from ingressd.filters.values import boolean


@dataclass(frozen=True, slots=True)
class Example:
    """One request and the two answers."""

    method: str
    url: str
    nginx: str
    ingressd: str

    def as_dict(self) -> dict[str, str]:
        """JSON shape."""
        return {"method": self.method, "url": self.url, "ingress_nginx": self.nginx, "ingressd": self.ingressd}


@dataclass(frozen=True, slots=True)
class Difference:
    """What is not the same."""

    subject: str
    """The annotation as it is written, or what else it is about."""
    what: str
    example: Example | None = None
    instead: str = ""
    """How to have it as it was; empty = there is no way, or none is needed."""

    def as_dict(self) -> dict[str, Any]:
        """JSON shape."""
        example = None if self.example is None else self.example.as_dict()
        return {"subject": self.subject, "what": self.what, "example": example, "instead": self.instead}


@dataclass(frozen=True, slots=True)
class Site:
    """Where an Ingress can be asked."""

    scheme: str
    host: str
    path: str
    """The beginning of what its first rule takes, without expressions."""
    names: frozenset[str] = frozenset()
    """Its annotations, without prefix."""

    def url(self, path: str = "") -> str:
        """A URL of it."""
        return f"{self.scheme}://{self.host}{path or self.path}"

    def below(self, part: str) -> str:
        """A URL below its path."""
        return self.url(f"{self.path.rstrip('/')}/{part}")


ACCEPTED = "accepted"
"""What the summary or the note of an annotation without effect begins with."""

_MAY_BE_EMPTY = re.compile(r"(\$\{?((http|cookie|arg)_\w+|args|query_string|remote_user)\}?)+")

_Make = Callable[[str, Site], Difference | None]

SAME = frozenset(
    {
        "allowlist-source-range",
        "auth-response-headers",
        "auth-secret",
        "auth-secret-type",
        "auth-tls-match-cn",
        "backend-protocol",
        "canary",
        "canary-by-header-pattern",
        "canary-weight",
        "custom-headers",
        "limit-rpm",
        "limit-rps",
        "load-balance",
        "preserve-trailing-slash",
        "proxy-body-size",
        "proxy-next-upstream",
        "proxy-ssl-secret",
        "proxy-ssl-verify",
        "session-cookie-path",
        "use-regex",
        "whitelist-source-range",
    }
)
"""Annotations whose notes are about what other Ingresses get, or about mistakes, which are faults of their own."""


def difference_of(name: str, key: str, value: str, site: Site) -> Difference | None:
    """What the annotation does otherwise than in ingress-nginx; None = nothing."""
    make = _TABLE.get(name)
    if make is not None:
        found = make(value, site)
        return None if found is None else Difference(key, found.what, found.example, found.instead)
    if name in SAME or name not in ANNOTATIONS or is_accepted(name):
        return None
    note = ANNOTATIONS[name].note
    return Difference(key, _sentence(note)) if note else None


def is_accepted(name: str) -> bool:
    """It is read, and has no effect."""
    annotation = ANNOTATIONS.get(name)
    return annotation is not None and any(
        text.lower().startswith(ACCEPTED) for text in (annotation.summary, annotation.note)
    )


def _on(make: _Make) -> _Make:
    """Only where the annotation is true."""

    def only(value: str, site: Site) -> Difference | None:
        try:
            return make(value, site) if boolean(value) else None
        except ValueError:
            return None

    return only


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def _www(value: str, site: Site) -> Difference:
    bare = site.host.removeprefix("www.")
    other = bare if site.host.startswith("www.") else f"www.{site.host}"
    example = Example(
        "GET",
        f"{site.scheme}://{other}/a/",
        f"308, Location: {site.scheme}://{site.host}/a",
        f"308, Location: {site.scheme}://{site.host}/a/",
    )
    return Difference("", "A slash at the end of the path is kept.", example)


def _rewrite(value: str, site: Site) -> Difference | None:
    if not any(f"${number}" in value for number in range(1, 10)):
        return None
    example = Example("GET", site.below("a%2Fb"), "the endpoint is asked for a path with `a/b`", "for one with `a%2Fb`")
    return Difference("", "An escaped slash in a capture stays escaped: it is no separator.", example)


def _read_timeout(value: str, site: Site) -> Difference:
    example = Example(
        "GET",
        site.url(),
        f"a WebSocket on which nothing happens is closed after {value} s",
        "it stays open until one side closes it",
    )
    return Difference("", "An upgraded connection (WebSocket) has no idle timeout.", example)


def _request_buffering(value: str, site: Site) -> Difference | None:
    if value != "on":
        return None
    example = Example(
        "POST",
        site.url(),
        "the endpoint is asked when the whole body is there",
        "it is asked when 64 KiB of it are there, or all",
    )
    return Difference(
        "", "Only the first 64 KiB of a body are waited for.", example, "nothing, or more memory in the app"
    )


def _hash_by(value: str, site: Site) -> Difference | None:
    if not _MAY_BE_EMPTY.fullmatch(value):
        return None
    example = Example(
        "GET",
        site.url(),
        f"without a value for {value}: always the same endpoint",
        "any endpoint, as the scheduler picks",
    )
    return Difference("", "Requests for which the value is empty are spread over the endpoints.", example)


def _asked_by_tls(what: str, nginx: str, ours: str, instead: str = "") -> _Make:
    """Of a URL that the proxy itself asks."""

    def make(value: str, site: Site) -> Difference | None:
        if not value.startswith("https://"):
            return None
        example = Example("GET", site.url(), nginx, ours)
        return Difference("", f"The certificate of the {what} must be valid.", example, instead)

    return make


def _custom_errors(value: str, site: Site) -> Difference | None:
    if "default-backend" in site.names:
        return None
    status = value.partition(",")[0].strip()
    example = Example(
        "GET",
        site.url(),
        f"for {status}, without any default backend: the page of the controller's own",
        f"{status} with a line of text",
    )
    return Difference("", "Without any default backend the answer is our own text.", example, "default-backend")


def _default_backend(value: str, site: Site) -> Difference:
    example = Example("POST", site.url(), f"{value} is sent POST with the body", f"{value} is sent GET, without a body")
    return Difference("", "The default backend never gets the body of the request.", example)


def _service_upstream(value: str, site: Site) -> Difference:
    example = Example(
        "GET", site.url(), "one attempt at the ClusterIP", "one attempt at an endpoint that ingressd picks"
    )
    return Difference("", "No kube-proxy stands behind the address of a Service.", example)


def _auth_tls(value: str, site: Site) -> Difference:
    example = Example(
        "GET",
        site.url(),
        "with a certificate of an authority that is not in the Secret: 400",
        "the TLS handshake fails",
    )
    return Difference("", "A certificate that does not verify fails the handshake.", example)


def _verify_client(value: str, site: Site) -> Difference | None:
    if value != "optional_no_ca":
        return None
    example = Example(
        "GET",
        site.url(),
        "with a certificate of any authority: passed on, ssl-client-verify says what is wrong with it",
        "the TLS handshake fails",
    )
    return Difference("", "optional_no_ca is taken for optional.", example)


def _ssl_protocols(value: str, site: Site) -> Difference | None:
    if not {"SSLv2", "SSLv3", "TLSv1", "TLSv1.1"} & set(value.split()):
        return None
    example = Example("GET", site.url(), "an endpoint that speaks TLS 1.1 only answers", "502 connect_failed")
    return Difference("", "Versions before TLS 1.2 are not spoken.", example)


def _server_name(value: str, site: Site) -> Difference | None:
    if value != "off":
        return None
    return Difference("", _sentence(ANNOTATIONS["proxy-ssl-server-name"].note))


_TABLE: Mapping[str, _Make] = {
    "auth-tls-secret": _auth_tls,
    "auth-tls-verify-client": _verify_client,
    "auth-url": _asked_by_tls(
        "service", "asked, whatever certificate it has", "500 auth_unavailable", "a valid one, or http"
    ),
    "custom-http-errors": _custom_errors,
    "default-backend": _default_backend,
    "from-to-www-redirect": _on(_www),
    "mirror-target": _asked_by_tls("target", "copied, whatever certificate it has", "not copied, unless it is valid"),
    "proxy-read-timeout": _read_timeout,
    "proxy-request-buffering": _request_buffering,
    "proxy-ssl-protocols": _ssl_protocols,
    "proxy-ssl-server-name": _server_name,
    "relative-redirects": _on(lambda value, site: Difference("", _sentence(ANNOTATIONS["relative-redirects"].note))),
    "rewrite-target": _rewrite,
    "server-alias": lambda value, site: None,
    "service-upstream": _on(_service_upstream),
    "upstream-hash-by": _hash_by,
}

HSTS = Difference(
    "Strict-Transport-Security",
    "ingress-nginx sends it for every host with TLS, unless its ConfigMap says hsts: false.",
    Example(
        "GET",
        "https://HOST/",
        "Strict-Transport-Security: max-age=31536000; includeSubDomains",
        "no such field",
    ),
    'ingressd.dev/hsts: "true" and ingressd.dev/hsts-include-subdomains: "true"',
)

SEVERAL_CANARIES = Difference(
    "canary",
    "Another Ingress is a canary of the same path, too. ingress-nginx uses one of them only; here each has its share.",
)

EVERYWHERE: tuple[Difference, ...] = (
    HSTS,
    Difference(
        "regular expressions",
        "They are those of the Ingress that has them, not of all Ingresses of its host.",
        Example(
            "GET",
            "http://HOST/FOObar",
            "taken by the path /foo of another Ingress, once one Ingress of the host has use-regex",
            "404, as without that Ingress",
        ),
        "--regex-scope host",
    ),
    Difference(
        "request bodies",
        "They are streamed: an endpoint sees a request as soon as its head is there.",
        Example("POST", "http://HOST/", "the endpoint hears of it when the body is whole", "at once"),
        "proxy-request-buffering: on, for the first 64 KiB",
    ),
    Difference(
        "HTTP versions",
        "HTTP/1.1 is spoken with clients and endpoints; HTTP/2 and gRPC are not.",
        Example("GET", "https://HOST/", "HTTP/2, where the client can", "HTTP/1.1"),
    ),
    Difference(
        "TLS",
        "The policy is fixed: TLS 1.2 and 1.3, for 1.2 ECDHE with AEAD.",
        Example("GET", "https://HOST/", "by TLS 1.1, where ssl-protocols says so", "by TLS 1.2 or 1.3, or not at all"),
    ),
    Difference(
        "WebSockets",
        "A connection that was upgraded has no idle timeout.",
        Example("GET", "https://HOST/ws", "closed after 60 s without a message", "stays open"),
    ),
    Difference(
        "ambiguous requests",
        "What two programs could read differently is refused.",
        Example("GET", "http://HOST/a//..", "taken for a path", "400 bad_request"),
    ),
    Difference(
        "error pages",
        "An answer of the proxy is a line of text, and says why in x-ingressd-reason.",
        Example("GET", "http://unknown.test/", "404, HTML with `nginx`", "404, x-ingressd-reason: no_route"),
    ),
)
"""What is different whatever an Ingress says."""
