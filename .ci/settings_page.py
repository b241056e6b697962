"""Write docs/settings.md from the settings themselves: names, meanings, limits, defaults.

    python .ci/settings_page.py

A test compares the page with what this makes.
"""

from __future__ import annotations

from pathlib import Path

from napari_damm import AnalyzeConfig, EvaluateConfig, PredictConfig, TrainConfig
from napari_damm.util.settings import Setting, settings_of

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
CONFIGS = {
    PredictConfig: "`napari-damm predict`, `napari_damm.predict`, the Predict widget.",
    TrainConfig: "`napari-damm train`, `napari_damm.fine_tune`, the Fine-tune widget, "
    "and the lines of [a settings file](fine-tune.md#a-settings-file).",
    EvaluateConfig: "`napari-damm evaluate`, `napari_damm.evaluate`.",
    AnalyzeConfig: "`napari-damm analyze`, `napari_damm.analyze`, the Analyze widget.",
}
INTRODUCTION = """# All settings

<!-- Made by `make settings` from the settings in the code; do not edit by hand. -->

Each stands once in the code, with its meaning and its limits; the command line, the widgets and \
the settings file are made from that. A setting `batch_size` is the option `--batch-size`. Values \
outside the limits are refused with a sentence. Which of them the command line offers: \
`napari-damm COMMAND --help`.
"""


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for config, where in CONFIGS.items():
        parts += [
            f"## {config.__name__}",
            "",
            where,
            "",
            "| setting | meaning | values | default |",
        ]
        parts += ["|---|---|---|---|"]
        parts += [row(setting) for setting in settings_of(config).values()]
        parts += [""]
    return "\n".join(parts)


def row(setting: Setting) -> str:
    """Return a setting as a line of a table."""
    choices = "; ".join(f"`{name}`: {meaning}" for name, meaning in setting.choices.items())
    default = setting.left_out if setting.default is None else _value(setting.default)
    cells = [f"`{setting.name}`", setting.help, choices or limits(setting), default or "none"]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def limits(setting: Setting) -> str:
    """Say which values are allowed."""
    bounds = (
        (setting.least, "{:g} or more"),
        (setting.above, "above {:g}"),
        (setting.most, "{:g} or less"),
        (setting.below, "below {:g}"),
    )
    words = [text.format(bound) for bound, text in bounds if bound is not None]
    if setting.kind is int and setting.most and setting.most > 2**53:
        words = [f"{setting.least} to 2^64 - 1"]
    if setting.one_of:
        words = [f"one of {', '.join(map(str, setting.one_of))}"]
    kinds = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text"}
    return ", ".join([kinds.get(setting.kind, "as described"), *words])


def _value(default: object) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if default != "" else "empty"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
