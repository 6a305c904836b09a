"""The line of one request: JSON, or ingress-nginx's default format. Both are ASCII and exactly one line.

In: an Entry. Out: a line with its end. Nearly all of it was chosen by the client: whatever it is, it is escaped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote

from ingressd.memo import remember
from ingressd.observe.entry import Entry
from ingressd.table.route import Route

_REMEMBERED = 4096
"""Parts of lines that are kept, of each kind: clients choose what they say."""
_REMEMBERED_CHARS = 512

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MILLISECONDS = tuple(f"{number:03d}" for number in range(1000))
_NO_ROUTE = '"route":"","namespace":"","ingress":"","service":""'

_unsafe = re.compile(r"[^ !#-\[\]-~]")


class JsonLine:
    """One object a line. Names and types are stable: what is unknown is empty, 0 or (times) null.

    An f-string with the C quoting of the json module, and with the parts that say the same again remembered: 2.3 us a
    line instead of 3.3; json.dumps of a dict takes three times as long.
    """

    def __init__(self) -> None:
        self._second = 0
        self._time = ""
        self._clients: dict[tuple[str, int, str], str] = {}
        self._requests: dict[tuple[str, str, str, str], str] = {}
        self._answers: dict[tuple[int, str, str], tuple[Route | None, str]] = {}
        """By status, reason and id of the route, which must be the same object: a reload may have changed it."""
        self._attempts: dict[tuple[str, int], str] = {}
        self._speakers: dict[tuple[str, str, str], str] = {}

    def __call__(self, entry: Entry) -> str:
        """The line of `entry`; its time is when the request began."""
        at = entry.started_at
        second = int(at)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        client = (entry.client_address, entry.client_port, entry.scheme)
        request = (entry.method, entry.host, entry.target, entry.version)
        route = entry.route
        answer = (entry.status, entry.reason, "" if route is None else route.id)
        attempt = (entry.upstream_address, entry.upstream_status)
        speaker = (entry.user, entry.user_agent, entry.referer)
        known = self._answers.get(answer)
        upstream_s = entry.upstream_duration_s
        return (
            f'{{"time":"{self._time}.{_MILLISECONDS[int((at - second) * 1000)]}Z",'
            f'"request_id":{quote(entry.request_id)},{self._clients.get(client) or self._client(client)},'
            f"{self._requests.get(request) or self._request(request)},"
            f"{known[1] if known is not None and known[0] is route else self._answer(answer, route)},"
            f'"bytes_in":{entry.bytes_in},"bytes_out":{entry.bytes_out},"duration_ms":{entry.duration_s * 1000:.3f},'
            f"{self._attempts.get(attempt) or self._attempt(attempt)},"
            f'"upstream_ms":{"null" if upstream_s is None else f"{upstream_s * 1000:.3f}"},'
            f'"attempts":{entry.attempts},{self._speakers.get(speaker) or self._speaker(speaker)}}}\n'
        )

    def _client(self, client: tuple[str, int, str]) -> str:
        address, port, scheme = client
        text = f'"client":{quote(address)},"client_port":{port},"scheme":{quote(scheme)}'
        return remember(self._clients, client, text, _REMEMBERED)

    def _request(self, request: tuple[str, str, str, str]) -> str:
        method, host, target, version = request
        text = f'"method":{quote(method)},"host":{quote(host)},"target":{quote(target)},"version":{quote(version)}'
        return remember(self._requests, request, text, _REMEMBERED) if len(text) <= _REMEMBERED_CHARS else text

    def _answer(self, answer: tuple[int, str, str], route: Route | None) -> str:
        status, reason, _ = answer
        about = _NO_ROUTE
        if route is not None:
            about = (
                f'"route":{quote(route.id)},"namespace":{quote(route.namespace)},"ingress":{quote(route.ingress)},'
                f'"service":{quote(route.service)}'
            )
        text = f'"status":{status},"reason":{quote(reason)},{about}'
        return remember(self._answers, answer, (route, text), _REMEMBERED)[1]

    def _attempt(self, attempt: tuple[str, int]) -> str:
        address, status = attempt
        return remember(self._attempts, attempt, f'"upstream":{quote(address)},"upstream_status":{status}', _REMEMBERED)

    def _speaker(self, speaker: tuple[str, str, str]) -> str:
        user, user_agent, referer = speaker
        text = f'"user":{quote(user)},"user_agent":{quote(user_agent)},"referer":{quote(referer)}'
        return remember(self._speakers, speaker, text, _REMEMBERED) if len(text) <= _REMEMBERED_CHARS else text


class NginxLine:
    """ingress-nginx's `upstreaminfo`, escaped as nginx does. Of several attempts it names the last one.

    `$request_length` is the length of the body: heads are not kept.
    """

    def __init__(self) -> None:
        self._second = 0
        self._time = ""

    def __call__(self, entry: Entry) -> str:
        """The line of `entry`; its time is when the request ended."""
        second = int(entry.started_at + entry.duration_s)
        if second != self._second:
            self._second = second
            self._time = _clf_time(second)
        request = f"{escape(entry.method)} {escape(entry.target)} {entry.version}" if entry.method else ""
        route = entry.route
        service = f"{route.namespace}-{route.service}-{route.port}" if route is not None and route.service else ""
        if entry.attempts:
            upstream_s = entry.upstream_duration_s or 0.0
            upstream = (
                f"{escape(entry.upstream_address)} {entry.bytes_out if entry.upstream_status else 0} {upstream_s:.3f}"
                f" {entry.upstream_status or '-'}"
            )
        else:
            upstream = "- - - -"
        return (
            f"{escape(entry.client_address)} - {escape(entry.user) or '-'} [{self._time}]"
            f' "{request}" {entry.status} {entry.bytes_out}'
            f' "{escape(entry.referer) or "-"}" "{escape(entry.user_agent) or "-"}"'
            f" {entry.bytes_in} {entry.duration_s:.3f} [{escape(service)}] [] {upstream} {escape(entry.request_id)}\n"
        )


def escape(value: str) -> str:
    r"""`value` with `"`, `\` and all that is not printable ASCII as \xXX (nginx's log_format, escape=default)."""
    # One pass of the regular expression is 4 times as long as these looks at a value that is fine.
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return value
    return _unsafe.sub(_hexadecimal, value)


def _hexadecimal(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02X}" for byte in match[0].encode("latin-1", "backslashreplace"))


def _clf_time(second: int) -> str:
    at = time.localtime(second)
    return f"{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year:04}:{time.strftime('%H:%M:%S %z', at)}"


FORMATS: dict[str, Callable[[], Callable[[Entry], str]]] = {"json": JsonLine, "nginx": NginxLine}
