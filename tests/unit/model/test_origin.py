from __future__ import annotations

import pytest

from ingressd.model.origin import Origin, Position

YAML = """\
# a comment
metadata:
  name: web
spec:
  rules:
  - host: a.com
    http: {paths: [{path: /a}, {path: /b}]}
  - host: "b.com"
"""


@pytest.mark.parametrize(
    ("loc", "position"),
    [
        ((), (2, 1)),
        (("metadata",), (2, 1)),
        (("metadata", "name"), (3, 9)),
        (("metadata", "namespace"), (2, 1)),
        (("spec", "rules"), (5, 3)),
        (("spec", "rules", 0), (6, 5)),
        (("spec", "rules", 0, "host"), (6, 11)),
        (("spec", "rules", 0, "http", "paths", 1, "path"), (7, 39)),
        (("spec", "rules", 0, "http", "paths", 1, "pathType"), (7, 32)),
        (("spec", "rules", 1, "host"), (8, 11)),
        (("spec", "rules", 5, "host"), (5, 3)),
        (("none", 0, "x"), (2, 1)),
    ],
)
def test_a_value_stands_where_it_is_written(loc: tuple[str | int, ...], position: tuple[int, int]) -> None:
    assert Origin("f.yaml", 1, YAML).position(loc) == position
    assert Origin("f.yaml", 11, YAML).position(loc) == (position[0] + 10, position[1])


def test_json_with_tabs_has_positions() -> None:
    assert Origin("f.json", 1, '{\n\t"a": {\n\t\t"b": 1}}').position(("a", "b")) == Position(3, 8)


def test_a_text_without_nodes_stands_at_its_beginning() -> None:
    assert Origin("f.yaml", 7, "a: [").position(("a",)) == Position(7, 1)
    assert Origin("f.yaml", 7, "# nothing\n").position() == Position(7, 1)


def test_the_text_is_not_shown() -> None:
    assert "hunter2" not in repr(Origin("f.yaml", 1, "password: hunter2"))
