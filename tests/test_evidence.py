"""The evidence in small: one command measures everything, writes the page, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from models import CARD, random_model

from napari_damm.model import DAMMConfig
from napari_damm.model_file import load_model, save_model

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parent / "benchmarks"


def run(*arguments: object) -> str:
    command = [sys.executable, BENCHMARKS / "results.py", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Everything, once, on a tiny model: the folder and the options."""
    folder = tmp_path_factory.mktemp("evidence")
    model = save_model(random_model(DAMMConfig.tiny()), folder / "tiny.safetensors", CARD)
    options = ["--reduced", "--model", model, "--work", folder / "work"]
    options += ["--ablation", f"no MMFM={model}", "--ablation-base", model]
    options += ["--out", folder / "docs"]
    return folder, options, run(*options)


def test_the_page_holds_every_part_and_its_figures(measured) -> None:
    folder, *_ = measured
    page = (folder / "docs" / "results.md").read_text("utf-8")
    assert "Simulated tissue only" in page
    for chapter in ("What it says", "How good are", "Where the nuclei", "How many steps",
                    "Can the spread", "Which confidence", "Seams", "What each idea"):  # fmt: skip
        assert f"## {chapter}" in page
    assert "Not finished" not in page
    assert "nan" not in page.lower().split()
    for line in page.splitlines():
        if line.startswith("!["):
            image = folder / "docs" / line.partition("(")[2].rstrip(")")
            assert 1_000 < image.stat().st_size < 1_000_000
    # every table is one: as many cells in each line
    for block in page.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count(" | ") for line in block.splitlines()}) == 1, block


def test_the_numbers_are_there_as_well(measured) -> None:
    folder, *_ = measured
    numbers = json.loads((folder / "docs" / "results.json").read_text())
    for preset in ("internal", "external"):
        means = numbers["headline"]["means"][preset]
        assert means["linear"]["taken/fitted"]["ssim"]["n"] == 2
        assert set(means) >= {
            "gated-expected",
            "gated-mean",
            "gated-one",
            "uni-one",
            "multi-mean",
            "blur",
        }
        # a fit to the truth cannot make the error larger
        for views in means.values():
            assert views["taken/fitted"]["mse"]["mean"] <= views["taken/raw"]["mse"]["mean"] + 1e-9
    full = numbers["ablations"]["internal"]["no MMFM"]["taken/fitted"]["psnr"]
    assert full["full minus this"]["mean"] == 0  # the same file


def test_started_again_it_measures_nothing_and_finds_the_same(measured) -> None:
    folder, options, first = measured
    assert first.count("trust") == 5
    again = run(*options, "--parts", "trust", "--out", folder / "again")
    assert again.startswith("written")
    before, after = (
        json.loads((folder / out / "results.json").read_text()) for out in ("docs", "again")
    )
    assert after["trust"] == before["trust"]
    assert "headline" not in after


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import evidence

    yield evidence
    for name in list(sys.modules):
        if name.partition(".")[0] in ("evidence", "baselines", "seam", "windows"):
            monkeypatch.delitem(sys.modules, name)


def test_kinds_of_divergence_are_where_the_mask_is(evidence) -> None:
    from evidence.sections import divergence_kinds, simulate
    from evidence.settings import Specimen

    specimen = Specimen("internal", 10_000, 256)
    kinds = divergence_kinds(specimen)
    assert np.array_equal(kinds > 0, simulate(specimen).simulated.divergence > 0)
    assert len(set(kinds[kinds > 0].tolist())) > 1


def test_the_noise_free_field_is_on_the_scale_of_the_image_as_taken(evidence) -> None:
    from evidence.sections import simulate
    from evidence.settings import Specimen

    section = simulate(Specimen("external", 10_001, 256))
    taken, free = (section.truths[name][section.tissue] for name in ("taken", "noise-free"))
    assert free.mean() == pytest.approx(taken.mean(), abs=1e-5)
    assert np.corrcoef(taken, free)[0, 1] > 0.9
    assert section.scores(section.truths["taken"])["taken/raw"]["mse"] == 0


def test_a_claim_is_as_sure_as_its_interval(evidence) -> None:
    from evidence.statistics import above, difference, mean_of

    assert above(difference([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])) == "yes"
    assert above(difference([1.0, 1.0, 1.0], [2.0, 3.0, 4.0])) == "no"
    assert above(mean_of([-1.0, 1.0, -1.0, 1.0])) == "not decided"
    assert above(mean_of([-0.05, -0.04, -0.03]), -0.1) == "yes"
    assert above(mean_of([1.0])) == "not decided"
    assert above(mean_of([None])) == "not measured"


def test_a_row_is_read_back_as_it_was(evidence, tmp_path) -> None:
    from evidence.rows import read_row, write_row

    row = {"error": np.arange(3, dtype=np.float32), "seed": 7, "scores": {"ssim": None}}
    write_row(tmp_path / "rows" / "a.npz", row)
    found = read_row(tmp_path / "rows" / "a.npz")
    assert found["error"].dtype == np.float32
    assert found["error"].tolist() == [0, 1, 2]
    assert (found["seed"], found["scores"]) == (7, {"ssim": None})
    assert [p.name for p in (tmp_path / "rows").iterdir()] == ["a.npz"]


def test_a_step_across_a_window_border_is_a_seam(evidence) -> None:
    from evidence.parts import seams
    from evidence.sections import simulate
    from evidence.settings import Specimen

    section = simulate(Specimen("internal", 10_000, 320))
    smooth = section.truths["taken"]
    stepped = smooth.copy()
    stepped[192:] += 2.0
    maps = {1: SimpleNamespace(np=stepped), 2: SimpleNamespace(np=smooth)}
    model = SimpleNamespace(config=SimpleNamespace(latent_factor=8))
    lab = SimpleNamespace(
        predict=lambda section, job: maps[job.samples],
        settings=SimpleNamespace(samples=2),
        model=lambda: model,
    )
    summary = seams.summarise([seams.measure(lab, section)], lab)
    assert summary["mean"]["seam at borders"]["of truth"][0] == pytest.approx(1.0)
    assert summary["one"]["seam at borders"]["of truth"][0] > 5
    (claim,) = seams.claims(summary)
    assert claim.holds == "no"


# ---------------------------------------------------------------- the card, and the ablations


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, BENCHMARKS / name, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_what_was_measured_is_written_onto_the_card_of_that_model_only(measured, tmp_path) -> None:
    folder, *_ = measured
    results = folder / "docs" / "results.json"
    wanted = json.loads(results.read_text())["trust"]["raw"]["factor"]
    out = tmp_path / "carded.safetensors"
    given = ("--results", results, "--out", out, "--history", "made for a test")
    made = script("card.py", "--model", folder / "tiny.safetensors", *given)
    assert made.returncode == 0, made.stderr
    card = load_model(out, "cpu").card
    assert card["spread_factor"] == pytest.approx(wanted, abs=1e-4)
    assert card["history"] == "made for a test"
    assert card["metrics"]["internal, gated-mean"]["taken/fitted"]["ssim"][0] is not None
    other = save_model(random_model(DAMMConfig.tiny(), 1), tmp_path / "other.safetensors", CARD)
    refused = script("card.py", "--model", other, *given)
    assert refused.returncode == 2
    assert "the model has" in refused.stderr


def test_ablations_differ_from_the_base_in_what_joins_the_branches(monkeypatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ablations

    base = random_model(DAMMConfig.of_preset("tiny", "ours"))
    for name, changes in ablations.VARIANTS.items():
        made = ablations.variant(base, changes)
        given, found = base.state_dict(), made.state_dict()
        kept = [k for k in given if k in found and not k.startswith(("unet.fusions", "unet.att"))]
        assert all((given[k] == found[k]).all() for k in kept), name
        assert made.config.unet.fusion == ("concat" if name == "no-mmfm" else "mmfm")
        assert made.config.unet.attention == ("plain" if name == "no-uafm" else "uncertainty")
        assert not (made.unet.attention.query.weight == base.unet.attention.query.weight).all()
