from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ingressd.cli.check import summary, workflow_command
from ingressd.errors import Fault, Severity

BROKEN = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: broken
spec:
  ingressClassName: ingressd
  rules:
    - host: broken.example
      http:
        paths:
          - path: /
            pathType: Prefixed
            backend: {service: {name: web, port: {number: 80}}}
"""

UNKNOWN_FIELD = """\
apiVersion: v1
kind: Service
metadata:
  name: extra
spec:
  colour: red
  ports:
    - port: 80
"""


def fault(severity: Severity = Severity.ERROR, **values: Any) -> Fault:
    given = {"file": "a.yaml", "line": 3, "column": 5, "message": "no", "hint": ""} | values
    return Fault(severity, "field_invalid", "Ingress", "default", "web", **given)


@pytest.mark.usefixtures("shop")
def test_without_a_mistake_it_says_so(ingressd: Any) -> None:
    done = ingressd("check", "shop")
    assert (done.code, done.out, done.err) == (0, "0 errors\n", "")


def test_each_mistake_has_its_place_its_code_and_the_way_out(ingressd: Any, shop: Path) -> None:
    (shop / "broken.yaml").write_text(BROKEN)
    done = ingressd("check", "shop")
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0].startswith("shop/broken.yaml:12:23: error: spec.rules[0].http.paths[0].pathType")
    assert "[field_invalid] (did you mean Prefix?)" in lines[0]
    assert lines[-1] == "1 error"


def test_warnings_fail_only_with_strict(ingressd: Any, shop: Path) -> None:
    (shop / "extra.yaml").write_text(UNKNOWN_FIELD)
    done = ingressd("check", "shop")
    assert (done.code, done.out.splitlines()[-1]) == (0, "0 errors, 1 warning")
    assert "shop/extra.yaml:6:11: warning: spec.colour: there is no such field [field_unknown]" in done.out
    assert ingressd("check", "--strict", "shop").code == 1


def test_notes_are_shown_and_never_fail(ingressd: Any, shop: Path) -> None:
    (shop / "other.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n")
    done = ingressd("check", "--strict", "shop")
    assert done.code == 0
    assert "shop/other.yaml:2:7: info: apps/v1 Deployment is not read by ingressd [kind_ignored]\n" in done.out
    assert done.out.endswith("\n0 errors, 1 note\n")


def test_for_programs_there_are_the_faults_of_the_api(ingressd: Any, shop: Path) -> None:
    assert json.loads(ingressd("check", "--output", "json", "shop").out) == []
    (shop / "broken.yaml").write_text(BROKEN)
    done = ingressd("check", "--output", "json", "shop")
    assert done.code == 1
    (only,) = json.loads(done.out)
    assert only | {"message": "", "hint": ""} == {
        "severity": "error",
        "code": "field_invalid",
        "kind": "Ingress",
        "namespace": "default",
        "name": "broken",
        "file": "shop/broken.yaml",
        "line": 12,
        "column": 23,
        "message": "",
        "hint": "",
    }


def test_for_github_each_fault_is_a_workflow_command(ingressd: Any, shop: Path) -> None:
    (shop / "broken.yaml").write_text(BROKEN)
    done = ingressd("check", "--output", "github", "shop")
    assert done.code == 1
    assert done.out.startswith("::error file=shop/broken.yaml,line=12,col=23,title=field_invalid::spec.rules[0]")
    assert done.out.count("\n") == 1


def test_what_has_a_meaning_in_a_workflow_command_is_escaped() -> None:
    tricky = fault(file="a,b:c%.yaml", message="100%\nof: it, all\r", hint="see: here")
    assert workflow_command(tricky) == (
        "::error file=a%2Cb%3Ac%25.yaml,line=3,col=5,title=field_invalid::100%25%0Aof: it, all%0D (see: here)"
    )


def test_a_severity_of_github_for_each_of_ours_and_no_place_where_none_is_known() -> None:
    assert workflow_command(fault(Severity.WARNING, line=0, column=0)).startswith("::warning file=a.yaml,title=")
    assert workflow_command(fault(Severity.INFO)).startswith("::notice file=a.yaml,line=3,col=5,title=")


@pytest.mark.parametrize(
    ("severities", "words"),
    [
        ([], "0 errors"),
        ([Severity.ERROR], "1 error"),
        ([Severity.ERROR] * 3 + [Severity.WARNING], "3 errors, 1 warning"),
        ([Severity.WARNING] * 2 + [Severity.INFO] * 2, "0 errors, 2 warnings, 2 notes"),
    ],
)
def test_the_summary_counts(severities: list[Severity], words: str) -> None:
    assert summary([fault(severity) for severity in severities]) == words


def test_a_message_of_several_lines_is_shown_as_one(ingressd: Any, shop: Path) -> None:
    (shop / "broken.yaml").write_text(BROKEN.replace("Prefixed", '"Pre\\nfixed"'))
    lines = ingressd("check", "shop").out.splitlines()
    assert [line for line in lines if not line.startswith("shop/")] == ["1 error"]
