"""Controls made from a config's own fields."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QLineEdit

from napari_damm.api import PredictConfig
from napari_damm.train.config import TrainConfig
from napari_damm.util.settings import check_settings, setting, settings_of
from napari_damm.util.text import with_micro
from napari_damm.widgets import settings_controls
from napari_damm.widgets.settings_controls import SettingsControls


@dataclass(frozen=True)
class Config:
    colour: str = setting("red", "What it looks like.", choices={"blue": "cold", "red": "warm"})
    size: str | None = setting(None, "How large.", choices={"big": "", "small": ""})
    count: int = setting(3, "How many.", least=1, most=2**40)
    share: float = setting(0.5, "Of what.", above=0, below=1)
    views: int | None = setting(None, "How often.", least=1, left_out="as many as suit")
    turns: int = setting(2, "How many of these.", one_of=(1, 2, 4))
    quick: bool = setting(True, "Whether to hurry.")
    name: str = setting("mine", "What it is called.")

    def __post_init__(self) -> None:
        check_settings(self)


NAMES = ("colour", "size", "count", "share", "views", "turns", "quick", "name")


@pytest.fixture
def controls(qtbot):
    return SettingsControls(Config, NAMES, nothing={"size": "as it is"})


def test_untouched_controls_give_the_defaults(controls):
    assert Config(**controls.values()) == Config()


@pytest.mark.parametrize("config", [PredictConfig, TrainConfig])
def test_every_plain_setting_of_ours_can_have_a_control(qtbot, config):
    plain = [name for name, each in settings_of(config).items() if each.kind is not object]
    optional = {name: "none" for name in plain if settings_of(config)[name].optional}
    made = SettingsControls(config, plain, nothing=optional)
    assert config(**made.values()) == config()
    for name in made:
        assert made.qt(name).objectName() == name
        assert made.qt(name).toolTip().startswith(with_micro(settings_of(config)[name].help))


def test_of_some_numbers_one_is_chosen(controls):
    box = controls.qt("turns")
    assert [box.itemText(row) for row in range(box.count())] == ["1", "2", "4"]
    assert controls.values()["turns"] == 2
    controls.set({"turns": 3})
    assert controls.values()["turns"] == 2
    controls.set({"turns": 4})
    assert controls.values()["turns"] == 4
    with pytest.raises(ValueError, match="turns must be one of 1, 2, 4, got 3"):
        Config(turns=3)


def test_each_kind_has_its_control(controls):
    kinds = (
        QComboBox, QComboBox, QAbstractSpinBox, QAbstractSpinBox, QAbstractSpinBox, QComboBox,
        QCheckBox, QLineEdit,
    )  # fmt: skip
    for name, kind in zip(NAMES, kinds, strict=True):
        assert isinstance(controls.qt(name), kind), name


def test_what_a_person_sets_is_what_comes_out(controls):
    controls.qt("colour").setCurrentText("blue")
    controls.qt("size").setCurrentText("small")
    controls.qt("count").setValue(2**35)
    controls.qt("share").setValue(0.25)
    controls.qt("views").setValue(4)
    controls.qt("turns").setCurrentText("4")
    controls.qt("quick").setChecked(False)
    controls.qt("name").setText("yours")
    assert controls.values() == {
        "colour": "blue",
        "size": "small",
        "count": 2**35,
        "share": 0.25,
        "views": 4,
        "turns": 4,
        "quick": False,
        "name": "yours",
    }
    assert controls.meaning("colour") == "cold"


def test_what_may_be_left_out_says_so(controls):
    assert controls.qt("size").currentText() == "as it is"
    assert controls.qt("views").text() == "auto"
    assert controls.qt("views").toolTip() == "How often. Left out: as many as suit."
    controls.qt("size").setCurrentText("big")
    controls.qt("size").setCurrentText("as it is")
    assert controls.values()["size"] is None


def test_limits_are_the_settings_own(controls):
    assert (controls.qt("count").minimum(), controls.qt("count").maximum()) == (1, 2**40)
    controls.qt("share").setValue(7)
    assert controls.qt("share").value() == 1


def test_of_devices_those_that_are_there_are_offered(qtbot, monkeypatch):
    for here in (("auto", "cpu"), ("auto", "cpu", "cuda"), ("auto", "cpu", "mps")):
        monkeypatch.setattr(settings_controls, "devices_here", lambda here=here: here)
        box = SettingsControls(PredictConfig, ["device"]).qt("device")
        assert tuple(box.itemText(row) for row in range(box.count())) == here


def test_what_few_need_is_folded_away_unless_it_is_not_as_usual(open_widget, monkeypatch):
    assert not open_widget().more.isExpanded()
    monkeypatch.setattr("napari_damm.widgets.predict.form.preferences", lambda: {"samples": 4})
    driver = open_widget()
    assert driver.samples.value() == 4
    assert driver.more.isExpanded()
