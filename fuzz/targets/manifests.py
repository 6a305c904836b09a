"""Manifests: any text is documents, resources and faults, each fault within the file; and is read again the same.

In: a byte of choices, then a text: YAML, or JSON.
"""

from __future__ import annotations

from ingressd.model.resource_set import ResourceSet
from ingressd.sources.contents import text_of
from ingressd.sources.documents import Document, read_documents
from ingressd.sources.yaml_values import Refused

WORDS = (
    b"---\n", b"...\n", b"apiVersion: v1\n", b"kind: Service\n", b"kind: Ingress\n", b"metadata:\n  name: a\n",
    b"spec:\n", b"apiVersion: networking.k8s.io/v1\n", b"kind: List\nitems:\n- ", b"&a ", b"*a", b"<<: *a\n",
    b"!!str ", b"!!binary ", b"{", b"}", b"[", b"]", b": ", b"- ", b"? ", b"| \n", b">-\n", b'"', b"'", b"\\x07",
    b"\t", b"#", b"%YAML 1.2\n", b"~", b"1e999", b"0x1f", b"0o7", b".inf", b"2026-01-01", b"null", b"rules:\n",
    b"- host: a\n", b"http:\n", b"paths:\n", b"pathType: Prefix\n", b"backend:\n", b"service:\n", b"port:\n",
    b"number: 80\n", b"ports:\n- port: 80\n", b"\xef\xbb\xbf", b"apiVersion: discovery.k8s.io/v1\n",
    b"kind: EndpointSlice\n", b"endpoints:\n", b"addresses: [10.0.0.1]\n", b"\xc2\x85", b"\xe2\x80\xa8",
    b"kind: Secret\ntype: kubernetes.io/tls\n", b"stringData:\n", b"data:\n  tls.crt: YQ==\n", b"kind: ",
    b"apiVersion: networking.k8s.io/v1beta1\n", b"annotations:\n", b"defaultBackend:\n", b"externalName: a\n",
    b"tls:\n",
)  # fmt: skip

_LINE_ENDS = ("\n", "\x85", "\u2028", "\u2029")
"""As libyaml counts them."""


def check(data: bytes) -> None:
    try:
        choices, text = (data[0], text_of(data[1:])) if data else (0, "")
    except Refused as refused:
        assert refused.code == "file_encoding"
        return
    file = "file.json" if choices & 1 else "file.yaml"
    documents = read_documents(file, text)
    last = sum(map(text.count, _LINE_ENDS)) + 1
    for document in documents:
        for fault in document.faults:
            assert fault.file == file
            assert 1 <= fault.line <= last + 1, (fault, last)  # libyaml misses a mark behind the last line, too
            assert fault.column >= 1, fault
        for resource in document.served:
            assert 1 <= resource.origin.line <= last
            assert resource.place().startswith(file)
    _the_same(read_documents(file, text, documents), documents)
    if file == "file.yaml":
        # Behind a document that is new all others only move.
        moved = f"# one more\na: 1\n---\n{text}"
        if len(read_documents(file, moved)) == len(documents) + 1:
            _the_same(read_documents(file, moved, documents), read_documents(file, moved))
    resources = [resource for document in documents for resource in document.served]
    ResourceSet.of(resources, [fault for document in documents for fault in document.faults])


def _the_same(one: tuple[Document, ...], other: tuple[Document, ...]) -> None:
    assert [_places(document) for document in one] == [_places(document) for document in other]
    assert [document.origin for document in one] == [document.origin for document in other]
    assert [document.guess for document in one] == [document.guess for document in other]
    ours = [(each.key, each.object, each.place()) for document in one for each in document.served]
    assert ours == [(each.key, each.object, each.place()) for document in other for each in document.served]


def _places(document: Document) -> list[tuple[str, int, int]]:
    return [(fault.code, fault.line, fault.column) for fault in document.faults]
