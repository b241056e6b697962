"""Sections drawn in several processes are those that are drawn one by one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from napari_damm.simulate import many, simulate_slide
from napari_damm.simulate.many import simulate_many

SIZE, SEEDS = 64, range(5, 9)


def same(found):
    for made, seed in zip(found, SEEDS, strict=True):
        known = simulate_slide(SIZE, seed, "internal")
        assert (made.seed, made.preset, made.pixel_size_um) == (
            seed, "internal", known.pixel_size_um
        )  # fmt: skip
        for name, image in known.channels().items():
            assert made.channels()[name].dtype == image.dtype
            assert np.array_equal(made.channels()[name], image)


def test_processes_of_one_thread_draw_the_same_sections_in_the_same_order(monkeypatch):
    started, real = [], subprocess.Popen

    def popen(*args, **options):
        started.append(options["env"])
        return real(*args, **options)

    monkeypatch.setattr(many, "PORTION", 2)
    monkeypatch.setattr(many.subprocess, "Popen", popen)
    monkeypatch.setattr(many, "_taken", lambda path, *rest: _drawn_there(path, *rest))
    same(simulate_many(SIZE, SEEDS, "internal", processes=2))
    assert len(started) == 2
    assert all(env["OMP_NUM_THREADS"] == env["OPENBLAS_NUM_THREADS"] == "1" for env in started)


real_taken = many._taken


def _drawn_there(path, *rest):
    assert path.exists()
    return real_taken(path, *rest)


def test_what_a_process_could_not_draw_is_drawn_here(monkeypatch):
    monkeypatch.setattr(many, "PORTION", 2)
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    same(simulate_many(SIZE, SEEDS, "internal", processes=2))


def test_few_sections_need_no_process(monkeypatch):
    monkeypatch.setattr(many.subprocess, "Popen", None)
    same(simulate_many(SIZE, SEEDS, "internal"))


def test_whoever_leaves_early_leaves_no_process_behind(monkeypatch):
    monkeypatch.setattr(many, "PORTION", 1)
    started, real = [], subprocess.Popen

    def popen(*args, **options):
        started.append(real(*args, **options))
        return started[-1]

    monkeypatch.setattr(many.subprocess, "Popen", popen)
    drawing = simulate_many(SIZE, SEEDS, "internal", processes=2)
    next(drawing)
    drawing.close()
    assert started
    assert all(process.poll() is not None for process in started)
