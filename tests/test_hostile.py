"""Files of publishers that mean harm or nonsense: nothing is read, written or run outside, and each is one line."""

import gzip
import io
import os
import pickle
import tarfile

import pytest
from torchvision.datasets import cifar

import formats
from contrastive_inversion.base import machine
from contrastive_inversion.base.errors import UserError
from contrastive_inversion.data import download, readers, sources
from contrastive_inversion.data.settings import Images
from contrastive_inversion.run import doctor, findings
from formats import WNIDS

KIT = "ILSVRC2012_devkit_t12"


def use(**folders):
    machine.export(machine.Config.model_validate({"data": {key: str(path) for key, path in folders.items()}}))


def looked_at(source="imagenet", **settings):
    """What the check before a run says of a data set."""
    recipe = Images.of(data=source, settings={"source": source} | settings, image_size=224, seed=1)
    return findings.checked("data", doctor.data_set, recipe, False)


def imagenet(**settings):
    return looked_at(**{"classes": "imagenet100_wnids.txt", "train": 103, "test": 100, "resize": 256} | settings)


def archive(*members, content=b"four", mode="w"):
    """The bytes of a tar archive of members (name, type, link)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as out:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            out.addfile(member, io.BytesIO(content))
    return packed.getvalue()


MEMBERS = {
    "name that climbs": ("../../escaped.JPEG", tarfile.REGTYPE, ""),
    "absolute name": ("{outside}/escaped.JPEG", tarfile.REGTYPE, ""),
    "symbolic link": ("x.JPEG", tarfile.SYMTYPE, "{outside}/secret"),
    "hard link": ("x.JPEG", tarfile.LNKTYPE, "../secret"),
    "device": ("x.JPEG", tarfile.CHRTYPE, ""),
    "pipe": ("x.JPEG", tarfile.FIFOTYPE, ""),
}


@pytest.fixture
def outside(tmp_path):
    """A folder that nothing may be read from or written to."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["secret"] and not (tmp_path / "escaped.JPEG").exists()
    assert (folder / "secret").read_text() == "secret"


def hostile(member, outside):
    name, kind, link = MEMBERS[member]
    return name.format(outside=outside), kind, link.format(outside=outside)


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_tar_that_is_read_in_place_gives_stretches_of_itself_alone(tmp_path, outside, member, split):
    root, tar = tmp_path / "data", archive(hostile(member, outside))
    root.mkdir()
    if split == "train":
        outer = archive((f"{WNIDS[0]}.tar", tarfile.REGTYPE, ""), content=tar)
    (root / f"ILSVRC2012_img_{split}.tar").write_bytes(outer if split == "train" else tar)
    found = readers.imagenet.pictures(root, split, WNIDS[:1]) if split == "train" else readers.imagenet.in_tar(
        root / "ILSVRC2012_img_val.tar"
    )  # fmt: skip
    kept = list(found)
    assert [picture.name for picture in kept] == (["escaped.JPEG"] if MEMBERS[member][1] == tarfile.REGTYPE else [])
    for picture in kept:
        start, size = picture.within
        assert picture.path.parent == root and picture.path.read_bytes()[start : start + size] == b"four"


@pytest.mark.parametrize("member", MEMBERS)
def test_an_archive_is_unpacked_into_its_folder_alone(tmp_path, outside, member):
    (tmp_path / "in").mkdir()
    packed = archive(("folder/good", tarfile.REGTYPE, ""), hostile(member, outside), mode="w:gz")
    (tmp_path / "in/x.tgz").write_bytes(packed)
    try:
        download.unpack(tmp_path / "in/x.tgz", "folder")
    except UserError as error:
        assert "x.tgz: cannot be unpacked (" in str(error) and "\n" not in str(error)
        assert [path.name for path in (tmp_path / "in").iterdir()] == ["x.tgz"]
    else:
        assert [path.name for path in (tmp_path / "in/folder").rglob("*")] == ["good"]


def test_an_archive_cannot_write_through_a_link_of_its_own(tmp_path, outside):
    through = archive(("link", tarfile.SYMTYPE, str(outside)), ("link/escaped", tarfile.REGTYPE, ""), mode="w:gz")
    (tmp_path / "x.tgz").write_bytes(through)
    with pytest.raises(UserError, match="x.tgz: cannot be unpacked"):
        download.unpack(tmp_path / "x.tgz", "folder")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("noise/gaussian_noise/3/{wnid}/a.JPEG", "gaussian_noise/3/{wnid}/a.JPEG"),
        ("./gaussian_noise/3/{wnid}/a.JPEG", "gaussian_noise/3/{wnid}/a.JPEG"),
        ("../gaussian_noise/{wnid}/a.JPEG", None),
        ("../../{wnid}/a.JPEG", None),
        ("/etc/{wnid}/a.JPEG", None),
        ("gaussian_noise/../{wnid}/a.JPEG", None),
        ("gaussian_noise/3/{wnid}/..", None),
        ("gaussian_noise/6/{wnid}/a.JPEG", None),
        ("fog/3/{wnid}/a.JPEG", None),
        ("gaussian_noise/3/n99999999/a.JPEG", None),
        ("gaussian_noise/3/{wnid}", None),
    ],
)
def test_what_is_kept_of_an_archive_on_its_way_has_a_place_known_beforehand(tmp_path, name, kept):
    place = sources.kept_as(name.format(wnid=WNIDS[0]), ("gaussian_noise",), WNIDS)
    assert (place and place.as_posix()) == (kept and kept.format(wnid=WNIDS[0]))


class Malicious:
    """Pickled code: whoever unpickles this makes the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize(
    ("source", "file"),
    [("cifar10", "data_batch_3"), ("cifar10", "batches.meta"), ("cifar100", "test"), ("cifar100", "meta")],
)
def test_cifar_is_unpickled_after_its_checksums_only(tmp_path, monkeypatch, source, file):
    formats.cifar(tmp_path)
    use(cifar=tmp_path)
    path = tmp_path / readers.ARCHIVES[source] / file
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "it-ran")))
    checked = cifar.check_integrity
    others_are_right = lambda found, md5: str(found) != str(path) or checked(found, md5)  # noqa: E731
    monkeypatch.setattr(cifar, "check_integrity", others_are_right)
    with pytest.raises(UserError, match=r"data.cifar: .* is not whole \(.*\); expected the folder with cifar-10"):
        readers.archive(source)
    assert not (tmp_path / "it-ran").exists()


def kit(name, content):
    """A spoiler of one file of the unpacked development kit."""
    return lambda root: (root / KIT / "data" / name).write_bytes(content)


def packed_kit(*members, tail=b""):
    """A spoiler that puts a packed kit with these members, read before the unpacked one."""
    return lambda root: (root / f"{KIT}.tar.gz").write_bytes(archive(*members, mode="w:gz") + tail)


def kaggle(content):
    return lambda root: (root / "LOC_val_solution.csv").write_bytes(content)


TRUTH = "ILSVRC2012_validation_ground_truth.txt"
INSIDE = f"{KIT}/data/{TRUTH}"
INDICES = {
    "classes that are no numbers": (kit(TRUTH, b"one\ntwo\n"), "cannot be read (ValueError"),
    "classes that are no text": (kit(TRUTH, b"\xff\xfe\x00"), "cannot be read (ValueError"),
    "a class that there is not": (kit(TRUTH, b"9999\n"), "cannot be read (KeyError: 9999)"),
    "no classes": (kit(TRUTH, b""), "0 classes for its 100 images"),
    "names of classes that are no matrix": (kit("meta.mat", b"<html>404</html>"), "cannot be read (MatReadError"),
    "names of classes cut off": (kit("meta.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM\x0e\0"), "cannot be"),
    "code as names of classes": (kit("meta.mat", pickle.dumps(Malicious("it-ran"))), "cannot be read"),
    "a link to itself": (packed_kit((INSIDE, tarfile.SYMTYPE, TRUTH)), "cannot be read ("),
    "a link to elsewhere": (packed_kit((INSIDE, tarfile.SYMTYPE, "/etc/passwd")), "cannot be read ("),
    "a hard link to elsewhere": (packed_kit((INSIDE, tarfile.LNKTYPE, "../secret")), "cannot be read ("),
    "a folder": (packed_kit((INSIDE, tarfile.DIRTYPE, "")), "cannot be read ("),
    "a device": (packed_kit((INSIDE, tarfile.CHRTYPE, "")), "cannot be read ("),
    "a kit that is none": (lambda root: (root / f"{KIT}.tar.gz").write_bytes(b"<html>404</html>"), "cannot be read ("),
    "a kit of nothing": (lambda root: (root / f"{KIT}.tar.gz").write_bytes(gzip.compress(b"")), "cannot be read ("),
    "a solution without its columns": (kaggle(b"a,b\n1,2\n"), "cannot be read (KeyError: 'ImageId')"),
    "a solution without classes": (kaggle(b"ImageId,PredictionString\nx,\n"), "cannot be read (IndexError"),
    "a solution cut off": (kaggle(b"ImageId,PredictionString\nx"), "cannot be read (AttributeError"),
    "a solution in latin-1": (kaggle(b"ImageId,PredictionString\nd\xe9,n1 1\n"), "cannot be read (UnicodeDecodeError"),
    "a solution with a huge cell": (kaggle(b"ImageId,PredictionString\n" + b"x" * 200_000), "cannot be read (Error"),
}


@pytest.mark.parametrize("index", INDICES)
def test_a_foreign_list_of_classes_is_one_line(tmp_path, monkeypatch, index):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("1\n" * 100)
    formats.imagenet(tmp_path / "folders")
    root = tmp_path / "data"
    formats.flat_imagenet(root, tmp_path / "folders")
    spoil, message = INDICES[index]
    spoil(root)
    use(imagenet=root)
    check = imagenet()
    assert not check.ok and message in check.text and "\n" not in check.text and len(check.text) < 1500
    assert "data.imagenet" in check.text or str(root) in check.text
    assert not (tmp_path / "it-ran").exists()


HEAD = b",X_ray_image_name,Label,Dataset_type\n"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"a,b\n1,2\n", "cannot be read (KeyError: 'Dataset_type')"),
        (HEAD + b"0,a.jpeg\n", "cannot be read (AttributeError"),
        (HEAD + b"0,d\xe9.jpeg,Normal,TRAIN\n", "cannot be read (UnicodeDecodeError"),
        (HEAD + b"0,../../secret,Normal,TRAIN\n", "names ../../secret, which no train folder"),
        (HEAD + b"0,/etc/passwd,Normal,TRAIN\n", "names /etc/passwd, which no train folder"),
        (HEAD + b'0,"' + b"x" * 200_000, "cannot be read (Error"),
    ],
)
def test_foreign_metadata_of_x_rays_are_one_line(tmp_path, table, message):
    formats.coronahack(tmp_path, [("a.jpeg", "Normal", "TRAIN")])
    (tmp_path / "Chest_xray_Corona_Metadata.csv").write_bytes(table)
    use(coronahack=tmp_path)
    check = looked_at("coronahack", resize=256)
    assert not check.ok and message in check.text and "\n" not in check.text


@pytest.mark.parametrize("name", [b"a\nb.JPEG", b"a\tb.JPEG", b"a\x1b[2Jb.JPEG", b"\xff.JPEG"])
def test_a_file_s_name_that_is_no_text_is_refused_before_it_is_listed(tmp_path, name):
    formats.imagenet(tmp_path)
    folder = tmp_path / "train" / WNIDS[1]
    next(folder.iterdir()).rename(folder / os.fsdecode(name))
    use(imagenet=tmp_path)
    check = imagenet()
    assert not check.ok and "a name that is no plain text: rename it; expected the folder with" in check.text
    assert check.text.isprintable()
