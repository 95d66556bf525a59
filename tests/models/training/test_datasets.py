"""The three forms of data, and what of them a model trains on."""

import csv

import cv2
import numpy as np
import pytest

from models.classify.crop import make_crop
from models.classify.spec import ModelSpec
from models.crop_spec import CropSpec
from models.detectors import FaceFrame
from models.training.data import LabelledFaces, fit_picture, hard_labels, read_parquet, targets_for
from models.training.datasets import list_usages, measured_usage, read_splits, read_usage
from schemas.emotions import EMOTIONS
from tests.helpers.tiny_faces import write_faces


def write_picture(path, value, shape=(20, 16, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(shape, value, np.uint8))


@pytest.fixture
def folder(tmp_path):
    """train/ with two spellings of one class, and test/, one picture of which is in train/ too."""
    write_picture(tmp_path / "train/happy/1.png", 10)
    write_picture(tmp_path / "train/happiness/2.png", (250, 0, 0))  # OpenCV writes blue first
    write_picture(tmp_path / "train/fearful/a.jpg", 200)
    write_picture(tmp_path / "train/neutral/3.png", 90)
    write_picture(tmp_path / "test/sad/1.png", 90)
    write_picture(tmp_path / "test/Surprised/1.png", 91)
    (tmp_path / "train/happy/notes.txt").write_text("not a picture")
    (tmp_path / "train/.cache").mkdir()
    return tmp_path


def test_a_folder_of_pictures_by_class(folder):
    assert list_usages(folder) == ["test", "train"]
    faces = read_usage(folder, "train", 48, 3)
    assert [EMOTIONS[label] for label in faces.fer2013] == ["fear", "happy", "happy", "neutral"]
    assert faces.images.shape == (4, 48, 48, 3)
    assert faces.images[1, 0, 0].tolist() == [0, 0, 250]
    assert not faces.votes.any()
    assert read_usage(folder, "train", 12, 1).images[3].tolist() == np.full((12, 12, 1), 90).tolist()


def test_a_folder_keeps_its_own_parts_apart(folder):
    splits = read_splits(folder, 48, 1)
    assert len(splits.training) == 3  # the grey of 90 is in test/
    assert splits.validation is None
    assert len(splits.test) == 2
    write_picture(folder / "validation/happy/9.png", 10)
    splits = read_splits(folder, 48, 1)
    assert (len(splits.training), len(splits.validation), len(splits.test)) == (2, 1, 2)
    assert measured_usage(folder) == "test"
    assert measured_usage(folder / "train") == "all"


def test_a_folder_that_is_not_split_is_all_for_training(folder):
    splits = read_splits(folder / "train", 48, 1)
    assert len(splits.training) == 4
    assert splits.validation is splits.test is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train/contempt/1.png", "contempt' is named after none of the classes angry, .* rename it"),
        ("train/happy/broken.png", "broken.png' cannot be read"),
    ],
)
def test_what_a_folder_should_not_hold_is_named(folder, path, message):
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(b"" if "broken" in path else b"no picture")
    with pytest.raises(ValueError, match=message):
        read_usage(folder, "train", 48, 1)


def test_classes_beside_the_seven_are_read_where_they_are_asked_for(folder):
    picture = folder / "train" / "happy" / "1.png"
    (folder / "train" / "Contempt").mkdir()
    (folder / "train" / "Contempt" / "1.png").write_bytes(picture.read_bytes())
    for classes in (None, ["contempt", "happy"]):
        faces = read_usage(folder, "train", 4, 1, classes=classes)
        assert faces.emotions == (*EMOTIONS, "contempt")
        truth, known = hard_labels(faces, "fer2013", ("contempt", "happy"))
        assert sorted(truth[known].tolist()).count(0) == 1
        targets, known = targets_for(faces, "fer2013", ("contempt", "awe"))
        assert targets[known].tolist() == [[1, 0]]


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no pictures in folders named after classes"):
        read_splits(tmp_path, 48, 1)
    write_picture(tmp_path / "test/sad/1.png", 90)
    with pytest.raises(ValueError, match="has no part to train on; it has test"):
        read_splits(tmp_path, 48, 1)
    with pytest.raises(ValueError, match="no pictures of usage 'train'; it has test"):
        read_usage(tmp_path, "train", 48, 1)


FERPLUS_COLUMNS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)


def write_csv(folder, data, header=("emotion", "pixels", "Usage")):
    """The faces of a FER2013 Parquet file as fer2013.csv and fer2013new.csv."""
    with (
        (folder / "fer2013.csv").open("w", newline="") as pictures,
        (folder / "fer2013new.csv").open("w", newline="") as votes,
    ):
        rows, counts = csv.writer(pictures), csv.writer(votes)
        rows.writerow(header)
        counts.writerow(["Usage", "Image name", *FERPLUS_COLUMNS])
        # PublicTest first, so that the rows of both files must be matched by their place.
        for usage in ("PublicTest", "Training"):
            faces = read_parquet(data, usage)
            for image, label, given in zip(faces.images, faces.fer2013, faces.votes.astype(int), strict=True):
                of = dict(zip(EMOTIONS, given, strict=True))
                ordered = [
                    of[name] for name in ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear")
                ]
                rows.writerow([label, " ".join(map(str, image.ravel())), usage])
                counts.writerow([usage, "x.png", *ordered, 0, 0, 0])
    return folder / "fer2013.csv"


def same(one, other):
    for name in ("images", "fer2013", "votes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("header", [("emotion", "pixels", "Usage"), ("emotion", " pixels", " Usage")])
def test_the_csv_files_say_what_the_parquet_file_says(tmp_path, header):
    data = write_faces(tmp_path / "faces.parquet", training=12, public_test=5)
    table = write_csv(tmp_path, data, header)
    assert list_usages(table) == list_usages(data) == ["PublicTest", "Training"]
    ours, theirs = read_splits(table, 48, 1), read_splits(data, 48, 1)
    same(ours.training, theirs.training)
    same(ours.test, theirs.test)
    assert ours.validation is None


def test_votes_are_beside_the_csv_or_given_or_absent(tmp_path):
    table = write_csv(tmp_path, write_faces(tmp_path / "faces.parquet", training=3, public_test=2))
    beside = read_usage(table, "Training", 48, 1)
    elsewhere = (tmp_path / "fer2013new.csv").rename(tmp_path / "votes.csv")
    assert not read_usage(table, "Training", 48, 1).votes.any()
    same(read_usage(table, "Training", 48, 1, elsewhere), beside)
    with pytest.raises(ValueError, match=r"belong to a fer2013\.csv"):
        read_usage(tmp_path / "faces.parquet", "Training", 48, 1, elsewhere)
    lines = elsewhere.read_text().splitlines()
    elsewhere.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="has 4 rows for 5 pictures"):
        read_usage(table, "Training", 48, 1, elsewhere)
    with pytest.raises(ValueError, match="lacks votes for the seven classes"):
        read_usage(table, "Training", 48, 1, table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        ("emotion,Usage\n3,Training\n", "lacks the columns pixels"),
        ("emotion,pixels,Usage\n3,1 2 3,Training\n", "not 48x48 pixels of a class from 0 to 6"),
        (f"emotion,pixels,Usage\n7,{'0 ' * 2304},Training\n", "not 48x48 pixels of a class from 0 to 6"),
        (f"emotion,pixels,Usage\n3,{'300 ' * 2304},Training\n", "not 48x48 pixels of a class from 0 to 6"),
        (f"emotion,pixels,Usage\n3,{'x ' * 2304},Training\n", "not 48x48 pixels of a class from 0 to 6"),
    ],
)
def test_a_csv_that_is_none_of_fer2013_is_refused(tmp_path, text, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_splits(tmp_path / "data.csv", 48, 1)


def test_pictures_are_resized_for_the_network(tmp_path):
    data = write_faces(tmp_path / "faces.parquet", training=4, public_test=2)
    plain, large = read_parquet(data, "Training"), read_usage(data, "Training", 100, 3)
    assert large.images.shape == (4, 100, 100, 3)
    for small, picture in zip(plain.images, large.images, strict=True):
        expected = cv2.resize(small, (100, 100), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(picture, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(30, 30), (90, 60), (31, 48)])
def test_a_picture_is_cut_as_the_pipeline_cuts_faces(tmp_path, shape, channels):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    spec = ModelSpec("x", EMOTIONS, 48, channels, CropSpec(1.0), None, None, False)
    height, width = shape
    expected = make_crop(picture, FaceFrame(width / 2, height / 2, max(shape), roll=0), spec)
    np.testing.assert_array_equal(fit_picture(picture, 48, channels), expected)


def faces_with(votes, fer2013):
    count = len(votes)
    return LabelledFaces(
        np.zeros((count, 2, 2, 1), np.uint8),
        np.array(fer2013),
        np.array(votes, np.float32),
        np.arange(count).astype(str),
    )


def test_two_classes_leave_the_other_pictures_out():
    happy, sad, neutral = (EMOTIONS.index(name) for name in ("happy", "sad", "neutral"))
    votes = np.zeros((4, 7))
    votes[0, [happy, sad]] = 6, 2
    votes[1, [happy, neutral]] = 4, 6
    votes[2, [sad, neutral]] = 9, 1
    votes[3, happy] = 2  # too few to say anything
    faces = faces_with(votes, [happy, happy, neutral, sad])
    targets, known = targets_for(faces, "ferplus", ("happy", "sad"))
    assert known.tolist() == [True, False, True, False]
    np.testing.assert_allclose(targets[known], [[0.75, 0.25], [0, 1]])
    targets, known = targets_for(faces, "fer2013", ("happy", "sad"))
    assert known.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(targets[known], [[1, 0], [1, 0], [0, 1]])
    truth, known = hard_labels(faces, "fer2013", ("happy", "sad"))
    assert truth[known].tolist() == [0, 0, 1]
    truth, known = hard_labels(faces, "ferplus", ("happy", "sad"))
    assert (truth[known].tolist(), known.tolist()) == ([0, 1], [True, False, True, False])


def test_data_without_votes_counts_by_its_own_labels(folder):
    faces = read_usage(folder, "train", 4, 1)
    for labels in ("ferplus", "fer2013", "both"):
        np.testing.assert_array_equal(targets_for(faces, labels)[0], np.eye(7)[faces.fer2013])
        truth, known = hard_labels(faces, labels)
        assert known.all()
        np.testing.assert_array_equal(truth, faces.fer2013)


def test_classes_that_the_data_does_not_have_are_refused(folder):
    faces = read_usage(folder, "train", 4, 1)
    with pytest.raises(ValueError, match="call disgust or sad"):
        targets_for(faces, "fer2013", ("disgust", "sad"))
