"""What scripts/e2e-docker checks, from the compose file's first `up` to its last `down`.

    python scripts/e2e_docker_checks.py docker compose

In: a compose command, an engine at DOCKER_HOST whose published ports are on this network's loopback, and a copy of the
checkout as the working directory, which is edited. Out: one line a check, exit code 1 at the first that fails.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.examples.console_blocks import Command, blocks

HTTP = ("127.0.0.1", 8080)
ADMIN = ("127.0.0.1", 9080)
HEALTHY_S = 90
"""Start of the containers, first answers of DNS, and the interval of the health check."""
LIVE_S = 30
"""An edit, or a change of what DNS answers: many times what it takes, for loaded machines."""
TICK_S = 0.1
"""Between the events of the stream that must survive edits."""
LAST_TICKS = 6
LAST_TICK_S = 1
"""The stream that is in flight when the proxy is told to stop: far longer than stopping without a drain takes."""
DRAIN_S = 25
"""The default of --drain-timeout."""
POLL_S = 0.2
USER = "10001"
NOT_IN_THE_IMAGE = "discovery-plugin"
"""A story that installs a package of its own beside ingressd."""
NOT_TYPED = frozenset({NOT_IN_THE_IMAGE, "services"})
"""And one that asks the name server and the virtual addresses, which the container does not have."""
SCALED = 3

Found = TypeVar("Found")


class CheckError(Exception):
    """A check that does not hold, in one line."""


class Compose:
    """The compose file of the working directory, and the containers it makes."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def __call__(self, *arguments: str) -> str:
        return run(*self._command, *arguments)

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of one service."""
        return self("ps", "--quiet", service).split()

    def proxy(self) -> str:
        """The id of the proxy's container."""
        found = self.containers("ingressd")
        if len(found) != 1:
            raise CheckError(f"there are {len(found)} containers of ingressd")
        return found[0]


def run(*command: str) -> str:
    """Run it; its standard output. Raises CheckError with all it printed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise CheckError(
            f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


def inspect(container: str, path: str) -> Any:
    """One field of `docker inspect`."""
    return json.loads(run("docker", "inspect", "--format", f"{{{{json {path}}}}}", container))


@contextmanager
def check(what: str) -> Iterator[None]:
    """Say how it went."""
    began = time.monotonic()
    try:
        yield
    except CheckError as failure:
        raise CheckError(f"{what}: FAILED: {failure}") from failure
    print(f"e2e: {what}: ok ({time.monotonic() - began:.1f} s)", flush=True)


def until(found: Callable[[], Found | None], what: str, within_s: float = LIVE_S) -> Found:
    """What `found` returns once it is neither None nor False. Connections that fail meanwhile are part of the wait."""
    deadline = time.monotonic() + within_s
    while True:
        problem = "not yet so"
        try:
            answer = found()
        except (OSError, http.client.HTTPException) as error:
            problem = repr(error)
        else:
            if answer is not None and answer is not False:
                return answer
        if time.monotonic() > deadline:
            raise CheckError(f"{what}: {problem} after {within_s} s")
        time.sleep(POLL_S)


def get(host: str, path: str, address: tuple[str, int] = HTTP) -> tuple[int, str]:
    """One request over a connection of its own: status and body."""
    with closing(http.client.HTTPConnection(*address, timeout=LIVE_S)) as connection:
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()


def admin(path: str) -> Any:
    """One page of the admin API."""
    status, body = get("localhost", path, ADMIN)
    if status != 200:
        raise CheckError(f"GET {path} of the admin API: {status} {body}")
    return json.loads(body)


def pools() -> list[dict[str, Any]]:
    """Each Service port that a route leads to, with its endpoints."""
    return [pool for service in of_the_image("services") for pool in service["pools"]]


def of_the_image(page: str) -> list[dict[str, Any]]:
    return [row for row in admin(f"/api/v1/{page}") if NOT_IN_THE_IMAGE not in (row.get("file") or "")]


def answers(host: str, app: str) -> bool:
    """Whether `app` is what answers for `host`."""
    status, body = get(host, "/")
    return status == 200 and json.loads(body)["app"] == app


def instance() -> str | None:
    """The instance of the fleet that answers the next request; None for any other answer."""
    status, body = get("fleet.localhost", "/")
    return json.loads(body)["instance"] if status == 200 else None


class Ticks:
    """An event stream that is open: one request in flight."""

    def __init__(self, query: str) -> None:
        self._connection = http.client.HTTPConnection(*HTTP, timeout=LIVE_S)
        self._connection.request("GET", f"/events?{query}", headers={"Host": "live.localhost"})
        self._response = self._connection.getresponse()
        if self._response.status != 200:
            raise CheckError(f"the event stream began with {self._response.status}")

    def next(self) -> int | None:
        """The next tick, None at the end of the stream."""
        try:
            line = self._response.readline()
            while line == b"\n":
                line = self._response.readline()
        except (OSError, http.client.HTTPException) as error:
            raise CheckError(f"the event stream broke: {error!r}") from error
        return int(json.loads(line.removeprefix(b"data: "))["tick"]) if line else None

    def close(self) -> None:
        self._connection.close()


def the_image_and_its_container(compose: Compose) -> None:
    with check("docker compose up --detach --build, offline"):
        compose("up", "--detach", "--build")
    proxy = compose.proxy()
    with check("HEALTHCHECK becomes healthy"):
        until(lambda: healthy(proxy), "the health check", HEALTHY_S)
    with check(f"runs as user {USER}, without capabilities, ingressd as PID 1"):
        status = run("docker", "exec", proxy, "cat", "/proc/1/status", "/proc/1/cmdline")
        for line in (f"Uid:\t{USER}", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"):
            if line not in status:
                raise CheckError(f"no {line!r} in:\n{status}")
        if "ingressd" not in status.splitlines()[-1]:
            raise CheckError(f"PID 1 is {status.splitlines()[-1]!r}")
    with check("the root file system is read-only, even for root"):
        try:
            run("docker", "exec", "--user", "0", proxy, "touch", "/written")
        except CheckError as refusal:
            if "Read-only file system" not in str(refusal):
                raise
        else:
            raise CheckError("a file could be written")


def certificates_without_python(compose: Compose) -> None:
    """As certs/README.md says, in a folder that has none yet."""
    with tempfile.TemporaryDirectory() as folder, check("the image makes the certificates, for hosts without Python"):
        shutil.copytree("examples", f"{folder}/examples")
        owner, mount = f"{os.getuid()}:{os.getgid()}", f"{folder}:/checkout"
        once = ("run", "--rm", "--no-deps", "-T", "--user", owner, "--volume", mount, "--workdir", "/checkout")
        compose(*once, "ingressd", "demo", "--certs-only")
        for name in ("ca.crt", "ca.key", "proxy/examples.crt", "proxy/examples.key", "proxy/secrets.yaml"):
            if not Path(folder, "certs", name).is_file():
                raise CheckError(f"there is no certs/{name}")


def healthy(container: str) -> bool:
    state = inspect(container, ".State")
    if not state["Running"]:
        raise CheckError(f"the container ended, exit code {state['ExitCode']}")
    return bool(state["Health"]["Status"] == "healthy")


def the_stories(compose: Compose, programs: Path) -> None:
    with check(f"--scale fleet={SCALED}: DNS finds all of them, without a restart"):
        compose("up", "--detach", "--no-recreate", "--scale", f"fleet={SCALED}")
        seen: set[str] = set()

        def all_seen() -> bool:
            found = instance()
            if found is not None:
                seen.add(found)
            return len(seen) == SCALED

        until(all_seen, f"{SCALED} instances")
    with check("every Service has endpoints, and no manifest has an error"):
        until(lambda: all(fault["severity"] != "error" for fault in of_the_image("faults")), "no errors")
        until(lambda: all(pool["endpoints"] for pool in pools()), "endpoints")
    root = Path.cwd()
    for story in sorted(root.glob("examples/*/README.md")):
        if story.parent.name not in NOT_TYPED:
            commands = [command for block in blocks(root, story) for command in block.commands]
            commands = [command for command in commands if not command.text.startswith("docker compose")]
            with check(f"the {len(commands)} commands of examples/{story.parent.name}"):
                for command in commands:
                    type_it(command, programs)


def type_it(command: Command, programs: Path) -> None:
    """Run a documented command; its output must have the documented fragments in their order.

    What curl shows may depend on an edit of the command before it: it is asked again until the edit is live.
    """
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    deadline = time.monotonic() + (LIVE_S if command.text.startswith("curl") else 0)
    while True:
        done = subprocess.run(
            ["bash", "-c", command.text],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        missing = first_missing(command, done.stdout)
        if not done.returncode and missing is None:
            return
        if time.monotonic() >= deadline:
            raise CheckError(
                f"{command}: $ {command.text}\nexit code {done.returncode}, no {missing!r} in:\n{done.stdout}"
            )
        time.sleep(POLL_S)


def first_missing(command: Command, printed: str) -> str | None:
    """The first documented fragment that was not printed behind those before it."""
    place = 0
    for fragment in command.fragments:
        # Between containers a client and an instance have other addresses than on one machine.
        wanted = fragment if "http" in fragment else fragment.partition("127.0.0.1")[0]
        found = printed.find(wanted, place)
        if found < 0:
            return wanted
        place = found + len(wanted)
    return None


def edits_of_a_mounted_manifest() -> None:
    manifest = Path("examples/host-rules/ingress.yaml")
    original = manifest.read_text()
    edited = original.replace("shop.localhost", "store.localhost")
    began = time.monotonic()
    stream = Ticks(f"interval={TICK_S}")
    generation = admin("/api/v1/status")["generation"]
    with check("a manifest that is written over on the host goes live"):
        manifest.write_text(edited)
        until(lambda: answers("store.localhost", "shop") and answers("shop.localhost", "welcome"), "the edit")
        until(lambda: admin("/api/v1/status")["generation"] > generation, "the next generation")
    with check("a manifest that is replaced by rename on the host goes live"):
        beside = manifest.with_name("ingress.yaml~")
        beside.write_text(original)
        beside.replace(manifest)
        until(lambda: answers("shop.localhost", "shop") and answers("store.localhost", "welcome"), "the edit")
    with check("an event stream opened before the edits goes on"):
        # Ticks that were sent by now may lie in buffers; the last of these are sent later.
        ticks = list(range(1, int((time.monotonic() - began) / TICK_S) + 10))
        received = [stream.next() for _ in ticks]
        if received != ticks:
            raise CheckError(f"its ticks: {received}")
        stream.close()


def an_instance_is_killed(compose: Compose) -> None:
    with check("an instance is killed: once it is noticed, no request fails"):
        victim, *_ = compose.containers("fleet")
        networks = inspect(victim, ".NetworkSettings.Networks")
        address = next(iter(networks.values()))["IPAddress"]
        run("docker", "kill", victim)
        until(lambda: address not in json.dumps(admin("/api/v1/services")), f"{address} is an endpoint no more")
        seen = [instance() for _ in range(60)]
        if None in seen or len(set(seen)) != SCALED - 1:
            raise CheckError(f"60 requests were answered by {sorted(map(str, set(seen)))}")
    with check("it is started again, and found again"):
        compose("up", "--detach", "--no-recreate", "--scale", f"fleet={SCALED}")
        until(lambda: len({instance() for _ in range(12)} - {None}) == SCALED, f"{SCALED} instances")


def the_end(compose: Compose) -> None:
    proxy = compose.proxy()
    with check("docker stop lets a request in flight end, exit code 0"):
        stream = Ticks(f"count={LAST_TICKS}&interval={LAST_TICK_S}")
        ticks = [stream.next()]
        began = time.monotonic()
        with subprocess.Popen(["docker", "stop", "--time", "60", proxy], stdout=subprocess.DEVNULL) as stop:
            while ticks[-1] is not None:
                ticks.append(stream.next())
            stream.close()
            if stop.wait(90):
                raise CheckError(f"docker stop: exit code {stop.returncode}")
        took_s = time.monotonic() - began
        if ticks != [*range(1, LAST_TICKS + 1), None]:
            raise CheckError(f"the ticks were {ticks}")
        if inspect(proxy, ".State.ExitCode") != 0 or took_s > DRAIN_S:
            raise CheckError(f"exit code {inspect(proxy, '.State.ExitCode')} after {took_s:.1f} s")
    with check("docker compose down leaves nothing"):
        compose("down")
        left = run("docker", "ps", "--all", "--quiet").split()
        if left:
            raise CheckError(f"there are still {left}")


def main() -> None:
    compose = Compose(sys.argv[1:])
    try:
        the_image_and_its_container(compose)
        certificates_without_python(compose)
        the_stories(compose, Path(sys.executable).parent)
        edits_of_a_mounted_manifest()
        an_instance_is_killed(compose)
        the_end(compose)
    except CheckError as failure:
        print(f"e2e: {failure}", file=sys.stderr)
        logged = compose("logs", "--no-color", "ingressd").splitlines()
        print("\n".join([line for line in logged if '"request_id"' not in line][-40:]), file=sys.stderr)
        sys.exit(1)
    print("e2e: all checks passed", flush=True)


if __name__ == "__main__":
    main()
