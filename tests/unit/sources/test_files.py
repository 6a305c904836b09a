from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ingressd.model.kinds import Kind
from ingressd.model.resource import Resource
from ingressd.model.resource_set import ResourceSet
from ingressd.sources.contents import read_content
from ingressd.sources.files import FileSource
from ingressd.sources.folders import Listing, list_files


def service(name: str, port: int | str = 80) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n"


def names(found: ResourceSet) -> str:
    return "".join(sorted(name for _, name in found.services))


def port(found: ResourceSet, name: str) -> int:
    return found.services["default", name].object.spec.ports[0].port


def codes(found: ResourceSet) -> list[str]:
    return [fault.code for fault in found.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "d"
    path.mkdir()
    (path / "a.yaml").write_text(service("a"))
    (path / "b.yaml").write_text(service("b"))
    return path


@pytest.fixture
def source(folder: Path) -> FileSource:
    return FileSource((str(folder),))


def test_resources_come_with_the_files_they_stand_in(source: FileSource, folder: Path) -> None:
    found = source.load()
    assert names(found) == "ab"
    assert found.files == 2
    assert found.services["default", "b"].place("spec", "ports", 0, "port") == f"{folder}/b.yaml:7"


def test_nothing_changed_is_the_very_same_set(source: FileSource, folder: Path) -> None:
    found = source.load()
    assert source.load() is found
    (folder / "a.yaml").write_text(service("a"))
    os.utime(folder / "b.yaml", (1, 1))
    (folder / "notes.txt").write_text("x")
    assert source.load() is found
    (folder / "a.yaml").write_text(f"---\n{service('a')}---\n")
    assert source.load() is not found


def test_content_decides_even_when_size_and_times_are_the_same(source: FileSource, folder: Path) -> None:
    path = folder / "a.yaml"
    source.load()
    status = path.stat()
    path.write_text(service("a", 81))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert port(source.load(), "a") == 81


def test_an_edit_leaves_all_other_objects_as_they_are(source: FileSource, folder: Path) -> None:
    before = source.load()
    (folder / "a.yaml").write_text(service("a", 81))
    after = source.load()
    assert port(after, "a") == 81
    assert after.services["default", "b"] is before.services["default", "b"]


def _ingress(name: str, port: str) -> str:
    backend = f"{{service: {{name: a, port: {{number: {port}}}}}}}"
    return (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n"
        f"metadata: {{name: {name}}}\nspec: {{defaultBackend: {backend}}}\n"
    )


def _slice(name: str, service: str, port: str) -> str:
    return (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        f"metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {service}}}}}\nports: [{{port: {port}}}]\n"
    )


def _seen(found: ResourceSet) -> object:
    """All that a set says, in its order."""

    def each(resource: Resource[Kind]) -> object:
        return resource.key, resource.place(), resource.object

    return (
        [each(one) for one in found.ingresses],
        [(name, each(one)) for name, one in found.services.items()],
        [(name, each(one)) for name, one in found.secrets.items()],
        [(name, [each(one) for one in all_]) for name, all_ in found.slices.items()],
        found.faults,
        found.files,
    )


@pytest.mark.parametrize("seed", range(8))
def test_after_any_edits_a_set_says_what_one_that_is_read_anew_says(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    source = FileSource((str(folder),))
    source.load()

    def document() -> tuple[str, int]:
        name = chance.choice("abcd")
        return (
            chance.choice(
                (
                    service(name, "PORT"),
                    _ingress(name, "PORT"),
                    _slice(f"s-{name}", chance.choice("ab"), "PORT"),
                    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{k: vPORT}}\n",
                    f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n",
                )
            ),
            1,
        )

    contents = {path: [(path.read_text(), 0)] for path in folder.iterdir()}
    for number in range(2, 60):
        path = chance.choice([*contents, folder / "c.yaml"])
        documents = contents.setdefault(path, [])
        match chance.randrange(10):
            case 0 if len(contents) > 1:
                path.unlink(missing_ok=True)
                del contents[path]
            case 1:
                documents.insert(chance.randrange(len(documents) + 1), document())
            case 2 if documents:
                documents.pop(chance.randrange(len(documents)))
            case 3 if documents:
                documents[0] = f"# a remark\n{documents[0][0]}", documents[0][1]
            case 4 if documents:
                documents[chance.randrange(len(documents))] = document()
            case _ if documents:
                place = chance.randrange(len(documents))
                documents[place] = documents[place][0], number
            case _:
                documents.append(document())
        if path in contents:
            path.write_text("---\n".join(text.replace("PORT", str(port)) for text, port in documents) or "# nothing\n")
        assert _seen(source.load()) == _seen(FileSource((str(folder),)).load())


def test_files_come_and_go(source: FileSource, folder: Path) -> None:
    source.load()
    (folder / "new").mkdir()
    (folder / "new" / "c.yml").write_text(service("c"))
    assert names(source.load()) == "abc"
    (folder / "a.yaml").unlink()
    os.replace(folder / "new" / "c.yml", folder / "b.yaml")
    assert names(source.load()) == "c"
    shutil.rmtree(folder / "new")
    assert names(source.load()) == "c"
    (folder / "b.yaml").unlink()
    assert source.load() == source.load()
    assert names(source.load()) == ""
    assert not source.load().faults


def test_one_mistake_costs_nothing_else_in_the_same_edit(source: FileSource, folder: Path) -> None:
    source.load()
    (folder / "a.yaml").write_text(service("a", "[80"))
    (folder / "b.yaml").write_text(service("b", 81))
    (folder / "c.yaml").write_text(service("c", 0))
    found = source.load()
    assert names(found) == "ab"
    assert (port(found, "a"), port(found, "b")) == (80, 81)
    assert [(fault.code, os.path.basename(fault.file)) for fault in found.faults] == [
        ("yaml_syntax", "a.yaml"),
        ("field_invalid", "c.yaml"),
    ]
    assert found.faults[0].message.endswith("; it is served as it was before")
    assert "served" not in found.faults[1].message
    (folder / "b.yaml").write_text(service("b", 82))
    again = source.load()
    assert again.faults == found.faults
    assert again.services["default", "a"] is found.services["default", "a"]
    (folder / "a.yaml").write_text(service("a", 83))
    (folder / "c.yaml").unlink()
    assert not source.load().faults


def test_a_kept_object_gives_way_to_the_one_in_another_file(source: FileSource, folder: Path) -> None:
    source.load()
    (folder / "b.yaml").write_text(f"{service('b')}---\n{service('a', 81)}")
    (folder / "a.yaml").write_text(service("a", 0))
    found = source.load()
    assert port(found, "a") == 81
    assert codes(found) == ["field_invalid"]


def test_a_file_that_is_not_utf_8_or_too_large_keeps_its_objects(source: FileSource, folder: Path) -> None:
    found = source.load()
    (folder / "a.yaml").write_bytes(service("a").encode("utf-16"))
    with (folder / "b.yaml").open("ab") as file:
        file.truncate(17 * 1024 * 1024)
    after = source.load()
    assert after.services == found.services
    assert codes(after) == ["file_encoding", "file_too_large"]
    assert all(fault.message.endswith("; 1 object is served as it was before") for fault in after.faults)
    (folder / "a.yaml").write_text(service("x"))
    (folder / "b.yaml").write_text(service("y"))
    assert names(source.load()) == "xy"


def test_a_file_that_has_just_been_emptied_is_being_written(source: FileSource, folder: Path) -> None:
    found = source.load()
    (folder / "a.yaml").write_text("\n")
    assert source.load() is found
    (folder / "a.yaml").write_text(service("a", 81))
    assert port(source.load(), "a") == 81
    (folder / "a.yaml").write_text("\n")
    long_ago = time.time() - 3600
    os.utime(folder / "a.yaml", (long_ago, long_ago))
    assert names(source.load()) == "b"


def test_a_folder_that_went_away_keeps_its_objects_until_it_is_back(source: FileSource, folder: Path) -> None:
    found = source.load()
    away = folder.with_name("away")
    folder.rename(away)
    without = source.load()
    assert without.services == found.services
    (fault,) = without.faults
    assert (fault.code, fault.file) == ("path_missing", str(folder))
    assert fault.message == "there is no such file or folder; 2 objects are served as they were before"
    assert source.load() is without
    (away / "a.yaml").unlink()
    away.rename(folder)
    assert names(source.load()) == "b"
    assert not source.load().faults


def test_at_start_a_missing_folder_is_only_a_fault(tmp_path: Path) -> None:
    source = FileSource((str(tmp_path / "none"),))
    (fault,) = source.load().faults
    assert fault.message == "there is no such file or folder"


def test_what_is_kept_stays_in_its_place(tmp_path: Path) -> None:
    """The first of two objects of one name counts: a folder that goes away must not change which one that is."""
    one, two = tmp_path / "z", tmp_path / "a"
    for path, number in ((one, 80), (two, 81)):
        path.mkdir()
        (path / "a.yaml").write_text(service("a", number))
    source = FileSource((str(one), str(two)))
    assert port(source.load(), "a") == 80
    one.rename(tmp_path / "away")
    found = source.load()
    assert port(found, "a") == 80
    assert codes(found) == ["path_missing", "object_twice"]


def test_a_volume_of_kubernetes_is_swapped(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for version, number in (("..1", 80), ("..2", 81)):
        (folder / version).mkdir(parents=True)
        (folder / version / "a.yaml").write_text(service("a", number))
        (folder / version / "b.yaml").write_text(service("b"))
    (folder / "..data").symlink_to("..1")
    for name in ("a.yaml", "b.yaml"):
        (folder / name).symlink_to(f"..data/{name}")
    source = FileSource((str(folder),))
    before = source.load()
    assert port(before, "a") == 80
    (folder / "..new").symlink_to("..2")
    os.replace(folder / "..new", folder / "..data")
    shutil.rmtree(folder / "..1")
    after = source.load()
    assert port(after, "a") == 81
    assert after.services["default", "b"] is before.services["default", "b"]
    assert not after.faults


def test_a_single_file_of_any_name_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "manifests"
    path.write_text(service("a"))
    source = FileSource((str(path), str(tmp_path)))
    assert names(source.load()) == "a"
    path.unlink()
    gone = source.load()
    assert names(gone) == "a"
    assert codes(gone) == ["path_missing"]


def test_a_relative_path_stays_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    source = FileSource(("d",))
    assert source.load().services["default", "a"].file == "d/a.yaml"


def test_windows_line_ends_and_a_byte_order_mark_do_not_move_a_fault(folder: Path, source: FileSource) -> None:
    text = "\ufeff" + f"{service('a')}---\n{service('b', 0)}".replace("\n", "\r\n")
    (folder / "a.yaml").write_bytes(text.encode())
    (folder / "b.yaml").unlink()
    (fault,) = source.load().faults
    assert (fault.line, fault.column) == (15, 11)


def test_a_secret_is_in_no_fault(folder: Path, source: FileSource) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\n"
    for text in (
        "stringData: {tls.key: 12345678, tls.crt: true}",
        "stringData: {tls.key: [hunter2hunter2]}",
        "stringData: hunter2hunter2",
        "data: {tls.crt: hunter2hunter2, tls.key: '%%hunter2'}",
        "stringData:\n  tls.key: hunter2\n   hunter2: x",
        "stringData: {hunter: hunter2hunter2, hunter: x}",
        "stringdata: {tls.key: hunter2}",
        'stringData: {tls.key: "\\qhunter2"}',
        "data: {tls.key: *hunter2}",
    ):
        (folder / "a.yaml").write_text(secret + text)
        found = source.load()
        assert found.faults
        assert "hunter2" not in repr(found) + "".join(str(fault) for fault in found.faults)
        assert "12345678" not in repr(found.faults)


def test_a_swap_in_the_middle_of_a_load_is_one_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    for version, number in (("..1", 80), ("..2", 81)):
        (folder / version).mkdir(parents=True)
        (folder / version / "a.yaml").write_text(service("a", number))
    (folder / "..data").symlink_to("..1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")

    def swap() -> None:
        (folder / "..new").symlink_to("..2")
        os.replace(folder / "..new", folder / "..data")
        shutil.rmtree(folder / "..1")

    after_listing(monkeypatch, swap)
    found = FileSource((str(folder),)).load()
    assert port(found, "a") == 81
    assert not found.faults


def test_a_file_that_is_deleted_in_the_middle_of_a_load_is_gone(
    source: FileSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.load()
    after_listing(monkeypatch, (folder / "a.yaml").unlink)
    found = source.load()
    assert names(found) == "b"
    assert not found.faults


def test_a_file_that_cannot_be_read_any_more_keeps_its_objects(
    source: FileSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.load()

    def put_a_fifo_there() -> None:
        (folder / "a.yaml").unlink()
        os.mkfifo(folder / "a.yaml")

    after_listing(monkeypatch, put_a_fifo_there)
    found = source.load()
    assert names(found) == "ab"
    (fault,) = found.faults
    assert fault.message == "the file is not a regular file; 1 object is served as it was before"


def after_listing(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Something happens between the look at the folder and the look into the files."""
    happening = iter([happens])

    def listing(paths: tuple[str, ...]) -> Listing:
        found = list_files(paths)
        next(happening, lambda: None)()
        return found

    monkeypatch.setattr("ingressd.sources.files.list_files", listing)


def test_news_are_loaded_as_the_last_look_saw_them(source: FileSource, folder: Path) -> None:
    source.load()
    (folder / "c.yaml").write_text(service("c"))
    assert names(source.load(news_only=True)) == "ab"
    assert names(source.load()) == "abc"


async def test_every_edit_that_watch_tells_of_is_loaded_and_touches_nothing_else(folder: Path) -> None:
    source = FileSource((str(folder),), poll_interval_s=0.01, events=False)
    found = source.load()
    news = source.watch()
    for number in range(81, 90):
        name = "ab"[number % 2]
        (folder / f"{name}.yaml").write_text(service(name, number))
        while port(found, name) != number:
            await anext(news)
            before, found = found, source.load(news_only=True)
        other = "ba"[number % 2]
        assert found.services["default", other] is before.services["default", other]
        assert _seen(found) == _seen(FileSource((str(folder),)).load())
    await news.aclose()


def test_a_file_that_went_away_since_the_last_look_is_looked_for(source: FileSource, folder: Path) -> None:
    source.load()
    for file in (folder / "a.yaml", folder / "b.yaml"):
        file.write_text(service("x"))
    source.load()
    (folder / "a.yaml").rename(folder / "z.yaml")
    assert [each.file for each in source.load(news_only=True).services.values()] == [f"{folder}/b.yaml"]


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "a.yaml"
    real = os.fstat

    def early(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        with path.open("a") as file:
            file.write("# more\n")
        return found

    monkeypatch.setattr("ingressd.sources.contents.os.fstat", early)
    assert read_content(str(path)).data == path.read_bytes()
