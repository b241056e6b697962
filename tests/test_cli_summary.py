"""What the command says of a prediction that has ended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_damm.cli.predict import summary


@pytest.mark.parametrize(("mode", "said"), [("expected", "2; their"), ("fast", "mean of 2; their")])
def test_samples_beside_the_expected_map_are_not_called_its_mean(mode, said, tmp_path):
    planned = SimpleNamespace(shape=(8, 8), pixel_size_um=1.0, windows=1, background_windows=0)
    tally = SimpleNamespace(planned=planned, windows_multi_modal=1, windows_done=1)
    result = SimpleNamespace(record={"mode": mode, "samples": 2})
    lines = summary(tmp_path, tally, SimpleNamespace(result=result, seconds=1.0))
    assert f"samples     {said} spread is NP std" in list(lines)
