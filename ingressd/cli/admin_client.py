"""A question to the admin port of a running ingressd.

In: its URL, a page, a token. Out: the JSON that it answers, or one line and exit code 2. No proxy of the environment is
used and no redirect followed: the token is for whom the user named.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingressd.cli.console import fail
from ingressd.cli.setting_flags import PREFIX

ADMIN_URL = "http://127.0.0.1:9080"
TOKEN_VARIABLE = PREFIX + "ADMIN_TOKEN"
TOKEN_FILE_VARIABLE = PREFIX + "ADMIN_TOKEN_FILE"
TIMEOUT_S = 30.0
"""The longest answers take some seconds: tables of 50,000 Services."""


def read_token(file: str | None, environ: Mapping[str, str]) -> str:
    """The token of a file that was named, else that of the environment; empty = none."""
    path = file or environ.get(TOKEN_FILE_VARIABLE, "")
    token = environ.get(TOKEN_VARIABLE, "")
    if token and not file:
        return token
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError as problem:
        fail(f"{path}: the admin token cannot be read: {problem.strerror}")
    except UnicodeDecodeError:
        fail(f"{path}: there is no admin token in this file: it is not ASCII text")


def ask_admin(url: str, page: str, token: str = "") -> Any:
    """What the page answers. Fails in one line when there is no answer, or another one than JSON."""
    import json
    import urllib.error
    import urllib.request

    class Straight(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    where = _checked(url)
    request = urllib.request.Request(where + page)  # noqa: S310 - http or https, see _checked
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Straight)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as answer:
        answer.close()
        if answer.code in (401, 403):
            fail(f"{where} demands its token: name its file with --admin-token-file, or set {TOKEN_VARIABLE}")
        fail(f"{where} answers {answer.code} to {page}: is that the admin port of an ingressd?")
    except ValueError:
        fail(f"{where} answers with something else than JSON: is that the admin port of an ingressd?")
    except OSError as problem:
        reason = getattr(problem, "reason", problem)
        words = getattr(reason, "strerror", None) or str(reason)
        fail(f"{where} cannot be asked ({words}): is ingressd running, and is that its --admin-port?")


def _checked(url: str) -> str:
    whole = url if "://" in url else f"http://{url}"
    if not whole.startswith(("http://", "https://")) or any(not " " < character <= "~" for character in whole):
        fail(f"{url}: not the URL of an admin port, such as {ADMIN_URL}")
    return whole.rstrip("/")
