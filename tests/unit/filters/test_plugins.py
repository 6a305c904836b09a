"""Plug-ins: how Ingresses name them, how they are found, and that what they raise costs one request."""

from __future__ import annotations

import logging
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingressd.errors import LocalReply, StartupError
from ingressd.filters import plugins
from ingressd.filters.base import Request, Response, Site, Unusable
from ingressd.proxy.response import OutgoingResponse
from tests.support.asked import asked

SITE = Site("a.test", tls=False, https=False, https_redirect_port=443)
PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"
EXAMPLE = Path(__file__).parents[3] / "examples" / "plugins" / "office_hours.py"
CODE = """
from ingressd.errors import LocalReply, Reason

class Greeter:
    def __init__(self, word="hello"):
        self.word = word
    def on_request(self, request):
        request.set_header("X-Word", self.word)
    def on_response(self, request, response):
        response.set_header("X-Word", self.word)

class Broken:
    def on_request(self, request):
        raise KeyError("secret")

class Waiter:
    async def on_request(self, request):
        if request.header("x-refuse"):
            return LocalReply(403, Reason.PLUGIN, "refused")
        if request.header("x-break"):
            raise ValueError("later")

class Odd:
    def on_request(self, request):
        return "no"

class Constant:
    constant = True
    def on_response(self, request, response):
        response.set_header("X-Own", "1")

FILTERS = {"constant": Constant, "greeter": Greeter, "broken": Broken, "waiter": Waiter, "odd": Odd, "nothing": object}
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[None]:
    file = tmp_path / "mine.py"
    file.write_text(dedent(CODE))
    plugins.load([str(file)])
    yield
    plugins.load([])


def built(text: str) -> Any:
    return plugins.SPEC.build({"filters": plugins.calls(text)}, SITE)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("one", (("one", ()),)),
        ("one()", (("one", ()),)),
        ("one(a=1)", (("one", (("a", "1"),)),)),
        ("one(a=1, b='x, y'), two ; three(c=\"d=e\")", (
            ("one", (("a", "1"), ("b", "x, y"))),
            ("two", ()),
            ("three", (("c", "d=e"),)),
        )),
        ("office-hours(opens=8)", (("office-hours", (("opens", "8"),)),)),
        ("one(a=)", (("one", (("a", ""),)),)),
    ],
)  # fmt: skip
def test_plug_ins_are_named_with_their_options(text: str, calls: Any) -> None:
    assert plugins.calls(text) == calls


@pytest.mark.parametrize("text", ["", ",", "one(", "one(a)", "one(=1)", "one two", "1one", "one(a=1))", "one(a='x)"])
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        plugins.calls(text)


@given(st.text(alphabet="ab(=,'\") ;"))
def test_any_text_is_calls_or_is_refused(text: str) -> None:
    try:
        found = plugins.calls(text)
    except ValueError:
        return
    assert all(name for name, _ in found)


@pytest.mark.usefixtures("loaded")
def test_a_plug_in_changes_requests_and_responses() -> None:
    made = built("greeter(word=moin)")
    request = asked()
    assert made.on_request(request) is None
    assert request.sent["x-word"] == "moin"
    response = OutgoingResponse(200, (), "", "")
    assert made.on_response(request, response) is None
    assert response.header("x-word") == "moin"
    assert str(made) == "plug-ins: greeter(word=moin)"


@pytest.mark.usefixtures("loaded")
def test_what_a_plug_in_raises_is_a_500_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    made = built("broken")
    with caplog.at_level(logging.ERROR, "ingressd.plugins"):
        replies = [made.on_request(asked()) for _ in range(3)]
    assert all(isinstance(reply, LocalReply) for reply in replies)
    assert {(reply.status, str(reply.reason)) for reply in replies} == {(500, "plugin_error")}
    assert "secret" not in replies[0].detail
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info


@pytest.mark.usefixtures("loaded")
async def test_a_plug_in_may_wait() -> None:
    made = built("waiter, greeter")
    request = asked()
    assert await made.on_request(request) is None
    assert request.sent["x-word"] == "hello"
    assert (await made.on_request(asked(headers={"X-Refuse": "1"}))).status == 403
    assert (await made.on_request(asked(headers={"X-Break": "1"}))).reason == "plugin_error"


@pytest.mark.usefixtures("loaded")
def test_an_answer_that_is_none_is_a_500() -> None:
    assert built("odd").on_request(asked()).reason == "plugin_error"


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("absent", "there is no plug-in absent"),
        ("greeter(color=red)", "does not take these options"),
        ("nothing", "without on_request and on_response"),
    ],
)
def test_a_plug_in_that_cannot_be_used_closes_the_route(text: str, message: str) -> None:
    with pytest.raises(Unusable, match=message) as problem:
        built(text)
    assert problem.value.annotation == "filters"
    assert plugins.SPEC.annotations[0].guard


@pytest.mark.parametrize(
    "code", ["", "FILTERS = {}", "FILTERS = {'a': 1}", "raise SystemExit(3)", "import nowhere_at_all"]
)
def test_a_file_that_gives_no_filters_stops_the_start(tmp_path: Path, code: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(StartupError, match=str(file)):
        plugins.load([str(file)])
    plugins.load([])


def test_the_example_of_the_documents_is_one() -> None:
    plugins.load([str(EXAMPLE)])
    try:
        open_all_day, closed = built("office-hours(opens=0, closes=24)"), built("office-hours(opens=0, closes=0)")
        assert open_all_day.on_request(asked()) is None
        assert closed.on_request(asked()).status == 403
        response = OutgoingResponse(200, (), "", "")
        open_all_day.on_response(asked(), response)
        assert response.header("x-opening-hours") == "0-24"
    finally:
        plugins.load([])


def test_the_page_shows_the_example_and_code_that_works() -> None:
    whole, part = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert whole == EXAMPLE.read_text().partition('"""\n\n')[2]
    made: dict[str, Any] = {}
    exec(part, made)
    response = OutgoingResponse(200, (b"x-site: other\r\n",), "", "")
    made["Labels"]().on_response(asked(), response)
    assert response.fields.pairs() == [("X-Site", "shop"), ("X-Frame-Options", "DENY")]


def test_the_page_names_everything_that_a_request_and_a_response_offer() -> None:
    text = PAGE.read_text()
    for protocol in (Request, Response):
        offered = {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}
        unnamed = {name for name in offered if not re.search(rf"[`.]{name}\b", text)}
        assert unnamed - {"forwarded_lines", "preferred"} == set()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with two plug-ins, of which one cannot be imported."""
    (tmp_path / "shop_filters.py").write_text(dedent(CODE))
    about = tmp_path / "shop_filters-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-filters\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[ingressd.filters]\nshop = shop_filters:Greeter\nlost = shop_lost:Lost\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.load([])
    yield
    sys.modules.pop("shop_filters", None)
    monkeypatch.undo()
    plugins.load([])


@pytest.mark.usefixtures("package")
def test_what_is_installed_is_imported_with_the_first_route_that_has_plug_ins(caplog: pytest.LogCaptureFixture) -> None:
    assert "shop_filters" not in sys.modules
    sent = pickle.dumps(built("shop"))
    assert "the filter lost (shop_lost:Lost) is left out" in caplog.text
    sys.modules.pop("shop_filters")
    plugins.load([])
    assert pickle.loads(sent) == plugins.Plugins((("shop", ()),))
    assert "shop_filters" in sys.modules


@pytest.mark.usefixtures("package")
def test_a_file_counts_before_what_is_installed(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("FILTERS = {'shop': object}")
    plugins.load([str(file)])
    with pytest.raises(Unusable, match="without on_request and on_response"):
        built("shop")


@pytest.mark.usefixtures("loaded")
def test_plug_ins_are_constant_when_all_that_see_responses_are() -> None:
    assert built("constant, waiter").constant
    assert not built("constant, greeter").constant
