"""What is proposed for directives of nginx, and that ingressd reads whatever is proposed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ingressd.filters.registry import ANNOTATIONS
from ingressd.migration.directives import TABLE
from ingressd.migration.proposals import PREFIX, Verdict, together, yaml_lines
from ingressd.migration.snippets import read_snippet
from tests.unit.compile.manifests import compiled, ingress, path, rule, service

EVERYBODY = "0.0.0.0/0, ::/0"


def here(text: str) -> dict[str, str]:
    """What is proposed for the Ingress itself, without prefixes."""
    found = together(read_snippet(text).proposals).get("", {})
    return {name.removeprefix(PREFIX): value for name, value in found.items()}


def pasted(annotations: Mapping[str, str]) -> object:
    """What YAML makes of the lines."""
    return yaml.safe_load("".join(f"{line}\n" for line in yaml_lines(annotations)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("add_header X-A b always;", {"response-headers-add": "X-A: b\n"}),
        ('more_set_headers "X-A: b" "X-C: d";', {"response-headers-set": "X-A: b\nX-C: d\n"}),
        ('more_set_headers "Server:";', {"response-headers-remove": "Server"}),
        ("more_clear_headers Server X-Powered-By;", {"response-headers-remove": "Server, X-Powered-By"}),
        ("proxy_hide_header X-A; proxy_hide_header X-B;", {"response-headers-remove": "X-A, X-B"}),
        ('more_set_input_headers "X-A: $host";', {"request-headers-set": "X-A: $host\n"}),
        ("more_clear_input_headers X-A;", {"request-headers-remove": "X-A"}),
        ("proxy_set_header X-Team red;", {"request-headers-set": "X-Team: red\n"}),
        ('proxy_set_header Accept-Encoding "";', {"request-headers-remove": "Accept-Encoding"}),
        ("proxy_set_header Host inside.test;", {"upstream-vhost": "inside.test"}),
        ("return 301 https://a.test$request_uri;", {"permanent-redirect": "https://a.test$request_uri"}),
        ("return 308 /b;", {"permanent-redirect": "/b", "permanent-redirect-code": "308"}),
        ("return 302 /b;", {"temporal-redirect": "/b"}),
        ("return 307 /b;", {"temporal-redirect": "/b", "temporal-redirect-code": "307"}),
        ("return https://a.test;", {"temporal-redirect": "https://a.test"}),
        ("return 403;", {"denylist-source-range": EVERYBODY}),
        ("return 503 'back at noon';", {"maintenance": "true", "maintenance-message": "back at noon"}),
        ("return 410;", {"fault-abort": "410"}),
        ("client_max_body_size 20m;", {"proxy-body-size": "20m"}),
        ("proxy_connect_timeout 1m;", {"proxy-connect-timeout": "60"}),
        ("proxy_read_timeout 1h30m;", {"proxy-read-timeout": "5400"}),
        ("proxy_send_timeout 500ms;", {"proxy-send-timeout": "1"}),
        ("proxy_buffering off;", {"proxy-buffering": "off"}),
        ("proxy_request_buffering off;", {"proxy-request-buffering": "off"}),
        ("proxy_cookie_path / '/; secure';", None),
        ("proxy_cookie_path /one /two;", {"proxy-cookie-path": "/one /two"}),
        ("proxy_cookie_domain a.test b.test;", {"proxy-cookie-domain": "a.test b.test"}),
        ("proxy_redirect off;", {"proxy-redirect-from": "off", "proxy-redirect-to": "off"}),
        (
            "proxy_redirect http://a.test/ /;",
            {"proxy-redirect-from": "http://a.test/", "proxy-redirect-to": "/"},
        ),
        ("allow 10.0.0.0/8; allow 192.0.2.1; deny all;", {"allowlist-source-range": "10.0.0.0/8, 192.0.2.1"}),
        ("deny 192.0.2.0/24; allow all;", {"denylist-source-range": "192.0.2.0/24"}),
        ("deny all;", {"denylist-source-range": EVERYBODY}),
        ("allow 10.0.0.0/8;", {}),
        (
            'add_header Strict-Transport-Security "max-age=63072000; includeSubDomains; preload" always;',
            {
                "hsts": "true",
                "hsts-max-age": "63072000",
                "hsts-include-subdomains": "true",
                "hsts-preload": "true",
            },
        ),
        (
            "add_header Access-Control-Allow-Origin https://a.test;",
            {"enable-cors": "true", "cors-allow-origin": "https://a.test"},
        ),
        ("gzip on; gzip_types text/css;", {"compression": "true", "compression-types": "text/css"}),
        ("expires 1h;", {"response-headers-set": "Cache-Control: max-age=3600\n"}),
        ("expires -1;", {"response-headers-set": "Cache-Control: no-cache\n"}),
        ("access_log off;", {"enable-access-log": "false"}),
        ("error_page 404 500 /error;", {"custom-http-errors": "404, 500"}),
        ("proxy_next_upstream error timeout http_502;", {"proxy-next-upstream": "error timeout http_502"}),
        ("if ($scheme = http) { return 301 https://$host$request_uri; }", {"force-ssl-redirect": "true"}),
        (
            'if ($http_x_forwarded_proto != "https") { rewrite ^ https://$host$request_uri permanent; }',
            {"force-ssl-redirect": "true"},
        ),
        ("if ($request_method = 'OPTIONS') { add_header A b; return 204; }", {"enable-cors": "true"}),
        (r"if ($host ~* ^www\.(.*)) { return 301 https://$1$request_uri; }", {"from-to-www-redirect": "true"}),
    ],
)
def test_a_directive_becomes_annotations(text: str, expected: dict[str, str] | None) -> None:
    assert here(text) == (expected or {})


@pytest.mark.parametrize(
    ("text", "where", "expected"),
    [
        (
            'if ($host = "old.test") { return 301 https://new.test$request_uri; }',
            "an Ingress of its own for the host old.test",
            {"permanent-redirect": "https://new.test$request_uri"},
        ),
        (
            'if ($http_user_agent ~* "bot") { return 403; }',
            "an Ingress of its own with the same hosts and paths, match-headers: user-agent=~(?i)bot",
            {"match-headers": "user-agent=~(?i)bot", "denylist-source-range": EVERYBODY},
        ),
        (
            "if ($arg_beta = 1) { proxy_set_header X-Beta yes; }",
            "an Ingress of its own with the same hosts and paths, match-query: beta=1",
            {"match-query": "beta=1", "request-headers-set": "X-Beta: yes\n"},
        ),
        (
            "if ($request_method ~ ^(PUT|DELETE)$) { return 405; }",
            "an Ingress of its own with the same hosts and paths, match-methods: PUT, DELETE",
            {"match-methods": "PUT, DELETE", "fault-abort": "405"},
        ),
        (
            "if ($cookie_beta = yes) { proxy_set_header X-Beta yes; }",
            "an Ingress of its own with the same hosts and paths, match-headers: cookie=~beta=yes",
            {"match-headers": "cookie=~beta=yes", "request-headers-set": "X-Beta: yes\n"},
        ),
        (
            "location = /healthz { access_log off; }",
            "an Ingress of its own with the path /healthz (Exact)",
            {"enable-access-log": "false"},
        ),
        (
            "location /api/ { proxy_read_timeout 300; }",
            "an Ingress of its own with the path /api/ (Prefix)",
            {"proxy-read-timeout": "300"},
        ),
        (
            "location ~* ^/v[0-9]+/ { client_max_body_size 0; }",
            "an Ingress of its own with the path /v[0-9]+/ (ImplementationSpecific), use-regex: true",
            {"use-regex": "true", "proxy-body-size": "0"},
        ),
        (
            "rewrite ^/old/(.*)$ /new/$1 break;",
            "an Ingress of its own with the path /old/(.*)$ (ImplementationSpecific)",
            {"use-regex": "true", "rewrite-target": "/new/$1"},
        ),
        (
            "rewrite ^/old$ /new permanent;",
            "an Ingress of its own with the path /old$ (ImplementationSpecific)",
            {"use-regex": "true", "permanent-redirect": "/new"},
        ),
    ],
)
def test_a_condition_becomes_an_ingress_of_its_own(text: str, where: str, expected: dict[str, str]) -> None:
    found = together(read_snippet(text).proposals)
    assert found == {where: {f"{PREFIX}{name}": value for name, value in expected.items()}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("limit_rate 10k;", "limit-rps and limit-connections"),
        ("access_by_lua_block { x() }", "a plug-in in Python"),
        ("rewrite_by_lua_file /x.lua;", "a plug-in in Python"),
        ("set $a b;", "no variables of one's own"),
        ("sub_filter a b;", "bodies are not changed"),
        ("proxy_pass http://other.test;", "ExternalName"),
        ("return 200 ok;", "a Service has to give them"),
        ("auth_basic off;", "leave auth-type"),
        ("proxy_set_header X-A $upstream_addr;", "it has no $upstream_addr"),
        ("proxy_read_timeout soon;", '"soon" is no time'),
        ("allow everybody; deny all;", '"everybody" must be'),
        ("if (-f $request_filename) { return 403; }", "files are not looked at"),
        ("if ($host != a.test) { return 403; }", "`not` has no counterpart"),
        ("if ($slow) { return 403; }", "does not take requests by $slow"),
        ('more_set_headers -s 404 "X-A: b";', "for some statuses"),
        ("strange_directive on;", "it has no counterpart"),
        ("rewrite (.*) /x break;", "not for the beginning of a path"),
        ("location @x { return 403; }", "a named location"),
        ("location /a { location /b { return 403; } }", "a condition inside of another one"),
    ],
)
def test_what_has_no_counterpart_says_why(text: str, words: str) -> None:
    proposals = read_snippet(text).proposals
    (told,) = [each for each in proposals if each.verdict is Verdict.NONE]
    assert words in told.remark
    assert together(proposals) == {}


@pytest.mark.parametrize(
    "text",
    [
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header Connection $connection_upgrade;",
        "proxy_set_header Upgrade $http_upgrade;",
        "server_tokens off;",
        "allow all;",
        "expires off;",
    ],
)
def test_what_is_so_anyway_needs_nothing(text: str) -> None:
    (told,) = read_snippet(text).proposals
    assert told.verdict is Verdict.ALREADY
    assert told.remark


def test_a_field_of_add_header_goes_to_more_answers_here_unless_it_says_always() -> None:
    plain, always = read_snippet("add_header A b; add_header A b always;").proposals
    assert "ingressd to every one" in plain.remark
    assert always.remark == ""


def test_what_is_proposed_can_be_pasted_and_is_read_without_a_fault() -> None:
    text = """
        add_header Content-Security-Policy "default-src 'self'; img-src *" always;
        more_set_headers "X-A: b" 'X-C: "d"';
        return 301 "https://a.test$request_uri";
        allow 10.0.0.0/8; deny all;
    """
    (found,) = together(read_snippet(text).proposals).values()
    assert pasted(found) == found
    written = ingress(annotations=found, rules=[rule("a.test", path())])
    compilation = compiled(service(), written)
    assert compilation.faults == ()
    (row,) = compilation.routes
    assert [str(each) for each in row.route.response_filters] == [
        "response headers: X-A=b, X-C=\"d\", +Content-Security-Policy=default-src 'self'; img-src *"
    ]


@given(st.text())
def test_no_text_raises(text: str) -> None:
    read_snippet(text)


WORD = st.one_of(
    st.sampled_from(
        ["always", "on", "off", "all", "$host", "301", "10.0.0.0/8", "X-A", "X-A: b; c", "1h", "(", "~*", "="]
    ),
    st.text(min_size=1, max_size=12),
)
DIRECTIVE = st.builds(
    lambda name, words: " ".join(
        [name, *('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)]
    ),
    st.sampled_from([*TABLE, "if", "location", "set", "unknown"]),
    st.lists(WORD, max_size=4),
)


@given(st.lists(st.tuples(DIRECTIVE, st.booleans()), max_size=4))
def test_whatever_is_proposed_is_read_and_can_be_pasted(directives: list[tuple[str, bool]]) -> None:
    text = "".join(f"{each} {{ proxy_buffering off; }}" if block else f"{each};" for each, block in directives)
    for proposed in together(read_snippet(text).proposals).values():
        assert pasted(proposed) == proposed
        for name, value in proposed.items():
            ANNOTATIONS[name.removeprefix(PREFIX)].parse(value)


def test_an_item_that_several_directives_name_is_pasted_once() -> None:
    reading = read_snippet("more_clear_headers Server X-Powered-By; proxy_hide_header X-Powered-By;")
    assert together(reading.proposals) == {"": {f"{PREFIX}response-headers-remove": "Server, X-Powered-By"}}
