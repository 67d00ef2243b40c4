"""Fetching: from a web server of this test's own, with good, truncated, altered, stalled and missing files."""

import ast
import errno
import hashlib
import http.server
import io
import random
import shutil
import socket
import sys
import tarfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrastive_inversion import papers
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import download, imagenet_classes, readers, sources
from contrastive_inversion.data.settings import DATA_SET
from contrastive_inversion.run import cli

CONTENT = random.Random(0).randbytes(300_000)
PACKAGE = Path(papers.__file__).parent.parent


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files as the first part of an address says: good, altered, cut, short, dripping, busy, stalled, page,
    whole, gone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        how, _, name = self.path[1:].partition("/")
        content, start = self.server.files.get(name), int(self.headers["Range"][6:-1])
        self.server.asked.append((how, start))
        if how == "page":
            return self.answer(200, b"<html>Sign in to the network</html>", kind="text/html")
        if how == "busy" and start and len(self.server.asked) < 4:
            return self.answer(503, b"")
        if how == "gone" or content is None:
            return self.answer(404, b"")
        if start and start >= len(content):
            return self.answer(416, b"")
        content = content.replace(content[:1], bytes([content[0] ^ 1]), 1) if how == "altered" else content
        content = content[: len(content) // 2] if how == "cut" else content
        rest = content[start:]
        cut = {
            "short": 0 if start else 1000,
            "busy": len(rest) if start else 1000,
            "dripping": 70_000,
            "stalled": 0 if start else 1000,
        }
        if how == "whole":
            return self.answer(200, content)
        return self.answer(206 if start else 200, rest[: cut.get(how, len(rest))], len(rest), wait=how == "stalled")

    def answer(self, status, content, length=None, kind="application/octet-stream", wait=False):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        if wait:
            self.server.over.wait(60)
        if len(content) != length:
            self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(request, monkeypatch):
    """The server: `files` by name, what was `asked` of it, and beside it the address of `nobody`."""
    if hasattr(request.node, "callspec") and request.node.callspec.params.get("way") == "stalled":
        monkeypatch.setattr(download, "PATIENCE", 1)
    monkeypatch.setattr(download, "PAUSE", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served, socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # a port that is taken, and that nobody listens on
        served.nobody = f"http://127.0.0.1:{deaf.getsockname()[1]}/x"
        served.files, served.asked, served.over = {"weights.pt": CONTENT}, [], threading.Event()
        served.url = f"http://127.0.0.1:{served.server_port}"
        threading.Thread(target=served.serve_forever, args=[0.02], daemon=True).start()
        yield served
        served.over.set()
        served.shutdown()


def file_at(server, *ways, name="weights.pt", algorithm="sha256"):
    """A file with an address for each way of serving it."""
    addresses = tuple(f"{server.url}/{way}/{name}" if way != "nobody" else server.nobody for way in ways)
    return download.File(name, addresses, algorithm, hashlib.new(algorithm, server.files[name]).hexdigest())


def test_a_file_is_fetched_once(server, tmp_path):
    path = tmp_path / "new folder" / "weights.pt"
    for _ in range(2):
        download.fetch(file_at(server, "good", algorithm="md5"), path)
    assert path.read_bytes() == CONTENT and server.asked == [("good", 0)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("way", ["gone", "page", "altered", "stalled", "short", "nobody"])
def test_the_next_address_serves_where_one_fails(server, tmp_path, way):
    download.fetch(file_at(server, way, "good"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1
    assert server.asked[-1] == ("good", 1000 if way in ("stalled", "short") else 0)


@pytest.mark.parametrize(
    ("way", "why", "kept"),
    [
        ("gone", "the server says 404 Not Found", None),
        ("page", "a web page instead of the file", None),
        ("altered", "its sha256 is .*, published is ", None),
        ("stalled", "stalled after 1,000 of 300,000 bytes", 1000),
        ("short", "after 1,000 of 300,000 bytes", 1000),
        ("nobody", "Connection refused", None),
    ],
)
def test_a_file_that_no_address_gives_is_one_line_with_the_reasons(server, tmp_path, way, why, kept):
    path = tmp_path / "weights.pt"
    with pytest.raises(UserError, match=f"weights.pt cannot be fetched .127.0.0.1:.*{why}") as error:
        download.fetch(file_at(server, "gone", way), path)
    assert "\n" not in str(error.value) and str(error.value).endswith(f"or fetch it elsewhere and put it at {path}")
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == ([("weights.pt.part", kept)] if kept else [])


def test_broken_connections_are_taken_up_where_they_broke(server, tmp_path):
    download.fetch(file_at(server, "dripping"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 70_000, 140_000, 210_000, 280_000]


def test_a_server_that_refuses_for_a_while_is_asked_again(server, tmp_path):
    """A refusal after the first bytes, which may be gigabytes, is no reason to begin anew."""
    download.fetch(file_at(server, "busy"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 1000, 1000, 1000]


@pytest.mark.parametrize(
    ("way", "beginning", "asked"),
    [
        ("good", CONTENT[:200_000], [200_000]),
        ("good", b"of another file" * 100, [1500, 0]),
        ("good", CONTENT + b"and more", [300_008, 0]),
        ("whole", CONTENT[:200_000], [200_000]),  # a server that cannot begin in the middle
        ("whole", b"of another file" * 100, [1500]),
    ],
)
def test_a_file_that_was_begun_goes_on(server, tmp_path, way, beginning, asked):
    (tmp_path / "weights.pt.part").write_bytes(beginning)
    download.fetch(file_at(server, way), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT and len(list(tmp_path.iterdir())) == 1
    assert [start for _, start in server.asked] == asked


def test_another_file_under_the_name_is_not_overwritten(server, tmp_path):
    (tmp_path / "weights.pt").write_text("<html>")
    with pytest.raises(UserError, match="weights.pt: its sha256 is .*: delete it and try again"):
        download.fetch(file_at(server, "good"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_text() == "<html>" and server.asked == []


class FullDisk(io.FileIO):
    """A file on a disk with room for 150,000 bytes."""

    def write(self, content):
        if self.tell() + len(content) > 150_000:
            super().write(content[: 150_000 - self.tell()])
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


def test_a_full_disk_is_one_line_and_what_came_is_kept(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PIECE", 10_000)
    with (
        monkeypatch.context() as patched,
        pytest.raises(UserError, match="weights.pt.part: the disk is full; free some"),
    ):
        patched.setattr(download, "open", lambda path, mode: FullDisk(path, mode), raising=False)
        download.fetch(file_at(server, "good", "good"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt.part").stat().st_size == 150_000
    download.fetch(file_at(server, "good"), tmp_path / "weights.pt")
    assert (tmp_path / "weights.pt").read_bytes() == CONTENT and server.asked[-1] == ("good", 150_000)


def tar(files, mode="w:gz"):
    """A tar archive of {name: content}."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    "content",
    [tar({"folder/x": CONTENT})[:-200], b"no archive", tar({"other/x": b""})],
    ids=["cut off", "no archive", "another folder"],  # compressed bytes hold the time of day
)
def test_an_archive_that_is_not_as_published_leaves_nothing(tmp_path, content):
    (tmp_path / "x.tgz").write_bytes(content)
    with pytest.raises(UserError, match="x.tgz: cannot be unpacked .*; delete it and fetch it again"):
        download.unpack(tmp_path / "x.tgz", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_while_unpacking_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "x.tgz").write_bytes(tar({"folder/x": CONTENT}))
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(UserError, match="folder: the disk is full"):
        download.unpack(tmp_path / "x.tgz", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path):
    (tmp_path / "x.tgz").write_bytes(tar({"folder/x": b"", "../escaped": b"x"}))
    with pytest.raises(UserError, match="cannot be unpacked"):
        download.unpack(tmp_path / "x.tgz", "folder")
    assert not (tmp_path.parent / "escaped").exists()


WNIDS = imagenet_classes.wnids("imagenet100_wnids.txt")
OTHER = "n99999999"


@pytest.fixture
def imagenet_c(server, monkeypatch):
    """Five archives of ImageNet-C, small, served in pieces, with their own checksums."""
    table = {}
    for name, (_, corruptions) in sources.IMAGENET_C.items():
        places = [f"{c}/{s}/{w}/1.JPEG" for c in corruptions for s in range(1, 6) for w in (*WNIDS[:2], OTHER)]
        server.files[f"{name}.tar"] = tar({place: place.encode() for place in places}, "w")
        table[name] = (hashlib.md5(server.files[f"{name}.tar"]).hexdigest(), corruptions)
    monkeypatch.setattr(sources, "IMAGENET_C", table)
    monkeypatch.setattr(sources, "ZENODO", f"{server.url}/dripping")
    return server


def test_imagenet_c_is_read_over_the_network_and_its_classes_are_kept(imagenet_c, tmp_path):
    for _ in range(2):
        sources.fetch_imagenet_c(tmp_path, "imagenet100_wnids.txt")
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.JPEG"))
    assert len(found) == 19 * 5 * 2 and not any(OTHER in name for name in found)
    assert all((tmp_path / name).read_text() == name for name in found)
    assert len(list(tmp_path.iterdir())) == 19 and sum(start == 0 for _, start in imagenet_c.asked) == 5


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("altered", "bad checksum"),
        ("cut", "its md5 is .*, published is "),
        ("short", "the connection ended early after 1,000 of [0-9,]* bytes"),
        ("stalled", "stalled after 1,000 of [0-9,]* bytes"),
        ("gone", "the server says 404 Not Found"),
        ("page", "a web page instead of the file"),
    ],
)
def test_of_an_archive_that_does_not_come_as_published_nothing_is_kept(imagenet_c, tmp_path, monkeypatch, way, why):
    monkeypatch.setattr(sources, "ZENODO", f"{imagenet_c.url}/{way}")
    with pytest.raises(UserError, match=f"noise.tar cannot be fetched .*{why}.*; nothing of it was kept, try") as error:
        sources.fetch_imagenet_c(tmp_path, "imagenet100_wnids.txt")
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_under_an_archive_of_imagenet_c_leaves_nothing(imagenet_c, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "open", full, raising=False)
    with pytest.raises(UserError, match="the disk is full; free some space and run again") as error:
        sources.fetch_imagenet_c(tmp_path, "imagenet100_wnids.txt")
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_the_archives_hold_every_corruption():
    from contrastive_inversion.distort.names import IMAGENET_C

    assert sorted(c for _, corruptions in sources.IMAGENET_C.values() for c in corruptions) == sorted(IMAGENET_C)
    assert set(readers.CORRUPTION_GROUPS) == set(sources.IMAGENET_C)


@pytest.fixture
def served_sets(server, monkeypatch, tmp_path):
    """Archives of all data sets, served by this server, and places to put them."""
    monkeypatch.chdir(tmp_path)
    machine.export(machine.Config())
    for source, file in sources.ARCHIVES.items():
        server.files[file.name] = tar({f"{readers.ARCHIVES[source]}/x": source.encode()})
        monkeypatch.setitem(sources.ARCHIVES, source, file_at(server, "gone", "good", name=file.name))
    return server


def test_every_archive_is_unpacked_where_its_reader_looks(served_sets, tmp_path, capsys):
    for source in sources.ARCHIVES:
        sources.fetch_data([DATA_SET.validate_python({"source": source} | CLASSES.get(source, {}))])
        folder = tmp_path / "data" / readers.KEYS[source] / readers.ARCHIVES[source]
        assert (folder / "x").read_text() == source and not list(folder.parent.glob("*.t*gz"))
    assert capsys.readouterr().out.count("checksum as published") == len(sources.ARCHIVES) == 5


CLASSES = {
    "imagenette": {"classes": "imagenette_wnids.txt", "resize": 256},
    "imagewoof": {"classes": "imagewoof_wnids.txt", "resize": 256},
}


def test_what_cannot_be_had_does_not_keep_the_rest_away(served_sets, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setattr(sources, "IMAGENET_C", {})
    monkeypatch.setitem(sources.ARCHIVES, "cifar10", file_at(served_sets, "page", name="cifar-10-python.tar.gz"))
    assert cli.main(["fetch", "data", "--study", "paper"]) == 1
    output, problems = capsys.readouterr()
    assert "ILSVRC 2012 needs a registration at image-net.org; it is the folder with" in output
    assert (tmp_path / "data/stl10/stl10_binary/x").exists() and (tmp_path / "data/cifar/cifar-100-python").is_dir()
    assert "cifar-10-python.tar.gz cannot be fetched" in problems and "a web page instead of the file" in problems
    assert "data.coronahack: pip install 'contrastive-inversion[kaggle]'" in problems


def test_what_a_study_leaves_out_is_not_fetched(served_sets, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    assert cli.main(["fetch", "data", "--study", "imagenette-without-xrays"]) == 0
    fetched = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert sorted(fetched) == [f"data.{key}" for key in ("cifar", "cifar", "imagenette", "imagewoof", "stl10")]


METADATA = "Chest_xray_Corona_Metadata.csv"


def kagglehub_of(*files, then=None):
    """A kagglehub that unpacks some files, into an empty folder only as the real one does, and may then raise."""

    def download(handle, output_dir):
        assert handle == "praveengovi/coronahack-chest-xraydataset"
        Path(output_dir).mkdir(exist_ok=True)
        assert not list(Path(output_dir).iterdir()), "not empty"
        for name in files:
            (Path(output_dir) / name).touch()
        if then:
            raise then

    return SimpleNamespace(dataset_download=download)


def test_coronahack_comes_through_kagglehub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub_of(METADATA))
    assert sources.fetch_coronahack(tmp_path).endswith("through kagglehub")
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # not asked for what is there
    assert sources.fetch_coronahack(tmp_path).endswith("there already")


class Killed(BaseException):
    """As of `kill -9`: nothing is cleared away."""


@pytest.mark.parametrize("end", [OSError(errno.ENOSPC, "No space left on device"), Killed()], ids=["full", "killed"])
@pytest.mark.parametrize("linked", [False, True])
def test_coronahack_is_there_whole_or_not_at_all(tmp_path, monkeypatch, end, linked):
    root = tmp_path / "coronahack"
    (tmp_path / "disk" / "x").mkdir(parents=True)
    root.symlink_to(tmp_path / "disk" / "x") if linked else root.mkdir()
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub_of(METADATA, then=end))
    with monkeypatch.context() as patched, pytest.raises((UserError, Killed)) as error:
        if isinstance(end, Killed):
            patched.setattr(shutil, "rmtree", lambda *arguments, **options: None)
        sources.fetch_coronahack(root)
    left = {path.name for path in tmp_path.rglob("*")} - {"coronahack", "disk", "x"}
    assert "\n" not in str(error.value) and not list(root.iterdir()) and (isinstance(end, Killed) or not left)
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub_of(METADATA, "1.jpeg"))
    assert sources.fetch_coronahack(root).endswith("through kagglehub")
    assert {path.name for path in root.iterdir()} == {METADATA, "1.jpeg"}
    assert {path.name for path in tmp_path.rglob("*")} == {"coronahack", "disk", "x", METADATA, "1.jpeg"}


def test_coronahack_is_not_put_among_other_files(tmp_path, monkeypatch):
    (tmp_path / "1.jpeg").touch()
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub_of(METADATA))
    with pytest.raises(UserError, match="holds other files, or was not fetched whole: empty it and try again"):
        sources.fetch_coronahack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1.jpeg"]


def test_a_refusal_of_kaggle_is_one_line(tmp_path, monkeypatch):
    refusal = ConnectionError("403 Client Error.\n\nYou don't have permission")
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub_of(then=refusal))
    with pytest.raises(
        UserError, match="kagglehub: 403 Client Error. You don't .*fetch kaggle.com/datasets/.* by hand"
    ):
        sources.fetch_coronahack(tmp_path)


def test_weights_are_fetched_to_their_places(server, tmp_path, monkeypatch, capsys):
    right = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(sources, "WEIGHTS", dict.fromkeys(("clip", "resnet101"), (f"{server.url}/good/weights.pt",)))
    machine.export(machine.Config(weights={"clip": str(tmp_path / "a.pt"), "resnet101": str(tmp_path / "b.pth")}))
    sources.fetch_weights({"clip": right, "resnet101": right[:8]})
    assert (tmp_path / "a.pt").read_bytes() == CONTENT and capsys.readouterr().out.count("sha256 as published") == 2


def test_nothing_else_opens_a_connection():
    network = {
        "urllib.request",
        "http.client",
        "socket",
        "requests",
        "kagglehub",
        "huggingface_hub",
        "ftplib",
        "aiohttp",
    }
    opening = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            if network & set(names):
                opening.add(path.relative_to(PACKAGE).as_posix())
    assert opening == {"data/download.py", "data/sources.py"}
