"""Settings in one place: limits, choices and help beside the default."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass

import pytest

from napari_damm.cli.option_names import in_options
from napari_damm.engine.config import PredictConfig
from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.train.config import TrainConfig
from napari_damm.util.advice import advice_of
from napari_damm.util.settings import check_settings, same_setting, setting, settings_of

CONFIGS = [PredictConfig, EvaluateConfig, TrainConfig]


@dataclass(frozen=True)
class Oven:
    degrees: int = setting(180, "How hot.", least=50, most=250)
    hours: float | None = setting(None, "How long.", above=0, left_out="until done")
    share: float = setting(0.5, "Of the shelf.", least=0, below=1)
    heat: str = setting("top", "From where.", choices={"top": "a crust", "fan": "all around"})
    light: bool = setting(False, "Whether to see it.")
    dish: str = setting("bread", "What it is.", label="Recipe")

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True)
class Grill:
    degrees: int = same_setting(Oven, "degrees")


def test_a_setting_knows_what_its_field_is():
    hours = settings_of(Oven)["hours"]
    assert (hours.name, hours.kind, hours.optional, hours.default) == ("hours", float, True, None)
    assert (hours.label, hours.smallest, hours.largest) == ("Hours", 0, None)
    assert settings_of(Oven)["dish"].label == "Recipe"
    assert settings_of(Oven(degrees=60))["degrees"].default == 180


def test_a_setting_can_belong_to_two_configs():
    shared, own = settings_of(Grill)["degrees"], settings_of(Oven)["degrees"]
    assert shared == own
    assert Grill().degrees == 180


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"degrees": 300}, "degrees must be in 50..250, got 300"),
        ({"degrees": 99.5}, "degrees must be a whole number, got 99.5"),
        ({"degrees": True}, "degrees must be in 50..250, got True"),
        ({"degrees": "hot"}, "degrees must be in 50..250, got 'hot'"),
        ({"degrees": float("nan")}, "degrees must be in 50..250, got nan"),
        ({"hours": 0}, "hours must be above 0, got 0"),
        ({"hours": float("inf")}, "hours must be above 0, got inf"),
        ({"share": 1.0}, "share must be 0 or more and below 1, got 1.0"),
        ({"heat": "bottom"}, "heat must be one of top, fan, got 'bottom'"),
        ({"heat": ["top"]}, "heat must be one of top, fan, got ['top']"),
        ({"heat": None}, "heat must be one of top, fan, got None"),
        ({"light": 1}, "light must be true or false, got 1"),
        ({"dish": 5}, "dish must be text, got 5"),
        ({"degrees": 10**5000}, "degrees must be in 50..250, got a number of thousands of digits"),
        ({"dish": ["x" * 1000]}, "dish must be text, got ['" + "x" * 95 + "..."),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(values, words):
    with pytest.raises(ValueError, match=r"must be") as refused:
        Oven(**values)
    assert str(refused.value) == words
    advice = advice_of(refused.value)
    assert advice is not None
    assert advice.parameters == tuple(values)
    assert in_options(advice) == f"--{words}"


def test_limits_themselves_are_allowed_and_whole_numbers_kept_as_such():
    oven = Oven(degrees=250.0, hours=0.1, share=0)
    assert (oven.degrees, oven.share) == (250, 0)
    assert isinstance(oven.degrees, int)
    assert Oven(hours=None).hours is None


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_of_a_config_is_a_setting_with_help_and_its_default_is_allowed(config):
    settings = settings_of(config)
    assert list(settings) == [each.name for each in dataclasses.fields(config)]
    assert all(each.help for each in settings.values())
    for each in settings.values():
        assert each.check(each.default) == each.default


@pytest.mark.parametrize("config", CONFIGS)
def test_limits_hold_for_every_number(config):
    numbers = [each for each in settings_of(config).values() if each.kind in (int, float)]
    assert numbers
    for each in numbers:
        with pytest.raises(ValueError, match=f"^{each.name} must be"):
            each.check(float("inf"))
        if each.name != "shard":
            with pytest.raises(ValueError, match=f"^{each.name} must be"):
                each.check(-1)


HELP = """
from contextlib import suppress
from napari_damm.cli import main
for command in {commands}:
    with suppress(SystemExit):
        main([*command.split(), "--help"])
"""


def test_help_needs_no_docstrings():
    commands = ["", "predict", "train", "evaluate", "demo", "simulate", "models", "models import"]
    script = HELP.format(commands=commands)
    texts = []
    for options in (["-OO"], []):
        words = [sys.executable, *options, "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("Usage: ") == len(commands)
        texts.append(done.stdout)
    assert texts[0] == texts[1]
