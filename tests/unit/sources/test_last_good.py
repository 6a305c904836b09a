from __future__ import annotations

import pytest

from ingressd.sources.documents import Document, read_documents
from ingressd.sources.last_good import keep_last_good


def service(name: str, port: int | str = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def listed(*names: str, broken: str = "") -> str:
    items = [
        f"- apiVersion: v1\n  kind: Service\n  metadata: {{name: {name}}}\n"
        f"  spec: {{ports: [{{port: {0 if name == broken else 80}}}]}}\n"
        for name in names
    ]
    return "apiVersion: v1\nkind: List\nitems:\n" + "".join(items)


def joined(*documents: str) -> str:
    return "---\n".join(documents)


def edited(*texts: str) -> tuple[Document, ...]:
    """The documents after each of these edits."""
    documents: tuple[Document, ...] = ()
    for text in texts:
        documents = keep_last_good(documents, read_documents("f.yaml", text, documents))
    return documents


def served(documents: tuple[Document, ...]) -> list[str]:
    return sorted(resource.name for document in documents for resource in document.served)


ABC = joined(service("a"), service("b"), service("c"))


@pytest.mark.parametrize(
    ("after", "names"),
    [
        (joined(service("a"), service("b", 0), service("c")), "abc"),
        (joined(service("a"), service("b", "[1"), service("c")), "abc"),
        (joined(service("a"), service("b", "{"), service("c", 0)), "abc"),
        (joined(service("b", 0), service("c"), service("a")), "abc"),
        # One is broken, another is deleted.
        (joined(service("a", 0), service("b")), "ab"),
        (joined(service("b"), service("c", 0)), "bc"),
        (joined(service("a"), service("c", "[1")), "ac"),
        (joined(service("a", "[1"), service("c")), "ac"),
        # A new one that is broken takes nothing.
        (joined(service("a"), service("new", 0), service("b"), service("c")), "abc"),
        # A name that is new where one is missing: it may be that one.
        (joined(service("a"), service("new", "[1"), service("c")), "abc"),
        # Nobody can tell the name: the place tells it.
        (joined(service("a"), "kind: [\n", service("c")), "abc"),
        (joined(service("a"), service("b").replace("name: b", "nmae: b"), service("c")), "abc"),
        (joined(service("a"), service("b").replace("kind", "knd"), service("c")), "abc"),
        (joined(service("a").replace("kind", "\tknd"), service("b")), "ab"),
        # Whole documents only: the others are gone.
        (service("a"), "a"),
        (joined(service("b"), service("x")), "bx"),
        ("", ""),
    ],
)
def test_what_broke_is_served_as_it_was(after: str, names: str) -> None:
    assert served(edited(ABC, after)) == sorted(names)


@pytest.mark.parametrize("length", range(1, len(ABC)))
def test_a_file_that_is_being_written_loses_nothing_where_its_end_can_be_seen(length: int) -> None:
    documents = edited(ABC, ABC[:length])
    cut = any(document.unread or document.reading.broken for document in documents)
    if cut and not ABC[:length].endswith("\n"):
        assert served(documents) == ["a", "b", "c"]
    assert served(keep_last_good(documents, read_documents("f.yaml", ABC, documents))) == ["a", "b", "c"]


def test_the_fault_says_that_it_is_served_as_before() -> None:
    documents = edited(
        ABC, ABC.replace("name: b\nspec:\n  ports:\n  - port: 80", "name: b\nspec:\n  ports:\n  - port: 0")
    )
    (fault,) = documents[1].faults
    assert fault.message == "spec.ports[0].port: 0 must be from 1 to 65535; it is served as it was before"
    assert (fault.kind, fault.namespace, fault.name) == ("Service", "default", "b")


def test_the_fault_of_a_syntax_error_names_what_is_served() -> None:
    documents = edited(ABC, joined(service("a"), service("b", "[1"), service("c")))
    (fault,) = documents[1].faults
    assert (fault.kind, fault.namespace, fault.name) == ("Service", "default", "b")
    assert fault.message.endswith("; it is served as it was before")


def test_at_start_there_is_no_last_good_version() -> None:
    documents = edited(joined(service("a", 0), service("b", "[1")))
    assert served(documents) == []
    assert not any("served" in fault.message for document in documents for fault in document.faults)


def test_it_is_kept_through_edits_as_long_as_it_is_broken() -> None:
    whole, broken = joined(service("a"), service("b")), joined(service("a"), service("b", 0))
    documents = edited(
        whole, broken, joined(service("a", 81), service("b", 0)), joined(service("a", 82), service("b", -1))
    )
    (kept,) = documents[1].kept
    assert kept.object.spec.ports[0].port == 80  # type: ignore[union-attr]
    assert documents[1].faults[0].message.endswith("served as it was before")
    assert edited(whole, broken, service("a"))[0].served[0].name == "a"
    assert served(edited(whole, broken, service("a"))) == ["a"]
    assert served(edited(whole, broken, whole)) == ["a", "b"]
    assert edited(whole, broken, whole)[1].kept == ()


def test_an_unchanged_document_that_is_broken_stays_the_same_object() -> None:
    before = edited(ABC, joined(service("a"), service("b", 0), service("c")))
    after = keep_last_good(
        before, read_documents("f.yaml", joined(service("a", 81), service("b", 0), service("c")), before)
    )
    assert after[1] is before[1]


def test_a_kept_object_gives_way_to_a_whole_one_in_the_same_file() -> None:
    broken = joined(service("a", "[1"), service("b"))
    documents = edited(joined(service("a"), service("b")), broken, joined(broken, service("a", 81)))
    assert served(documents) == ["a", "b"]
    assert documents[0].kept == ()
    assert "served" not in documents[0].faults[0].message


def test_a_list_is_all_its_objects() -> None:
    whole = listed("x", "y", "z")
    documents = edited(whole, listed("x", "y", "z", broken="y"))
    assert served(documents) == ["x", "y", "z"]
    documents = edited(whole, listed("x", "y", broken="y"))
    assert served(documents) == ["x", "y"]
    documents = edited(joined(whole, service("a")), joined(whole[:-5] + "\n", service("a")))
    assert served(documents) == ["a", "x", "y", "z"]
    assert documents[0].faults[0].message.endswith("; 3 objects are served as they were before")
