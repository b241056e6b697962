from __future__ import annotations

import numpy as np
import pytest
from imageio.v3 import imread

from napari_damm.evaluation.section_figure import SectionPanels, draw, save_figure
from napari_damm.util.panels import scale_bar_um


@pytest.fixture
def panels():
    y, x = np.mgrid[:200, :300] / 300.0
    return SectionPanels(
        vessels=x,
        nuclei=y,
        truth=x * y,
        prediction=x * y,
        uncertainty=np.full((7, 10), 0.5),
        branch=np.arange(70).reshape(7, 10) % 3,
        extent_um=(100.0, 150.0),
        cell_um=16.0,
    )


def test_every_panel_is_labelled_and_covers_the_same_tissue(panels):
    figure = draw(panels, "title", "caption")
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title().split(",")[0].split(" (")[0] for ax in titled] == [
        "Vessels",
        "Nuclei",
        "Nanoparticles",
        "Nanoparticles",
        "Uncertainty",
        "Branch used",
    ]
    assert {(*ax.get_xlim(), *ax.get_ylim()) for ax in titled} == {(0.0, 150.0, 100.0, 0.0)}


def test_truth_and_prediction_share_one_colour_scale(panels):
    images = [ax.images[0] for ax in draw(panels, "", "").axes if ax.images]
    assert images[2].get_clim() == images[3].get_clim() == (0.0, 1.0)
    assert images[2].get_cmap() == images[3].get_cmap()


def test_coarse_maps_are_stretched_over_their_cells_even_beyond_the_section(panels):
    branch = [ax.images[0] for ax in draw(panels, "", "").axes if ax.images][5]
    assert tuple(branch.get_extent()) == (0.0, 160.0, 112.0, 0.0)


def test_each_branch_has_a_colour_of_its_own(panels):
    branch = [ax.images[0] for ax in draw(panels, "", "").axes if ax.images][5]
    colours = branch.cmap(branch.norm(np.array([0, 1, 2])))
    assert len({tuple(c) for c in colours}) == 3


def test_the_file_is_a_png_with_content(panels, tmp_path):
    save_figure(panels, tmp_path / "figure.png", "title", "caption")
    image = imread(tmp_path / "figure.png")
    assert image.ndim == 3
    assert image.std() > 10


@pytest.mark.parametrize(
    ("width", "bar"), [(100.0, 20.0), (1024.0, 200.0), (2048.0, 500.0), (5.0, 1.0), (0.9, 0.2)]
)
def test_the_scale_bar_is_round_and_at_most_a_quarter_of_the_width(width, bar):
    assert scale_bar_um(width) == pytest.approx(bar)
