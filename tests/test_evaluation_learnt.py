"""A model that is judged on sections it learnt from: it is said, wherever its numbers are."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import tifffile
from evaluations import QUICK, section_file, window_model
from training_data import layers, write_slide

from napari_damm import api, cli
from napari_damm.dataset import FolderSource, SimulatedSource, SlideSource, open_sections
from napari_damm.dataset.sources import ROLES
from napari_damm.evaluation.drawing import draw
from napari_damm.evaluation.learnt import Learnt
from napari_damm.events import Notice
from napari_damm.slide import Raster
from napari_damm.slide.pixel_sample import pixel_sample

NAMES = {"primary_channel": "CD31", "secondary_channel": "DAPI", "target_channel": "QD"}
REMEMBERS = "what it remembers"


@pytest.fixture(scope="module", autouse=True)
def _small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
        yield


def card_of(source, *, base=None, pixels=False, **data):
    """What a card says of a training on the sections of a source; those of before had no pixels."""
    sections = [
        {"name": s.name, "identity": s.identity} | ({"pixels": s.pixels} if pixels else {})
        for s in open_sections(source)
    ]
    listed = json.loads(json.dumps(sections))
    return {"training_data": {"kind": "images", "sections": listed, "base": base, **data}}


def knows(card, source):
    (section,) = open_sections(source, evaluation=True)
    return Learnt.of_card("mine", card).knows(section)


@pytest.fixture
def slide(tmp_path):
    return write_slide(tmp_path / "s.ome.tif", (64, 64))


def test_a_copy_under_another_name_is_the_same_picture(slide, tmp_path):
    card = card_of(SlideSource(slide, **NAMES))
    copy = shutil.copy(slide, tmp_path / "other.ome.tif")
    assert knows(card, SlideSource(copy, **NAMES))
    assert knows(card, SlideSource(copy, **NAMES, roi=(0, 0, 32, 32)))
    assert not knows(card, SlideSource(write_slide(tmp_path / "new.ome.tif", (64, 64), 1), **NAMES))


def test_what_the_base_learnt_from_is_known_too(slide):
    deeper = card_of(SlideSource(slide, **NAMES))["training_data"]
    for base in (deeper, {"base": deeper}):
        assert knows({"training_data": {"sections": [], "base": base}}, SlideSource(slide, **NAMES))


def test_layers_are_known_again_in_their_file_and_the_other_way_in_layers(tmp_path):
    slide = write_slide(tmp_path / "s.ome.tif")
    assert knows(card_of(layers()), layers())
    assert knows(card_of(layers()), SlideSource(slide, **NAMES))
    assert not knows(card_of(layers(seed=1)), SlideSource(slide, **NAMES))
    assert not knows(card_of(layers((64, 64))), SlideSource(slide, **NAMES))


def test_another_image_of_the_same_file_is_another_picture(slide):
    card = card_of(SlideSource(slide, **NAMES))
    for role in ("vessels", "nuclei"):
        card["training_data"]["sections"][0]["identity"][role]["image"] = 1
    assert not knows(card, SlideSource(slide, **NAMES))


def test_cards_of_before_know_the_ends_of_a_file(slide):
    card = card_of(SlideSource(slide, **NAMES))
    for role in ("vessels", "nuclei"):
        del card["training_data"]["sections"][0]["identity"][role]["sha256_content"]
    assert knows(card, SlideSource(slide, **NAMES))
    card["training_data"]["sections"][0]["identity"]["nuclei"]["size"] += 1
    assert not knows(card, SlideSource(slide, **NAMES))


def test_a_shared_blank_image_makes_no_two_sections_the_same(slide):
    card = card_of(SlideSource(slide, **NAMES))
    card["training_data"]["sections"][0]["identity"]["nuclei"]["sha256_content"] = "other"
    assert not knows(card, SlideSource(slide, **NAMES))


def test_simulated_sections_are_known_by_preset_seed_and_size():
    identity = {"kind": "simulated", "preset": "internal", "seed": 10_000, "size": 64}
    card = {"training_data": {"sections": [{"identity": identity}]}}
    assert knows(card, SimulatedSource(1, 64, first_seed=10_000))
    assert not knows(card, SimulatedSource(1, 64, first_seed=10_001))
    assert not knows(card, SimulatedSource(1, 64, "external", first_seed=10_000))


@pytest.mark.parametrize(
    "data", [None, "mice", [], {"sections": "x"}, {"sections": [1, {"identity": 2}, {}]},
             {"sections": [{"identity": {"vessels": 3}}], "number_of_sections": "many"},
             {"sections": [{"identity": {"kind": "simulated"}}]}]
)  # fmt: skip
def test_a_card_that_lists_nothing_knows_nothing(slide, data):
    assert not knows({"training_data": data}, SlideSource(slide, **NAMES))


def judged(model, *sources, **settings):
    config = api.EvaluateConfig(**QUICK | settings)
    *events, finished = api.evaluate(list(sources), model, config)
    warnings = [e.message for e in events if isinstance(e, Notice) and e.level == "warning"]
    return finished.result, [w for w in warnings if "learnt" in w]


def test_a_trained_model_judged_on_its_own_section_says_so_everywhere(
    finished_training, tmp_path, capfd
):
    model = finished_training[1] / "mine.safetensors"
    slide, out = write_slide(tmp_path / "s.ome.tif"), tmp_path / "out"
    new = write_slide(tmp_path / "new.ome.tif", (256, 256), 5)
    given = ["evaluate", str(slide), str(new), "--model", str(model), "--steps", "1"]
    assert cli.main([*given, "--device", "cpu", "--out", str(out)]) == 0
    said = capfd.readouterr()
    (warning,) = [line for line in said.err.splitlines() if "learnt" in line]
    (caution,) = [line for line in said.out.splitlines() if line.startswith("caution: ")]
    assert caution.removeprefix("caution: ") in warning
    assert "mine is judged on 1 section that it" in caution
    assert "(s.ome.tif)" in caution
    content = json.loads((out / "report.json").read_text())
    assert [facts["learnt_by"] for facts in content["sections"]] == [["mine"], []]
    assert [f"caution: {sentence}" for sentence in content["cautions"]] == [caution]
    rows = list(csv.DictReader((out / "sections.csv").read_text().splitlines()))
    assert {(r["section"], r["model"]): r["learnt_from"] for r in rows} == {
        ("s.ome.tif", "mine"): "yes", ("s.ome.tif", "trivial"): "",
        ("new.ome.tif", "mine"): "", ("new.ome.tif", "trivial"): "",
    }  # fmt: skip


def test_a_region_is_called_a_part_and_the_compared_model_is_looked_at_too(tmp_path):
    slide = section_file(tmp_path / "s.ome.tif")
    model = window_model(tmp_path / "new.safetensors")
    other = window_model(tmp_path / "old.safetensors", 1, **card_of(SlideSource(slide)))
    report, warnings = judged(model, SlideSource(slide, roi=(0, 0, 128, 128)), compare=other)
    assert [facts.learnt_by for facts in report.sections] == [("old",)]
    assert report.cautions == tuple(warnings)
    assert "old is judged on 1 part of pictures that it" in warnings[0]
    assert REMEMBERS in draw(report).get_supxlabel().replace("\n", " ")


def test_sections_that_a_card_leaves_out_may_be_among_those_judged(tmp_path):
    slide = section_file(tmp_path / "s.ome.tif")
    data = {"kind": "images", "sections": [], "number_of_sections": 60}
    model = window_model(tmp_path / "many.safetensors", training_data=data)
    report, warnings = judged(model, SlideSource(slide), SimulatedSource(1, 256, first_seed=10_007))
    assert report.cautions == tuple(warnings)
    assert len(warnings) == 1
    assert "does not list 60 of the sections" in warnings[0]
    assert not judged(model, SimulatedSource(1, 256, first_seed=10_000))[1]


def test_the_bundled_model_is_not_suspected(slide):
    card = api.load_model(None, "cpu").card
    learnt = Learnt.of_card("small", card)
    assert (learnt.unlisted, len(learnt.entries)) == (0, 3)
    assert not knows(card, SlideSource(slide, **NAMES))


def test_patches_of_a_folder_are_known_one_by_one(tmp_path):
    from training_data import write_folder

    folder = FolderSource(write_folder(tmp_path / "data", 3, 32), pixel_size_um=1.0)
    card = card_of(folder)
    card["training_data"]["sections"] = card["training_data"]["sections"][:2]
    learnt = Learnt.of_card("mine", card)
    assert [learnt.knows(section) for section in open_sections(folder)] == [True, True, False]


def test_what_was_saved_anew_without_loss_is_the_same_picture(slide, tmp_path):
    with tifffile.TiffFile(slide) as file:
        pixels = file.asarray()
    given = {f"{role}_channel": k for k, role in enumerate(ROLES)} | {"pixel_size_um": 1.0}
    again, brighter = tmp_path / "again.tif", tmp_path / "brighter.tif"
    tifffile.imwrite(again, pixels.astype(np.float32), photometric="minisblack")
    tifffile.imwrite(brighter, pixels + np.uint16(1), photometric="minisblack")
    card = card_of(SlideSource(slide, **NAMES), pixels=True)
    assert knows(card, SlideSource(again, **given))
    assert not knows(card, SlideSource(brighter, **given))
    card = card_of(SlideSource(slide, **NAMES))
    assert not knows(card, SlideSource(again, **given))


def test_large_images_are_known_by_squares_and_blank_ones_not_at_all():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 255, (1100, 1000), np.uint8)
    other = large.copy()
    other[1100 * 3 // 8, 1000 * 5 // 8] ^= 1
    known = [pixel_sample(Raster("x", (image,), 1.0)) for image in (large, large + 0, other)]
    assert known[0] == known[1] != known[2]
    assert pixel_sample(Raster("x", (np.full((9, 9), 7),), 1.0)) == ""
