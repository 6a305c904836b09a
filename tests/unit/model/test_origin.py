from __future__ import annotations

import sys
from types import FrameType

import pytest
import yaml

from ingressd.model.origin import Origin, Position, marks
from ingressd.model.shape import Loc

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


LISTED = """\
apiVersion: v1
kind: List
items:
- spec:
    defaultBackend:
      service: {name: web}
- spec: {rules: [{http: {paths: [{path: /}]}}]}
"""


@pytest.mark.parametrize(
    ("text", "locs"),
    [
        (YAML, [("spec", "rules", 0, "http", "paths", 0), ("spec", "rules", 0, "http", "paths", 1)]),
        (LISTED, [("items", 0, "spec", "defaultBackend"), ("items", 1, "spec", "rules", 0, "http", "paths", 0)]),
        ("spec: {rules: {http: {paths: [1]}}}", []),
        ("spec: [1, 2]", []),
        ("- 1", []),
    ],
)
def test_a_mark_is_the_position_that_would_be_found(text: str, locs: list[Loc]) -> None:
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    assert root is not None
    found = marks(root, text)
    assert list(found) == locs
    assert found == {loc: Origin("f.yaml", 1, text).position(loc) for loc in locs}


ODD = """\
a: "x\u2028y\u2029z\x85"  # é\u2028
spec:
  rules:
  - http:
      paths:
      - path: "/\u2028"
      - path: /b
"""


def test_only_what_ends_a_line_in_an_editor_counts() -> None:
    paths: Loc = ("spec", "rules", 0, "http", "paths")
    origin = Origin("f.yaml", 1, ODD)
    assert origin.position(("spec",)) == Position(2, 1)
    assert origin.position((*paths, 1)) == Position(7, 7 + 2)
    root = yaml.compose(ODD, Loader=yaml.CSafeLoader)
    assert root is not None
    assert marks(root, ODD) == {(*paths, index): origin.position((*paths, index)) for index in range(2)}


def test_columns_count_from_the_line_that_an_editor_shows() -> None:
    assert Origin("f.yaml", 1, '{a: "x\u2028y", b: 1}').position(("b",)) == Position(1, 15)


def test_a_mark_is_believed_and_moves_with_its_document() -> None:
    origin = Origin("f.yaml", 11, "a: 1\n", {("a",): Position(2, 5)})
    assert origin.position(("a",)) == Position(12, 5)
    assert origin.position(("b",)) == Position(11, 1)
    assert origin == Origin("f.yaml", 11, "a: 1\n")


def test_many_mistakes_in_one_mapping_cost_no_more_steps_each() -> None:
    def steps(keys: int) -> int:
        """Calls that it takes to find all of them."""
        origin = Origin("f.yaml", 1, "data:\n" + "".join(f"  k{number}: x\n" for number in range(keys)))
        calls = 0

        def count(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            found = [origin.position(("data", f"k{number}")).line for number in range(keys)]
        finally:
            sys.setprofile(None)
        assert found == [*range(2, keys + 2)]
        return calls

    assert steps(400) < 3 * steps(200)


def test_of_a_key_that_is_written_twice_the_first_counts() -> None:
    assert Origin("f.yaml", 1, "a:\n  b: 1\n  b: 2\n").position(("a", "b")) == Position(2, 6)
