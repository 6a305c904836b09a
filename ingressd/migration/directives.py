"""Directives of nginx that an annotation replaces, one at a time.

In: the words of a directive. Out: a Draft. Raises Cannot or Already. `if` and `location`: blocks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingressd.filters.unsupported import LEFT_OUT
from ingressd.migration import header_directives
from ingressd.migration.header_directives import seconds
from ingressd.migration.proposals import Already, Cannot, Draft

Arguments = tuple[str, ...]

EVERYBODY = "0.0.0.0/0, ::/0"
_REDIRECTS = {"301": "permanent", "308": "permanent", "302": "temporal", "303": "temporal", "307": "temporal"}


def draft_of(name: str, arguments: Arguments) -> Draft:
    """What the directive becomes. Raises Cannot or Already."""
    make = TABLE.get(name)
    if make is not None:
        return make(arguments)
    if "_by_lua" in name or name.startswith(("lua_", "js_", "perl")):
        raise Cannot("it is a program: write a plug-in in Python (ingressd.dev/filters)")
    for prefix, why in _CANNOT.items():
        if name == prefix or (prefix.endswith("_") and name.startswith(prefix)):
            raise Cannot(why)
    for prefix, why in _ALREADY.items():
        if name == prefix or (prefix.endswith("_") and name.startswith(prefix)):
            raise Already(why)
    raise Cannot("it has no counterpart")


def returned(arguments: Arguments) -> Draft:
    """`return CODE [TEXT]`, `return CODE URL`, `return URL`."""
    if len(arguments) == 1 and arguments[0].startswith(("http://", "https://", "$scheme")):
        arguments = ("302", arguments[0])
    code, text = arguments[0] if arguments else "", " ".join(arguments[1:])
    if code in _REDIRECTS and text:
        return _redirect(_REDIRECTS[code], code, text)
    if code == "403":
        return Draft({"denylist-source-range": EVERYBODY}, "nobody gets in")
    if code == "503":
        message = {"maintenance-message": text} if text else {}
        return Draft({"maintenance": "true", **message})
    if code.isascii() and code.isdigit() and 400 <= int(code) <= 599:
        return Draft({"fault-abort": code}, "the text of the answer is ours" if text else "")
    raise Cannot("the proxy has no answers of its own with such a status: a Service has to give them")


def rewritten(arguments: Arguments) -> Draft:
    """`rewrite REGEX TARGET permanent|redirect`. With other flags it is a path: see blocks.py."""
    if len(arguments) < 2:
        raise Cannot("a regular expression and a target are needed")
    _, target, *flags = arguments
    if "permanent" in flags:
        return _redirect("permanent", "301", target)
    if "redirect" in flags or target.startswith(("http://", "https://", "$scheme")):
        return _redirect("temporal", "302", target)
    return Draft({"rewrite-target": target})


def _redirect(kind: str, code: str, url: str) -> Draft:
    usual = {"permanent": "301", "temporal": "302"}[kind]
    codes = {} if code == usual else {f"{kind}-redirect-code": code}
    return Draft({f"{kind}-redirect": url, **codes})


def _as(name: str, convert: Callable[[str], str] = str) -> Callable[[Arguments], Draft]:
    """The same word in an annotation."""

    def make(arguments: Arguments) -> Draft:
        if len(arguments) != 1:
            raise Cannot("one value is needed")
        return Draft({name: convert(arguments[0])})

    return make


def _all_as(name: str) -> Callable[[Arguments], Draft]:
    """All words in an annotation."""
    return lambda arguments: Draft({name: " ".join(arguments)})


def _seconds(text: str) -> str:
    return str(seconds(text))


def _on_off(text: str) -> str:
    return {"on": "true", "off": "false"}.get(text, text)


def _gzip(arguments: Arguments) -> Draft:
    if arguments == ("off",):
        raise Already("nothing is compressed unless ingressd.dev/compression says so")
    return Draft({"compression": "true"})


def _types(arguments: Arguments) -> Draft:
    if "*" in arguments:
        raise Cannot("types are named, as in text/*")
    return Draft({"compression": "true", "compression-types": ", ".join(arguments)})


def _access_log(arguments: Arguments) -> Draft:
    if arguments == ("off",):
        return Draft({"enable-access-log": "false"})
    raise Cannot("there is one log: --access-log, --access-log-format")


def _realm(arguments: Arguments) -> Draft:
    if arguments == ("off",):
        raise Cannot("leave auth-type, auth-secret and auth-url out of this Ingress: each Ingress has its own")
    return Draft({"auth-realm": " ".join(arguments)}, "it has an effect beside auth-type: basic and auth-secret only")


def _proxy_redirect(arguments: Arguments) -> Draft:
    if len(arguments) == 1:
        return Draft({"proxy-redirect-from": arguments[0], "proxy-redirect-to": arguments[0]})
    if len(arguments) != 2:
        raise Cannot("two values are needed")
    return Draft({"proxy-redirect-from": arguments[0], "proxy-redirect-to": arguments[1]})


def _buffers(arguments: Arguments) -> Draft:
    if len(arguments) != 2:
        raise Cannot("a number and a size are needed")
    return Draft({"proxy-buffers-number": arguments[0]}, "accepted, without effect: responses are streamed")


def _error_page(arguments: Arguments) -> Draft:
    statuses = [word for word in arguments if word.isascii() and word.isdigit()]
    if not statuses:
        raise Cannot("no status is named")
    return Draft(
        {"custom-http-errors": ", ".join(statuses)},
        "default-backend names the Service that answers in place of them; it finds the status in X-Code",
    )


def _allow(arguments: Arguments) -> Draft:
    if arguments == ("all",):
        raise Already("everybody is let in whom no list keeps out")
    return _as("allowlist-source-range")(arguments)


def _deny(arguments: Arguments) -> Draft:
    if arguments == ("all",):
        return Draft({"denylist-source-range": EVERYBODY}, "nobody gets in")
    return _as("denylist-source-range")(arguments)


_LIMITS = "limit-rps, limit-rpm and limit-connections bound what one client asks for: write the rate there"
_PROGRAM = "it is for the whole program: `--limit NAME=VALUE`, see docs/limits.md"
_FIXED = "the policy of TLS is fixed: TLS 1.2 and 1.3, and for 1.2 ECDHE with AEAD only"
_BODIES = "bodies are not changed on their way: let the app do it"

_CANNOT: Mapping[str, str] = {
    "auth_request": "auth-url names the service that is asked",
    "auth_request_set": "auth-response-headers names the fields that the endpoint gets",
    "break": "write the path as an Ingress of its own",
    "client_body_timeout": f"{_PROGRAM} (request_body_gap_s)",
    "client_header_buffer_size": f"{_PROGRAM} (header_line_bytes)",
    "client_header_timeout": f"{_PROGRAM} (request_head_s)",
    "fastcgi_": "FastCGI is not spoken: put a web server in front of the app",
    "grpc_": "gRPC is not spoken",
    "internal": "a path that clients cannot ask for needs no rule",
    "keepalive_requests": f"{_PROGRAM} (keepalive_requests)",
    "keepalive_timeout": f"{_PROGRAM} (keepalive_idle_s)",
    "large_client_header_buffers": f"{_PROGRAM} (request_head_bytes)",
    "limit_conn": _LIMITS,
    "limit_conn_": _LIMITS,
    "limit_rate": LEFT_OUT["limit-rate"],
    "limit_rate_after": LEFT_OUT["limit-rate-after"],
    "limit_req": _LIMITS,
    "limit_req_": _LIMITS,
    "map": "it stands outside of a host: match-headers and match-query choose between Ingresses",
    "mirror": "mirror-target names the URL that copies go to",
    "modsecurity": LEFT_OUT["enable-modsecurity"],
    "modsecurity_": LEFT_OUT["enable-modsecurity"],
    "proxy_cache": "there is no cache: put one in front, or let the app say Cache-Control",
    "proxy_cache_": "there is no cache: put one in front, or let the app say Cache-Control",
    "proxy_pass": "write an Ingress of its own for the path; a Service of the type ExternalName leads to another host",
    "root": "files are not served: a web server behind a Service does",
    "send_timeout": f"{_PROGRAM} (response_write_gap_s)",
    "set": "there are no variables of one's own: write the value where it is used",
    "sub_filter": _BODIES,
    "sub_filter_": _BODIES,
    "subs_filter": _BODIES,
    "try_files": "files are not served: a web server behind a Service does",
}
"""A directive, or what its name begins with -> why there is nothing, and what to do instead."""

_ALREADY: Mapping[str, str] = {
    "chunked_transfer_encoding": "a response goes out as it came",
    "gzip_": "compression-codings, compression-types and compression-min-size say what there is to say",
    "proxy_intercept_errors": "custom-http-errors does it by itself",
    "proxy_ignore_client_abort": "an endpoint hears of it when its client goes away",
    "proxy_pass_header": "every field of an endpoint passes but those of the connection",
    "proxy_pass_request_body": "the body always goes to the endpoint",
    "proxy_pass_request_headers": "the fields always go to the endpoint",
    "proxy_ssl_session_reuse": "sessions are resumed",
    "server_tokens": "no answer names a version",
    "sendfile": "there are no files",
    "ssl_ciphers": _FIXED,
    "ssl_prefer_server_ciphers": _FIXED,
    "ssl_protocols": _FIXED,
    "tcp_nodelay": "it is on",
    "tcp_nopush": "small answers go out at once",
    "underscores_in_headers": "fields with an underscore in their names are dropped, as by default in nginx",
}

TABLE: Mapping[str, Callable[[Arguments], Draft]] = {
    **header_directives.TABLE,
    "access_log": _access_log,
    "allow": _allow,
    "auth_basic": _realm,
    "brotli": _gzip,
    "client_body_buffer_size": _as("client-body-buffer-size"),
    "client_max_body_size": _as("proxy-body-size"),
    "deny": _deny,
    "error_page": _error_page,
    "gzip": _gzip,
    "gzip_min_length": _as("compression-min-size"),
    "gzip_types": _types,
    "proxy_buffer_size": _as("proxy-buffer-size"),
    "proxy_buffering": _as("proxy-buffering"),
    "proxy_buffers": _buffers,
    "proxy_busy_buffers_size": _as("proxy-busy-buffers-size"),
    "proxy_connect_timeout": _as("proxy-connect-timeout", _seconds),
    "proxy_cookie_domain": _all_as("proxy-cookie-domain"),
    "proxy_cookie_path": _all_as("proxy-cookie-path"),
    "proxy_http_version": _as("proxy-http-version"),
    "proxy_max_temp_file_size": _as("proxy-max-temp-file-size"),
    "proxy_next_upstream": _all_as("proxy-next-upstream"),
    "proxy_next_upstream_timeout": _as("proxy-next-upstream-timeout", _seconds),
    "proxy_next_upstream_tries": _as("proxy-next-upstream-tries"),
    "proxy_read_timeout": _as("proxy-read-timeout", _seconds),
    "proxy_redirect": _proxy_redirect,
    "proxy_request_buffering": _as("proxy-request-buffering"),
    "proxy_send_timeout": _as("proxy-send-timeout", _seconds),
    "proxy_ssl_name": _as("proxy-ssl-name"),
    "proxy_ssl_protocols": _all_as("proxy-ssl-protocols"),
    "proxy_ssl_server_name": _as("proxy-ssl-server-name"),
    "proxy_ssl_verify": _as("proxy-ssl-verify"),
    "proxy_ssl_verify_depth": _as("proxy-ssl-verify-depth"),
    "return": returned,
    "rewrite": rewritten,
    "rewrite_log": _as("enable-rewrite-log", _on_off),
    "satisfy": _as("satisfy"),
}
