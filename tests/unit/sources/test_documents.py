from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.model.resource import Key
from ingressd.sources.documents import DOCUMENT_BYTES, read_documents, split


def service(name: str, port: int = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("", []),
        ("\n \n", []),
        ("a: 1\n", [(1, "a: 1\n")]),
        ("a: 1", [(1, "a: 1")]),
        ("---\na: 1\n", [(2, "a: 1\n")]),
        ("a\n---\nb\n---\nc", [(1, "a\n"), (3, "b\n"), (5, "c")]),
        ("---\n---\na\n---\n", [(3, "a\n")]),
        ("a\n--- # here\nb", [(1, "a\n"), (3, "b")]),
        ("a\n---   \nb", [(1, "a\n"), (3, "b")]),
        ("a\n---", [(1, "a\n")]),
        ("a\n--- {b: 1}\nc", [(1, "a\n"), (2, "--- {b: 1}\nc")]),
        ("a: |\n  ---\n  x\n----\n---x\n", [(1, "a: |\n  ---\n  x\n----\n---x\n")]),
        ("a\n...\n# c\nb\n...\n", [(1, "a\n"), (3, "# c\nb\n")]),
        ("%YAML 1.2\n---\na\n", [(3, "a\n")]),
        ("# c\n%YAML 1.2\n\n---\na\n...\n%TAG ! x:\n---\nb\n", [(5, "a\n"), (9, "b\n")]),
        ("# only words\n---\na\n", [(3, "a\n")]),
        ("\n\na\n---\n\n\nb\n", [(1, "\n\na\n"), (5, "\n\nb\n")]),
    ],
)
def test_a_file_is_split_where_documents_end(text: str, documents: list[tuple[int, str]]) -> None:
    assert list(split(text)) == documents


def test_a_file_of_nothing_but_separators_is_split_within_its_own_size() -> None:
    text = "---\n" * 50_000
    tracemalloc.start()
    try:
        assert list(split(text)) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(text)


@given(st.text("ab-.#% \n", max_size=60))
def test_each_document_stands_at_the_line_that_is_said(text: str) -> None:
    lines = text.split("\n")
    for line, part in split(text):
        count = part.count("\n") + 1
        assert "\n".join(lines[line - 1 : line - 1 + count]).startswith(part)


def test_positions_are_those_of_the_file() -> None:
    text = f"# first\n{service('a')}---\n{service('b', 99999)}"
    _, document = read_documents("f.yaml", text)
    (fault,) = document.faults
    assert str(fault).startswith("f.yaml:16:11: error: spec.ports[0].port: 99999 must be from 1 to 65535")
    assert (fault.kind, fault.namespace, fault.name) == ("Service", "default", "b")


def test_a_syntax_error_has_the_line_of_the_file() -> None:
    _, document = read_documents("f.yaml", f"{service('a')}---\na: b: c\n")
    assert document.unread
    assert str(document.faults[0]).startswith("f.yaml:9:5: error: this is not YAML")


def test_a_key_that_is_written_twice_names_both_lines_of_the_file() -> None:
    _, document = read_documents("f.yaml", f"{service('a')}---\na: 1\nb: 2\na: 3\n")
    (fault,) = document.faults
    assert (fault.line, fault.column) == (11, 1)
    assert fault.message == "the key `a` is written twice, the first time in line 9"


def test_a_key_that_is_written_twice_names_both_lines_when_its_document_moves() -> None:
    broken = "---\na: 1\nb: 2\na: 3\n"
    before = read_documents("f.yaml", f"{service('a')}{broken}")
    for lines in ("", "# one\n", "# one\n# two\n# three\n", ""):
        before = read_documents("f.yaml", f"{lines}{service('a')}{broken}", before)
        (fault,) = before[1].faults
        assert fault.line == 11 + lines.count("\n")
        assert fault.message.endswith(f"the first time in line {9 + lines.count(chr(10))}")
        assert before[1].reading.faults == before[1].faults


def test_an_unchanged_document_is_the_same_object() -> None:
    text = f"{service('a')}---\n{service('b')}"
    before = read_documents("f.yaml", text)
    after = read_documents("f.yaml", text.replace("name: b", "name: c"), before)
    assert after[0] is before[0]
    assert after[1] is not before[1]


def test_a_document_that_moved_keeps_its_object_and_has_its_new_place() -> None:
    warned = service("b").replace("spec:", "sepc: {}\nspec:")
    before = read_documents("f.yaml", f"{service('a')}---\n{warned}")
    after = read_documents("f.yaml", f"# new\n\n{service('a')}---\n---\n{warned}", before)
    (old,), (new,) = before[1].reading.resources, after[1].reading.resources
    assert new.object is old.object
    assert new.position("metadata", "name").line == old.position("metadata", "name").line + 3
    assert [fault.line for fault in before[1].faults] == [13]
    assert [fault.line for fault in after[1].faults] == [16]


def test_twins_are_two_documents() -> None:
    text = f"{service('a')}---\n{service('a')}"
    before = read_documents("f.yaml", text)
    after = read_documents("f.yaml", text, before)
    assert before[0] is after[0]
    assert before[1] is after[1]
    assert before[0] is not before[1]


def test_a_document_that_is_too_large_costs_only_itself() -> None:
    big = f"# {'x' * DOCUMENT_BYTES}\n{service('b')}"
    documents = read_documents("f.yaml", f"{service('a')}---\n{big}---\n{service('c')}")
    assert [[each.name for each in document.reading.resources] for document in documents] == [["a"], [], ["c"]]
    (fault,) = documents[1].faults
    assert (fault.code, fault.line) == ("document_too_large", 9)
    assert "at most 1 MiB" in fault.message


def test_json_has_no_separators_and_its_own_rules() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "Service",\n\t"metadata": {"name": "a\\n---\\n"}, "spec": {"clusterIP": "None"}}'
    )
    (document,) = read_documents("F.JSON", text)
    (fault,) = document.faults
    assert (fault.line, fault.column) == (2, 23)
    (bad,) = read_documents("f.json", "{'a': 1}")
    assert bad.faults[0].code == "json_syntax"


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("kind: Ingress\nmetadata:\n  name: a\n  namespace: n\nspec: [", Key("Ingress", "n", "a")),
        ("metadata:\n  labels:\n    app: x\n\n  name: 'a'\nkind: \"Service\"\nspec: {", Key("Service", "default", "a")),
        ("kind: IngressClass\nmetadata:\n  name: a\nspec: {", Key("IngressClass", "", "a")),
        ("kind: Ingress\nspec:\n  name: [", None),
        ("kind: Ingress\nmetadata:\n  labels: {\n", None),
        ("metadata:\n  name: [", None),
    ],
)
def test_a_text_that_is_not_yaml_may_still_tell_its_name(text: str, guess: Key | None) -> None:
    (document,) = read_documents("f.yaml", text)
    assert document.unread
    assert document.guess == guess


def test_what_compile_asks_the_line_of_is_marked_in_yaml() -> None:
    path = "{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 1}}}}"
    spec = f"spec: {{rules: [{{http: {{paths: [{path}]}}}}]}}"
    text = f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a}}\n{spec}\n"
    (document,) = read_documents("f.yaml", text)
    (resource,) = document.served
    loc = ("spec", "rules", 0, "http", "paths", 0)
    assert resource.origin.marks == {loc: (4, 32)}
    assert resource.position(*loc) == (4, 32)


def test_separators_are_whole_lines() -> None:
    text = "a: 1\n--- # one\nb: |\n  x\n  ---\n---x: 1\n...\nc: ...\n----\n---"
    assert [(line, part.splitlines()[0]) for line, part in split(text)] == [(1, "a: 1"), (3, "b: |"), (8, "c: ...")]
