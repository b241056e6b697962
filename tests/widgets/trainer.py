"""What tests of the Fine-tune widget look at, and how they bring it to a certain step."""

from __future__ import annotations

import threading

from napari_damm.widgets.train.learning_curves import LearningCurves


def table(driver) -> list[str]:
    return [layer.name for layer in driver.viewer.layers if "napari_damm" in layer.metadata]


def job_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "napari-damm job"]


def start_and_pause(driver, fake, step: int) -> None:
    fake.pause_after = step
    driver.click("start")
    driver.wait_for(lambda: f"epoch {step // 10}" in driver.progress.text())


def legend(driver) -> list[str]:
    curves = driver.widget.findChild(LearningCurves)
    return [line.name() for _, line in curves._lines]
