"""`affectline predict`: what it tells of pictures, and the copies it draws."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from pipeline.cli.main import main
from schemas.emotions import EMOTIONS
from tests.helpers.tiny_model import save_brightness_model
from transforms.faces.analyzer import Analyzer, find_faces
from transforms.faces.pictures import read_picture

DOCS = Path(__file__).resolve().parents[3] / "docs" / "predict.md"
HAAR = ["--detector", "haar"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One face, two faces, none, and a broken file."""
    folder = tmp_path_factory.mktemp("pictures")
    one = data.astronaut()[:240, 100:340]
    Image.fromarray(one).save(folder / "one.png")
    (folder / "more").mkdir()
    Image.fromarray(np.concatenate([one, one[:, ::-1]], axis=1)).save(folder / "more/two.jpg", quality=95)
    Image.new("RGB", (90, 60), "grey").save(folder / "none.png")
    (folder / "text.png").write_text("hello")
    return folder


@pytest.fixture(scope="module")
def model(untrained_model):
    return ["--model", untrained_model]


def predict(*arguments):
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def found(path, model):
    return find_faces(read_picture(path), Analyzer.load(str(model[1]), "haar"))


def shortened(path):
    """A path as the table has it, within its column."""
    return str(path) if len(str(path)) <= 24 else "…" + str(path)[-23:]


def test_each_face_is_a_line_with_its_numbers(folder, model):
    result = predict(folder / "more/two.jpg", folder / "none.png", *HAAR, *model)
    assert result.exit_code == 0, result.output
    head, first, second, nobody = result.stdout.splitlines()
    assert head.split() == [
        "picture",
        "face",
        "x",
        "y",
        "w",
        "h",
        "score",
        "emotion",
        *(emotion[:4] for emotion in EMOTIONS),
    ]
    faces = found(folder / "more/two.jpg", model)
    for number, (line, face) in enumerate(zip((first, second), faces, strict=True), 1):
        assert line.split() == [
            shortened(folder / "more/two.jpg"),
            str(number),
            *(f"{value:.0f}" for value in face.box[:4]),
            f"{face.box.score:.2f}",
            face.emotion,
            *(f"{100 * value:.0f}%" for value in face.probabilities),
        ]
    assert nobody.split(maxsplit=1) == [shortened(folder / "none.png"), "no face found"]
    assert max(map(len, result.stdout.splitlines())) <= 100
    # Columns stand below each other.
    assert len({len(line) for line in (head, first, second)}) == 1


def test_json_has_one_object_a_picture(folder, model, capfd):
    result = predict(folder, "--json", *HAAR, *model)
    assert result.exit_code == 3
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["picture"] for each in told] == [
        str(folder / name) for name in ("more/two.jpg", "none.png", "one.png", "text.png")
    ]
    assert [len(each["faces"]) for each in told] == [2, 0, 1, 0]
    assert [(each["width"], each["height"]) for each in told] == [
        (480, 240),
        (90, 60),
        (240, 240),
        (None, None),
    ]
    documented = set(re.findall(r"`(\w+)`(?=[^|]*\|)", DOCS.read_text(encoding="utf-8")))
    assert set(told[0]) | set(told[0]["faces"][0]) <= documented
    sentence = "This is not a picture of a known format."
    assert [each["error"] for each in told] == [None, None, None, sentence]
    assert f"affectline: {folder / 'text.png'}: {sentence}\n" == capfd.readouterr().err
    for shown, face in zip(told[0]["faces"], found(folder / "more/two.jpg", model), strict=True):
        assert [shown[name] for name in "xywh"] == pytest.approx(face.box[:4], abs=0.005)
        assert shown["score"] == pytest.approx(face.box.score, abs=5e-5)
        assert list(shown["probabilities"]) == list(EMOTIONS)
        assert list(shown["probabilities"].values()) == pytest.approx(face.probabilities.tolist(), abs=5e-5)
        assert shown["emotion"] == max(shown["probabilities"], key=shown["probabilities"].get)
        assert shown["confidence"] == shown["probabilities"][shown["emotion"]]


def test_how_the_head_is_turned_is_told_and_the_mesh_when_asked(folder, model):
    arguments = [folder / "one.png", *HAAR, *model, "--json"]
    [plain] = json.loads(predict(*arguments).stdout)["faces"]
    [meshed] = json.loads(predict(*arguments, "--mesh").stdout)["faces"]
    points = np.array(meshed.pop("mesh"))
    assert meshed == plain
    assert points.shape == (468, 2)
    x, y = points.mean(axis=0)
    assert plain["x"] < x < plain["x"] + plain["w"]
    assert plain["y"] < y < plain["y"] + plain["h"]
    assert max(abs(plain["yaw"]), abs(plain["roll"])) < 10
    assert plain["face_px"] == min(plain["w"], plain["h"])
    assert -2 < plain["sharpness"] < -1


def test_csv_has_a_line_a_face_and_one_for_each_picture_without(folder, model, capfd):
    result = predict(folder, "--csv", *HAAR, *model)
    assert result.exit_code == 3
    rows = pd.read_csv(io.StringIO(result.stdout))
    assert rows["picture"].map(os.path.basename).tolist() == [
        *("two.jpg", "two.jpg", "none.png", "one.png", "text.png")
    ]
    assert rows["face"].fillna(0).tolist() == [1, 2, 0, 1, 0]
    assert rows["error"].notna().tolist() == [False, False, False, False, True]
    for row, face in zip(rows.to_dict("records"), found(folder / "more/two.jpg", model), strict=False):
        assert [row[name] for name in "xywh"] == pytest.approx(face.box[:4], abs=0.005)
        assert [row[emotion] for emotion in EMOTIONS] == pytest.approx(face.probabilities.tolist(), abs=5e-5)
    both = predict(folder, "--csv", "--json", *HAAR, *model)
    assert (both.exit_code, len(both.output.splitlines())) == (2, 1)


def test_a_broken_picture_is_one_sentence_and_the_others_go_on(folder, model, capfd):
    result = predict(folder / "text.png", folder / "one.png", *HAAR, *model)
    assert result.exit_code == 3
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "picture",
        shortened(folder / "one.png"),
    ]
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_model_of_two_classes_has_two_columns(folder, tmp_path):
    path = save_brightness_model(tmp_path / "m.keras", ["sad", "happy"], middle=100, steepness=0.05)
    arguments = [folder / "one.png", *HAAR, "--model", path]
    head, line = predict(*arguments).stdout.splitlines()
    assert head.split()[-3:] == ["emotion", "happ", "sad"]
    happy, sad = (float(value.rstrip("%")) for value in line.split()[-2:])
    assert happy + sad == pytest.approx(100, abs=1)
    [face] = json.loads(predict(*arguments, "--json").stdout)["faces"]
    unknown = [name for name, value in face["probabilities"].items() if value is None]
    assert unknown == [name for name in EMOTIONS if name not in ("happy", "sad")]
    assert face["probabilities"]["happy"] == pytest.approx(happy / 100, abs=0.006)


def test_a_crop_is_not_searched_for_faces(folder, model):
    result = predict(folder / "none.png", "--crop", *model, "--detector", "yunet")
    assert result.exit_code == 0, result.output
    head, line = result.stdout.splitlines()
    assert head.split() == ["picture", "emotion", *(emotion[:4] for emotion in EMOTIONS)]
    assert sum(float(value.rstrip("%")) for value in line.split()[2:]) == pytest.approx(100, abs=4)


def test_one_picture_is_drawn_into_the_file_that_was_named(folder, model, tmp_path):
    target = tmp_path / "new" / "drawn.png"
    assert predict(folder / "one.png", "--annotate", target, *HAAR, *model).exit_code == 0
    before, after = read_picture(folder / "one.png"), read_picture(target)
    [face] = found(folder / "one.png", model)
    x, y, w, h = (round(value) for value in face.box[:4])
    assert before.shape == after.shape
    assert (before[y, x] != after[y, x]).any()
    inside = (slice(y + h // 4, y + 3 * h // 4), slice(x + w // 4, x + 3 * w // 4))
    np.testing.assert_array_equal(after[inside], before[inside])
    assert [path.name for path in target.parent.iterdir()] == ["drawn.png"]


def test_several_pictures_are_drawn_into_a_folder_under_their_names(folder, model, tmp_path):
    out = tmp_path / "drawn"
    assert predict(folder, "--annotate", out, *HAAR, *model).exit_code == 3
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        "more/two.jpg",
        "none.png",
        "one.png",
    ]
    np.testing.assert_array_equal(read_picture(out / "none.png"), read_picture(folder / "none.png"))
    # One picture goes into a folder too, when there is one of that name.
    (tmp_path / "there").mkdir()
    assert predict(folder / "one.png", "--annotate", tmp_path / "there", *HAAR, *model).exit_code == 0
    np.testing.assert_array_equal(read_picture(tmp_path / "there/one.png"), read_picture(out / "one.png"))


def test_a_copy_stands_upright_whatever_its_source_says(folder, model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(read_picture(folder / "one.png"))
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "turned.png", exif=exif)
    lines = [
        predict(path, *HAAR, *model).stdout.splitlines()[1].split()[1:]
        for path in (folder / "one.png", tmp_path / "turned.png")
    ]
    assert lines[0] == lines[1]
    for source, copy in ((folder / "one.png", "a.png"), (tmp_path / "turned.png", "b.png")):
        assert predict(source, "--annotate", tmp_path / copy, *HAAR, *model).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_format_that_can_only_be_read_is_drawn_as_png(folder, model, tmp_path):
    picture = tmp_path / "pictures" / "one.psd.dat"
    picture.parent.mkdir()
    picture.write_bytes((folder / "one.png").read_bytes())
    assert (
        predict(
            picture.parent / "one.psd.dat", folder / "one.png", "--annotate", tmp_path / "out", *HAAR, *model
        ).exit_code
        == 0
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "one.psd.dat.png"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.png"], "absent.png does not exist."),
        (["empty"], "There is no picture in empty."),
        (["one.png", "--model", "nope"], "There is no model 'nope'"),
        (["one.png", "--detector", "nope"], "There is no detector 'nope'"),
        (["one.png", "--annotate", "drawn.xyz"], "does not end like a picture's name; try drawn.png."),
        (["one.png", "--annotate", "one.png"], "one.png is one of the pictures itself"),
        (["more", "one.png", "--annotate", "."], "one.png is one of the pictures itself"),
        (["one.png", "more", "--annotate", "text.png"], "text.png is a file; give a folder"),
        (["one.png", "same/one.png", "--annotate", "new"], "would both be drawn to new/one.png"),
        (["one.png", "--annotate", "text.png/x.png"], "text.png/x.png cannot be written"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_and_writes_nothing(
    folder, model, tmp_path, monkeypatch, arguments, said
):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "same").mkdir()
    shutil.copy(folder / "one.png", tmp_path / "same")
    (tmp_path / "empty").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    monkeypatch.chdir(tmp_path)
    usual = [*HAAR, *model]
    given = [option for at in (0, 2) for option in usual[at : at + 2] if usual[at] not in arguments]
    result = predict(*arguments, *given)
    assert result.exit_code == 2, result.output
    told = result.output.splitlines()[-1]
    assert told.startswith("affectline: ")
    assert said in told
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_the_help_says_what_an_image_may_be():
    assert re.search(r"IMAGE may be a folder", predict("--help").output)
