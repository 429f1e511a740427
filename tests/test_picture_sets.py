"""Folders and archives of pictures: parts, classes, sizes, and what is wrong with them."""

import numpy as np
import pytest
from data_files import picture, tar_bytes, write_tree

from smh import datasets
from smh.errors import ArgumentError, DataFormatError, MissingDataError

pytestmark = [
    pytest.mark.backend_agnostic,
    pytest.mark.filterwarnings("ignore:.*published set:smh.errors.SmhWarning"),
]


@pytest.fixture(autouse=True)
def repeatable():
    """Clears no Keras session, which would take most of the time: nothing here makes a layer."""


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def photos(*parts, each=10, **options):
    top = [f"{part}/" for part in parts] or [""]
    return {
        f"{part}{name}/{i:02}.{ending}": picture(color, (12 + i, 10), ending, **options)
        for part in top
        for name, color in COLORS.items()
        for i in range(each)
        for ending in [("png", "jpeg")[i % 2]]
    }


def assert_colors_match(x, y):
    """Labels are the places of blue, green, red among the sorted names."""
    channel = np.array([2, 1, 0])[y]
    np.testing.assert_array_equal(x.mean((1, 2)).argmax(-1), channel)
    assert x.max() > 250


def test_image_folder_without_parts_is_split(tmp_path):
    write_tree(
        tmp_path / "photos", photos() | {"red/notes.txt": b"no picture", ".git/x/a.png": b""}
    )
    data = datasets.image_folder(tmp_path / "photos", (6, 8), validation=3, dtype="uint8", seed=1)
    assert data.classes == ("blue", "green", "red") and data.name == "photos"
    assert data.x_train.shape == (21, 6, 8, 3) and data.x_train.dtype == np.uint8
    for part in ("train", "validation", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert_colors_match(x, y)
        assert len(set(np.bincount(y))) == 1, "not stratified"
    grey = datasets.load("image_folder", tmp_path / "photos", image_size=5, channels=1)
    assert grey.x_train.shape[1:] == (5, 5, 1) and grey.x_train.max() < 1


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_image_folder_with_parts(tmp_path, parts):
    write_tree(tmp_path, photos(*parts, each=4))
    data = datasets.image_folder(tmp_path, 6, validation=3, dtype="uint8")
    own = len(parts) == 3
    assert len(data.x_test) == 12 and len(data.x_train) == (12 if own else 9)
    assert len(data.x_validation) == (12 if own else 3)
    assert_colors_match(data.x_validation, data.y_validation)


def test_pictures_are_cut_in_the_middle(tmp_path):
    """The middle of a wide picture stays, at its proportions."""
    from PIL import Image

    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(wide).save(tmp_path / name)
    data = datasets.image_folder(tmp_path, 10, test=0.5, validation=0)
    assert data.x_train.min() == 1


def test_wrong_image_folders(tmp_path):
    def refused(files, error, message, **options):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        write_tree(root, files)
        with pytest.raises(error, match=message):
            datasets.image_folder(root, **options)

    files = photos(each=2)
    refused({}, MissingDataError, "no picture, expected CLASS/picture.png")
    refused(photos("test"), MissingDataError, "has test, expected")
    refused(
        photos("train"), MissingDataError, r"neither test/ nor val/ beside it.*/train as data_d"
    )
    refused(files | {"red/00.png": b"text"}, DataFormatError, "red/00.png is no picture, or is dam")
    cut = picture((1, 2, 3), (90, 90), "jpeg")
    refused(files | {"red/00.jpeg": cut[: len(cut) // 2]}, DataFormatError, "red/00.jpeg is no pic")
    one_less = {k: v for k, v in photos("train", "test").items() if "test/red" not in k}
    refused(one_less, DataFormatError, "the part 'test' has no picture of red")
    refused(files, ArgumentError, "image_size must be .* got 0", image_size=0)
    refused(files, ArgumentError, "channels must be 1 .* got 2", channels=2)
    refused(files, ArgumentError, "test must be a share .* got 1.5", test=1.5)
    with pytest.raises(ArgumentError, match="needs data_dir"):
        datasets.load("image_folder")


WORDNET = (
    "01440764 02102040 02979186 03000684 03028079 03394916 03417042 03425413 03445777 03888257"
)


def nette(size=(20, 16), each=3):
    return {
        f"{part}/n{number}/n{number}_{i}.JPEG": picture((9 * row, 25 * row, 7), size, "jpeg")
        for part in ("train", "val")
        for row, number in enumerate(WORDNET.split())
        for i in range(each if part == "train" else 1)
    }


def test_imagenette_is_the_same_from_archive_and_folder(tmp_path):
    (tmp_path / "a").mkdir()
    backwards = dict(reversed(nette().items()))
    (tmp_path / "a/imagenette2-160.tgz").write_bytes(tar_bytes(backwards, "imagenette2-160"))
    write_tree(tmp_path / "b/imagenette2-160", nette())
    options = {"image_size": 8, "validation": 10, "dtype": "uint8"}
    packed, tree, itself = (
        datasets.imagenette(tmp_path / place, **options)
        for place in ("a", "b", "b/imagenette2-160")
    )
    for name in ("x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(tree, name))
        np.testing.assert_array_equal(getattr(packed, name), getattr(itself, name))
    assert packed.classes[0] == "tench" and packed.classes[9] == "parachute"
    assert packed.x_train.shape == (20, 8, 8, 3) and packed.x_test.shape == (10, 8, 8, 3)
    greens = packed.x_test[..., 1].mean((1, 2))
    np.testing.assert_allclose(greens, 25 * packed.y_test, atol=3)


def test_imagenette_takes_the_smallest_that_is_large_enough(tmp_path):
    for name in ("imagenette2-160", "imagenette2-320"):
        write_tree(tmp_path / name, nette(each=2))
    for pixels, expected in ((160, "-160"), (161, "-320"), (999, "-320")):
        source = datasets.imagenette(tmp_path, pixels, validation=0, dtype="uint8").source
        assert source.endswith(expected)


def test_what_is_not_imagenette(tmp_path):
    files = {name: data for name, data in nette().items() if "n03888257" not in name}
    write_tree(tmp_path / "imagenette2-160", files)
    with pytest.raises(DataFormatError, match="is not Imagenette: expected the folders train and"):
        datasets.imagenette(tmp_path)
