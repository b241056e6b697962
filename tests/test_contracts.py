"""The public surface: names, signatures and options that others build on.

A failing test here means that somebody else's code breaks: change the surface, and these tests,
only on purpose.
"""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import yaml

import napari_damm
from napari_damm import api, cli, events

MANIFEST = Path(napari_damm.__file__).with_name("napari.yaml")


def parameters(function):
    return list(inspect.signature(function).parameters)


def fields(cls):
    return [field.name for field in dataclasses.fields(cls)]


# ---------------------------------------------------------------- Python


PUBLIC = [
    "AnalyzeConfig", "EvaluateConfig", "PredictConfig", "TrainConfig", "FolderSource", "MapLayers",
    "MapSource", "SectionSource", "SimulatedSource", "SlideSource", "analyze", "calibrate",
    "evaluate", "find_sections", "fine_tune", "import_authors_checkpoint", "load_model",
    "open_result", "open_slide", "plan", "predict", "predict_batch", "prediction_interval",
    "simulate_slide",
]  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_in_the_api_and_at_the_top(name):
    assert getattr(napari_damm, name) is getattr(api, name)


def test_signatures_of_the_api():
    assert parameters(api.load_model) == ["name_or_path", "device"]
    assert parameters(api.predict) == ["slide", "model", "config", "store", "client", "resume"]
    assert parameters(api.predict_batch) == ["sections", "model", "config", "client", "resume"]
    assert parameters(api.find_sections) == ["inputs", "out", "nuclei_pattern", "options"]
    assert parameters(api.plan) == ["slide", "model", "config", "store"]
    assert parameters(api.evaluate) == ["data", "model", "config", "out"]
    assert parameters(api.calibrate) == ["data", "model", "name", "device"]
    assert parameters(api.analyze) == ["data", "config", "out", "groups"]
    assert parameters(api.open_result) == ["path"]
    assert parameters(api.prediction_interval) == ["result"]
    assert parameters(api.open_slide)[0] == "path"
    assert parameters(api.simulate_slide)[:3] == ["size", "seed", "preset"]
    assert parameters(api.import_authors_checkpoint)[0] == "path"


def test_training_takes_data_a_base_wishes_and_a_folder():
    assert parameters(api.fine_tune) == ["data", "model", "config", "out", "resume"]
    config = api.TrainConfig()
    assert {"name", "epochs", "minutes", "preset", "batch_size", "learning_rate", "seed",
            "device", "devices", "precision", "gated_from", "validation_share", "patience",
            "adapt_first_stages", "variants"} <= set(fields(api.TrainConfig))  # fmt: skip
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_sources_of_training_data_and_their_fields():
    assert fields(api.SlideSource)[:6] == [
        "path",
        "primary_channel",
        "secondary_channel",
        "target_channel",
        "secondary",
        "target",
    ]
    assert fields(api.FolderSource)[:5] == [
        "path",
        "primary",
        "secondary",
        "target",
        "pixel_size_um",
    ]
    assert fields(api.SimulatedSource)[:4] == ["sections", "size", "preset", "first_seed"]
    assert fields(api.SectionSource)[:3] == ["images", "pixel_size_um", "origin"]
    defaults = api.FolderSource("x")
    assert (defaults.primary, defaults.secondary, defaults.target) == ("CD31", "DAPI", "QD")


def test_tables_of_an_analysis_have_these_columns_and_measures():
    from napari_damm.analysis.measures import MEASURES
    from napari_damm.analysis.report import MEASURE_COLUMNS, PROFILE_COLUMNS

    assert MEASURE_COLUMNS == (
        "section", "animal", "group", "region", "measure", "value", "unit", "low", "high",
        "level", "n", "trusted_share",
    )  # fmt: skip
    assert PROFILE_COLUMNS == (
        "section", "region", "distance_um", "signal", "low", "high", "pixels",
    )  # fmt: skip
    assert list(MEASURES) == [
        "l50", "auc_100", "extravasation_distance", "extravasated_area", "vessel_area",
        "vessel_density", "vessel_diameter", "tissue_distance", "perfused_fraction",
        "tissue_access_100", "tissue_access_50", "cell_dose", "positive_cells", "cv", "gini",
        "rim_core",
    ]  # fmt: skip


def test_what_a_training_tells():
    assert fields(events.TrainPlanned)[:4] == [
        "sections",
        "train_patches",
        "validation_patches",
        "modalities",
    ]
    assert fields(events.TrainStep)[:5] == ["step", "epoch", "phase", "progress", "loss"]
    assert fields(events.Validated) == [
        "step",
        "progress",
        "scores",
        "base_scores",
        "best",
        "tiles",
    ]
    assert fields(events.Saved) == ["path", "step"]
    from napari_damm.train.run_folder import TrainedModel

    assert fields(TrainedModel) == ["path", "name", "card", "scores", "base_scores", "folder"]


def test_defaults_of_the_api():
    assert inspect.signature(api.load_model).parameters["name_or_path"].default is None
    assert inspect.signature(api.load_model).parameters["device"].default == "auto"
    assert inspect.signature(api.simulate_slide).parameters["preset"].default == "internal"
    optional = inspect.signature(api.predict).parameters
    assert [optional[name].default for name in ("model", "config", "store", "client")] == [None] * 4
    assert optional["resume"].default is False


def test_the_prediction_config_is_frozen_and_has_the_design_s_settings():
    config = api.PredictConfig()
    assert (config.mode, config.steps, config.seed, config.device) == ("expected", None, 0, "auto")
    assert config.samples == 1
    assert {"roi", "lanes", "workers", "strict", "batch_size", "shard", "gamma"} <= set(
        fields(api.PredictConfig)
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


def test_events_and_their_fields():
    assert fields(events.Notice) == ["message", "level"]
    assert fields(events.Planned)[:8] == [
        "shape",
        "pixel_size_um",
        "origin",
        "windows",
        "background_windows",
        "shards",
        "steps",
        "record",
    ]
    assert fields(events.Step) == ["done", "total"]
    assert fields(events.ShardDone) == ["row", "col", "shards_done", "shards"]
    assert fields(events.FailedItem) == ["item", "message"]
    assert fields(events.Finished)[:2] == ["result", "seconds"]
    for event in (events.Notice, events.Planned, events.Tile, events.Finished):
        assert event.__dataclass_params__.frozen


def test_a_result_has_its_public_attributes():
    from napari_damm.store import Result

    names = {"np", "np_std", "uncertainty", "branch", "pixel_size_um", "origin", "record", "status"}
    names |= {"familiarity"}
    assert names <= set(dir(Result)) | set(Result.__annotations__)


def test_a_record_says_how_far_it_can_be_trusted():
    from napari_damm.trust import cells
    from napari_damm.trust.verdict import VERDICTS, Assessment

    assert VERDICTS == ("use", "with care", "do not use")
    said = cells.before(Assessment("with care", 0.02, ("a sentence",)))
    assert (said["verdict"], said["reasons"]) == ("with care", ["a sentence"])
    maps = (np.array([[0.5, 0.01]]), np.array([[0.1, 0.1]]), np.array([[2, 2]]))
    assert cells.after(said, *maps)["shares"] == {"use": 0.5, "with care": 0.5, "do not use": 0.0}
    assert cells.before(None)["verdict"] == "not assessed"


# ---------------------------------------------------------------- the model


def test_signatures_of_the_model():
    from napari_damm.model import DAMM, select_branch

    assert parameters(DAMM.encode) == ["self", "image", "modality"]
    wanted = ["self", "x_t", "t", "primary", "secondary", "use_uncertainty"]
    assert parameters(DAMM.predict_noise) == wanted
    assert inspect.signature(DAMM.predict_noise).parameters["use_uncertainty"].default is True
    assert parameters(DAMM.decode)[:3] == ["self", "z", "modality"]
    for optional in ("modality", "primary"):
        assert inspect.signature(DAMM.decode).parameters[optional].default is None
    assert parameters(select_branch) == ["outputs", "gamma"]


def test_outputs_of_the_model_are_named():
    from napari_damm.model import BranchOutputs

    assert BranchOutputs._fields == ("eps_uni", "eps_multi", "confidence")


def test_signatures_of_schedule_and_sampler():
    from napari_damm.sampling import sample_ddim
    from napari_damm.schedule import NoiseSchedule

    assert len(NoiseSchedule().alphas_cumprod) == 1000
    assert parameters(NoiseSchedule.add_noise) == ["self", "x_0", "eps", "t"]
    assert parameters(sample_ddim) == ["denoise", "x_T", "schedule", "steps", "eta", "noise"]
    defaults = inspect.signature(sample_ddim).parameters
    assert (defaults["eta"].default, defaults["noise"].default) == (0.0, None)


def test_a_model_s_card_names_three_modalities_and_a_pixel_size():
    card = api.load_model(device="cpu").card
    assert card["modalities"] == ["vessels", "nuclei", "nanoparticles"]
    assert card["pixel_size_um"] > 0


# ---------------------------------------------------------------- the command line


COMMANDS = {
    "demo": ["--out", "--gui"],
    "simulate": ["OUT.ome.tif", "--size", "--seed", "--preset"],
    "predict": ["INPUT", "--nuclei", "--vessels-channel", "--nuclei-channel", "--out",
        "--out-dir", "--nuclei-pattern", "--model", "--mode", "--steps", "--seed", "--device",
        "--pixel-size", "--roi", "--resume", "--scheduler", "--workers", "--ro-crate",
        "--precision"],
    "evaluate": ["--vessels-channel", "--nuclei-channel", "--target-channel", "--nuclei",
        "--target", "--pixel-size", "--roi", "--folders", "--simulated", "--simulated-preset",
        "--simulated-size", "--first-seed", "--model", "--compare", "--mode", "--steps", "--seed",
        "--device", "--out"],
    "calibrate": ["--vessels-channel", "--nuclei-channel", "--target-channel", "--pixel-size",
        "--folders", "--simulated", "--model", "--name", "--device"],
    "analyze": ["--out", "--vessels-channel", "--nuclei-channel", "--particles-channel",
        "--perfusion-channel", "--pixel-size", "--section", "--regions", "--band",
        "--vessel-threshold", "--particle-threshold", "--groups", "--test"],
    "train": ["--vessels-channel", "--nuclei-channel", "--target-channel", "--target",
        "--folders", "--simulated", "--base,", "--config", "--out", "--resume", "--install",
        "--name", "--epochs", "--minutes", "--preset", "--seed", "--device"],
    "models": ["list", "show", "import", "export", "remove"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_their_options(command, capsys):
    assert cli.main([command, "--help"]) == 0
    words = capsys.readouterr().out.split()
    assert [option for option in COMMANDS[command] if option not in words] == []


def test_the_presets_of_the_simulator():
    from napari_damm.simulate import CHANNELS, PRESETS

    assert set(PRESETS) == {"internal", "external", "varied"}
    assert CHANNELS == ("vessels", "nuclei", "nanoparticles", "divergence", "nanoparticles_true")


# ---------------------------------------------------------------- napari


def test_the_manifest_offers_the_widget_the_reader_and_the_sample():
    manifest = yaml.safe_load(MANIFEST.read_text())
    contributions = manifest["contributions"]
    assert manifest["name"] == "napari-damm"
    names = [widget["display_name"] for widget in contributions["widgets"]]
    assert names == ["Predict nanoparticles", "Fine-tune model", "Analyze nanoparticles"]
    assert "Simulated tumour section" in [s["display_name"] for s in contributions["sample_data"]]
    assert contributions["readers"]


@pytest.mark.parametrize("name", ["AnalyzeWidget", "PredictWidget", "TrainWidget"])
def test_a_widget_takes_the_viewer(name):
    from napari_damm import widgets

    assert parameters(getattr(widgets, name))[0] in {"viewer", "napari_viewer"}
