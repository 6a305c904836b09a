"""What Kubernetes allows as a name: the rules of apimachinery's validation, one function each.

In: a string. Out: an empty string when it is allowed, else the rule in words that continue `... must be`.
"""

from __future__ import annotations

import ipaddress
import re

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_label = re.compile(_LABEL).fullmatch
_service = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?").fullmatch
_subdomain = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
_wildcard = re.compile(rf"\*(?:\.{_LABEL})+").fullmatch
_port_name = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?").fullmatch
_qualified = re.compile(r"(?:[^/]+/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?").fullmatch
_controller = re.compile(rf"{_LABEL}(?:\.{_LABEL})*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+").fullmatch

LABEL_CHARACTERS = 63
NAME_CHARACTERS = 253
PORT_NAME_CHARACTERS = 15
CONTROLLER_CHARACTERS = 250


def label(text: str) -> str:
    """A DNS label (RFC 1123): namespaces, port names of a Service."""
    if len(text) <= LABEL_CHARACTERS and _label(text):
        return ""
    return "lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63 characters"


def service_name(text: str) -> str:
    """A DNS label that begins with a letter (RFC 1035): Services."""
    if len(text) <= LABEL_CHARACTERS and _service(text):
        return ""
    return (
        "lower-case letters, digits and `-`, beginning with a letter and ending with a letter or digit,"
        " at most 63 characters"
    )


def subdomain(text: str) -> str:
    """A DNS subdomain (RFC 1123): most names, and hosts."""
    if len(text) <= NAME_CHARACTERS and _subdomain(text):
        return ""
    return "labels of lower-case letters, digits and `-`, joined by dots, at most 253 characters"


def host(text: str) -> str:
    """A host of a rule or of spec.tls: a DNS name or `*.` and one, no address, no port."""
    if is_address(text):
        return "a DNS name, not an IP address"
    if "*" in text:
        if len(text) <= NAME_CHARACTERS and _wildcard(text):
            return ""
        return "a DNS name, or `*.` and a DNS name: a wildcard stands for the first label only"
    if re.search(r":[0-9]+$", text):
        return "a DNS name without a port"
    return subdomain(text)


def port_name(text: str) -> str:
    """The name of a container port or a Service port in a backend (IANA service name)."""
    if 0 < len(text) <= PORT_NAME_CHARACTERS and _port_name(text):
        return ""
    return "1 to 15 lower-case letters, digits and single `-`, with a letter among them"


def annotation_key(text: str) -> str:
    """The key of an annotation or a label: `prefix/name`, the prefix a DNS subdomain."""
    prefix, slash, name = text.rpartition("/")
    if len(name) <= LABEL_CHARACTERS and _qualified(text) and not (slash and subdomain(prefix.lower())):
        return ""
    return "NAME or PREFIX/NAME: letters, digits, `-`, `_` and `.`, at most 63 characters after the prefix"


def controller(text: str) -> str:
    """spec.controller of an IngressClass: `acme.io/foo`."""
    if len(text) <= CONTROLLER_CHARACTERS and _controller(text):
        return ""
    return "a domain and a path, such as ingressd.dev/ingress-controller, at most 250 characters"


def is_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    # To find out by failing takes longer than all other rules for a host together.
    if ":" not in text and not text[-1:].isdigit():
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
