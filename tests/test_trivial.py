"""The linear model that ours is compared with, and what a card says of the comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models import CARD, randomise
from scipy import ndimage
from trainings import of, run

from napari_damm import api
from napari_damm.cli import batch, predict, train
from napari_damm.cli.models import card_lines
from napari_damm.cli.progress import Tally
from napari_damm.engine.batch import BatchReport
from napari_damm.events import Finished, Planned, SectionDone, TrainPlanned, Validated
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model_file import (
    CHANCE,
    NO_BETTER,
    loses_to_linear,
    read_card,
    summary,
    warning_of,
)
from napari_damm.slide import slide_from_arrays
from napari_damm.train.run_folder import TrainedModel
from napari_damm.train.start import _said_of_unrelated
from napari_damm.trust.trivial import SIGMAS, LinearModel

pytestmark = pytest.mark.usefixtures("quick_training")


def images(seed, shape=(64, 96)):
    rng = np.random.default_rng(seed)
    return rng.random((2, *shape), np.float32)


def test_it_finds_what_was_mixed_of_blurred_images():
    def mixed(primary, secondary):
        blurred = ndimage.gaussian_filter(primary.astype(float), 4.0)
        return 0.3 + 0.5 * blurred - 0.2 * secondary

    model = LinearModel()
    for seed in range(3):
        model.add(*images(seed), mixed(*images(seed)))
    made = model.predict(*images(9))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, mixed(*images(9)), atol=1e-4)


def test_its_fit_is_that_of_all_windows_at_once():
    model, rows, truths = LinearModel(), [], []
    for seed in range(3):
        pair, target = images(seed), images(100 + seed)[0]
        model.add(*pair, target)
        columns = [
            ndimage.gaussian_filter(i.astype(float), s).ravel() for i in pair for s in SIGMAS
        ]
        rows.append(np.stack([*columns, np.ones(target.size)], 1))
        truths.append(target.ravel())
    weights, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(truths))
    expected = (rows[0] @ weights).reshape(64, 96)
    np.testing.assert_allclose(model.predict(*images(0)), expected, atol=1e-4)


def test_images_that_do_not_fit_are_refused():
    first, second = images(0)
    with pytest.raises(ValueError, match="of one shape"):
        LinearModel().add(first, second[:-1], first)
    with pytest.raises(ValueError, match="of one shape"):
        LinearModel().add(first, second, first[:-1])
    with pytest.raises(ValueError, match="one shape"):
        LinearModel().predict(first[0], second[0])


@pytest.mark.parametrize(
    ("own", "linear", "loses"),
    [(0.6, 0.5, False), (0.5, 0.5, True), (0.4, 0.5, True), (None, 0.5, False), (0.4, None, False)],
)
def test_a_card_tells_by_r_whether_a_model_loses(own, linear, loses):
    metrics = {"mean": {"r": own}, "linear": {"r": linear}}
    card = {**CARD, "name": "mine", "metrics": metrics}
    assert loses_to_linear(card) == loses
    assert (NO_BETTER in summary(card)) == loses


@pytest.mark.parametrize("metrics", [None, [], {"mean": 1}, {"mean": {"r": 0.1}, "linear": []}])
def test_a_card_without_the_comparison_says_nothing(metrics):
    assert not loses_to_linear({**CARD, "metrics": metrics})


@pytest.mark.parametrize(
    ("own", "linear", "warning"),
    [
        (0.03, 0.02, CHANCE),
        (-0.3, -0.4, CHANCE),
        (0.05, 0.5, CHANCE),
        (0.3, 0.5, NO_BETTER),
        (0.5, 0.5, NO_BETTER),
        (0.5, 0.3, ""),
        (None, 0.3, ""),
        (0.3, None, ""),
    ],
)
def test_a_model_near_chance_is_warned_of_though_it_beats_a_linear_one(own, linear, warning):
    card = {**CARD, "name": "mine", "metrics": {"mean": {"r": own}, "linear": {"r": linear}}}
    assert warning_of(card) == warning
    assert (warning in summary(card)) or not warning
    said = list(train._summary(TrainedModel(Path("m"), "m", card, {}, {}, Path())))
    unrelated = warning == CHANCE and linear < 0.1
    assert ("do the three images show the same place?" in said[0]) == unrelated
    assert (CHANCE in said[0]) == (warning == CHANCE)
    assert ("linear model" in said[0]) == (warning == NO_BETTER)


def test_images_that_tell_nothing_of_each_other_are_told_before_the_first_step():
    names = ("vessels", "nuclei", "dots")
    (notice,) = _said_of_unrelated({"r": 0.032}, names)
    assert notice.level == "warning"
    assert notice.message.startswith(
        "a linear model of vessels and nuclei finds next to nothing of the dots (r 0.03, "
    )
    for known in ({"r": 0.1}, {"r": float("nan")}, {}):
        assert list(_said_of_unrelated(known, names)) == []


def test_a_training_reports_it_beside_its_own_scores(tmp_path):
    events = run(tmp_path / "out")
    validated, (finished,) = of(events, Validated), of(events, Finished)
    (planned,) = of(events, TrainPlanned)
    linear = planned.record["linear_scores"]
    assert set(linear) == set(validated[0].scores)
    assert linear["r"] > 0
    card = read_card(finished.result.path)
    assert card["metrics"]["linear"] == pytest.approx(linear)
    # four steps of a random model teach nothing
    assert loses_to_linear(card)
    again = run(tmp_path / "out", resume=True)
    assert (
        read_card(of(again, Finished)[0].result.path)["metrics"]["linear"]
        == card["metrics"]["linear"]
    )


def test_every_record_of_such_a_model_says_so():
    rng = np.random.default_rng(0)
    pair = {name: rng.random((64, 64), np.float32) for name in ("vessels", "nuclei")}
    slide = slide_from_arrays(pair, pixel_size_um=1.0)
    for own, says in ((0.1, True), (0.3, False)):
        metrics = {"mean": {"r": own}, "linear": {"r": 0.2}}
        card = {**CARD, "name": "mine", "metrics": metrics}
        model = randomise(DAMM(DAMMConfig.of_preset("tiny"), card))
        *events, event = api.predict(slide, model, api.PredictConfig(steps=1, device="cpu"))
        tally = Tally(planned=of(events, Planned)[0])
        record = event.result.record["model"]
        assert (record.get("warning") == NO_BETTER) == says
        lines = list(predict.summary(Path("r"), tally, event))
        assert (f"            the model {NO_BETTER}" in lines) == says
        report = BatchReport((SectionDone("s", event.result, 1.0),), ())
        assert (f"the model {NO_BETTER}" in "".join(batch.listed(report))) == says


def test_a_card_is_set_out_without_its_thousand_numbers():
    card = {"few": [1, 2], "many": [0.5] * 1369, "names": ["a"] * 30, "deep": {"many": [1] * 25}}
    assert list(card_lines(card)) == [
        "few: 1, 2",
        f"many: {', '.join(['0.5'] * 8)}, ... (1369 in all)",
        f"names: {', '.join(['a'] * 30)}",
        "deep:",
        f"  many: {', '.join(['1'] * 8)}, ... (25 in all)",
    ]
