"""What tests of the Fine-tune widget look at, and how they bring it to a certain step."""

from __future__ import annotations

from napari_damm.widgets.train.learning_curves import LearningCurves


def start_and_pause(driver, fake, step: int) -> None:
    fake.pause_after = step
    driver.click("start")
    driver.wait_for(lambda: f"epoch {step // 10}" in driver.progress.text())


def legend(driver) -> list[str]:
    curves = driver.widget.findChild(LearningCurves)
    return [line.name() for _, line in curves._lines]
