"""`affectline train`: every piece of a recipe by an option, and what it refuses."""

import json
from dataclasses import asdict, replace

import pytest
from click.testing import CliRunner

from models.architectures.registry import ARCHITECTURES
from models.architectures.spec import Augmentation, Phase, Recipe
from models.training import training
from models.training.recipes import changed_recipe
from pipeline.cli.main import main
from tests.helpers.tiny_faces import write_faces
from tests.helpers.tiny_networks import TINY, register

RECIPE = Recipe(
    phases=(
        Phase("head", 30, 1e-3, "adamw", 1e-3, 3, "cosine", "frozen"),
        Phase("unfrozen", 15, 1e-5, "adamw", 1e-3, backbone=(160, 175)),
    ),
    batch_size=64,
    early_stopping=15,
    class_boosts={"disgust": 3.0},
    augmentation=Augmentation(rotation=35, fill="constant"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces.parquet", training=40, public_test=20)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    register(monkeypatch)
    monkeypatch.setitem(ARCHITECTURES, "two-phases", replace(TINY, recipe=RECIPE))


def run(*arguments):
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


@pytest.fixture
def asked(data, tmp_path, monkeypatch):
    """What a command line asks of `training.train`, which is not run."""

    def asked(*arguments):
        configs = []

        def record(config, out):
            configs.append(config)
            (out / "evaluation").mkdir(parents=True, exist_ok=True)
            (out / "evaluation/evaluation.txt").write_text("measured")

        monkeypatch.setattr(training, "train", record)
        result = run("two-phases", "--data", data, "-o", tmp_path, *arguments)
        assert (result.exit_code, result.stdout) == (0, "measured")
        return configs[0]

    return asked


def test_without_options_the_recipe_is_the_models_own(asked, data):
    assert asked() == training.TrainingConfig("two-phases", str(data), 0, RECIPE)


OPTIONS = {
    "--batch-size 8": {"batch_size": 8},
    "--labels ferplus": {"labels": "ferplus"},
    "--validation-fraction 0.25": {"validation_fraction": 0.25},
    "--monitor accuracy": {"monitor": "accuracy"},
    "--early-stopping 3": {"early_stopping": 3},
    "--early-stopping 0": {"early_stopping": None},
    "--plateau 4": {"plateau": 4},
    "--plateau-factor 0.1": {"plateau_factor": 0.1},
    "--class-weights balanced": {"class_weights": "balanced"},
    "--class-boost fearful=2 --class-boost disgust=1": {"class_boosts": {"disgust": 1.0, "fear": 2.0}},
    "--loss focal": {"loss": "focal"},
    "--focal-gamma 1.5": {"focal_gamma": 1.5},
    "--label-smoothing 0.1": {"label_smoothing": 0.1},
    "--ema-momentum 0.99": {"ema_momentum": 0.99},
    "--mixed-precision": {"mixed_precision": True},
    "--full-precision": {"mixed_precision": False},
    "--epochs 5": {"phases.0.epochs": 5, "phases.1.epochs": 5},
    "--epochs 5 --epochs head=7": {"phases.0.epochs": 7, "phases.1.epochs": 5},
    "--epochs unfrozen=0": {"phases.1.epochs": 0},
    "--learning-rate head=0.5": {"phases.0.learning_rate": 0.5},
    "--optimizer unfrozen=sgd": {"phases.1.optimizer": "sgd"},
    "--weight-decay 0": {"phases.0.weight_decay": 0.0, "phases.1.weight_decay": 0.0},
    "--warmup-epochs head=1.5": {"phases.0.warmup_epochs": 1.5},
    "--schedule unfrozen=cosine": {"phases.1.schedule": "cosine"},
    "--backbone head=trained --backbone unfrozen=100:140": {
        "phases.0.backbone": "trained",
        "phases.1.backbone": (100, 140),
    },
    "--rotation 5": {"augmentation.rotation": 5.0},
    "--shift 0.1": {"augmentation.shift": 0.1},
    "--shear 0.2": {"augmentation.shear": 0.2},
    "--zoom 0.3": {"augmentation.zoom": 0.3},
    "--flip": {"augmentation.flip": True},
    "--brightness 0.4": {"augmentation.brightness": 0.4},
    "--contrast 0.5": {"augmentation.contrast": 0.5},
    "--cutout 0.6": {"augmentation.cutout": 0.6},
    "--fill nearest": {"augmentation.fill": "nearest"},
}


def flat(value, path=""):
    """Every leaf of nested settings by its path; class boosts count as one leaf."""
    if isinstance(value, dict) and path != "class_boosts":
        return {
            k: v for name, each in value.items() for k, v in flat(each, f"{path}.{name}".lstrip(".")).items()
        }
    if path == "phases":
        return {k: v for i, each in enumerate(value) for k, v in flat(each, f"{path}.{i}").items()}
    return {path: value}


@pytest.mark.parametrize("options", OPTIONS)
def test_an_option_changes_its_piece_and_nothing_else(asked, options):
    own = flat(asdict(RECIPE))
    assert flat(asdict(asked(*options.split()).recipe)) == own | OPTIONS[options]


def test_every_piece_of_a_recipe_has_an_option():
    changed = {path.replace(".0.", ".").replace(".1.", ".") for each in OPTIONS.values() for path in each}
    pieces = {path.replace(".0.", ".").replace(".1.", ".") for path in flat(asdict(RECIPE))}
    assert changed == pieces - {"phases.name"}


def test_what_is_not_the_recipes(asked, data):
    config = asked("--seed", "3", "--votes", data, "--backbone-weights", "imagenet")
    assert (config.seed, config.votes, config.backbone_weights) == (3, str(data), "imagenet")
    assert config.recipe == RECIPE


def test_a_recipe_is_not_changed_in_place():
    changed_recipe(RECIPE, {}, {}, {}, {"disgust": 9.0})
    assert RECIPE.class_boosts == {"disgust": 3.0}


def test_help_groups_the_options():
    text = run("--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Fine-tuning:", "Data:", "Run:", "Phases:", "Recipe:", "Augmentation:", "General:"]
    assert text.index("Phases:") < text.index("--epochs") < text.index("Recipe:") < text.index("--labels")


def test_the_command_trains_and_prints_what_was_measured(data, tmp_path):
    result = run("tiny", "--data", data, "-o", tmp_path / "run", "--epochs", "1", "--seed", "5")
    assert result.exit_code == 0
    assert "train 1/1: loss" in result.stderr
    assert result.stdout == (tmp_path / "run/evaluation/evaluation.txt").read_text()
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["seed"], config["recipe"]["phases"][0]["epochs"]) == (5, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "There is no model 'nope'; choose one of cnn48"),
        (["tiny", "--epochs", "-1"], "is not in the range x>=0"),
        (["tiny", "--epochs", "head=2"], "has no phase 'head'; it has train"),
        (["tiny", "--learning-rate", "train=x"], "'x' is not a valid float"),
        (["tiny", "--backbone", "5"], "none of trained, frozen or two layer numbers"),
        (["tiny", "--backbone", "2:9"], "has 6 layers; phase 'train' cannot train those from 2 to 9"),
        (["tiny", "--class-boost", "contempt=2"], "'contempt' is not one of the emotions"),
        (["tiny", "--class-boost", "disgust"], "is not a valid float"),
        (["two", "--class-boost", "disgust=2"], "does not know the class 'disgust'"),
        (["cnn48", "--backbone-weights", "none"], "'cnn48' has no backbone"),
        (["cnn48", "--backbone", "frozen", "--epochs", "2"], "'cnn48' has no backbone"),
    ],
)
def test_bad_input_is_one_sentence(data, tmp_path, arguments, message):
    result = run(*arguments, "--data", data, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "run/model.keras").exists()


def test_a_file_is_no_folder_for_a_run(data, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("tiny", "--data", data, "-o", tmp_path / "file")
    assert result.exit_code == 2
    assert "is a file" in result.stderr
