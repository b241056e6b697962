"""The models there are, by name: bundled ones and one's own."""

from __future__ import annotations

import subprocess
import sys

import pytest
from models import CARD, with_card

from napari_damm import model_file
from napari_damm.model_file import library


@pytest.fixture
def folders(tmp_path, monkeypatch, tiny_model_file):
    """A bundled folder with one model, `stock`, and an empty folder of the user's own."""
    bundled, own = tmp_path / "bundled", tmp_path / "own" / "models"
    bundled.mkdir()
    (bundled / "stock.safetensors").write_bytes(tiny_model_file.read_bytes())
    monkeypatch.setattr(library, "bundled_folder", lambda: bundled)
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(own))
    return bundled, own


def test_models_are_found_by_name_or_path_and_the_default_is_bundled(folders, tiny_model_file):
    bundled, own = folders
    model_file.import_model(tiny_model_file, "mine")
    assert model_file.find_model() == bundled / "stock.safetensors"
    assert model_file.find_model("stock") == bundled / "stock.safetensors"
    assert model_file.find_model("mine") == own / "mine.safetensors"
    assert model_file.find_model(str(tiny_model_file)) == tiny_model_file
    assert model_file.load_model("mine", "cpu").card["name"] == "tiny"


def test_an_unknown_name_is_refused_with_the_choices(folders, tiny_model_file):
    model_file.import_model(tiny_model_file, "mine")
    with pytest.raises(ValueError, match=r"unknown model 'x': choose one of stock, mine, or give"):
        model_file.find_model("x")


def test_in_place_of_a_folder_the_model_in_it_is_named(folders, tiny_model_file, tmp_path):
    run = tmp_path / "first"
    run.mkdir()
    with pytest.raises(ValueError, match=r"first': it is a folder without a \.safetensors file"):
        model_file.find_model(run)
    (run / "mine.safetensors").write_bytes(tiny_model_file.read_bytes())
    with pytest.raises(ValueError, match=r"a folder: give the model in it, .*mine\.safetensors$"):
        model_file.find_model(run)


def test_a_model_s_name_goes_before_a_folder_of_that_name(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stock").mkdir()
    assert model_file.find_model("stock").name == "stock.safetensors"


@pytest.mark.parametrize("name", ["../bundled/stock", "stock/", "", ".", "own", "\0"])
def test_names_do_not_lead_out_of_the_folders(folders, name):
    with pytest.raises(ValueError, match="unknown model"):
        model_file.find_model(name)


def test_without_any_model_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "bundled_folder", lambda: tmp_path / "none")
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "none"))
    assert model_file.list_models() == []
    with pytest.raises(FileNotFoundError, match="no bundled model in"):
        model_file.find_model()
    with pytest.raises(ValueError, match=r"unknown model 'x': give a \.safetensors file"):
        model_file.find_model("x")


def test_the_list_has_bundled_models_first_and_tells_what_is_wrong_with_a_broken_one(
    folders, tiny_model_file
):
    own = folders[1]
    model_file.import_model(tiny_model_file, "mine")
    (own / "broken.safetensors").write_bytes(b"oh no")
    (own / ".mine.safetensors.123.part").write_bytes(b"partial")
    (own / "notes.txt").write_text("not a model")
    infos = model_file.list_models()
    assert [(info.name, info.bundled) for info in infos] == [
        ("stock", True),
        ("broken", False),
        ("mine", False),
    ]
    assert [info.problem is None for info in infos] == [True, False, True]
    assert infos[1].summary == infos[1].problem
    assert "broken.safetensors is not a .safetensors file" in infos[1].summary
    assert infos[2].card["licence"] == "BSD-3-Clause"


def test_one_s_own_model_goes_before_a_bundled_one_of_the_same_name(folders, tiny_model_file):
    own = folders[1]
    own.mkdir(parents=True)
    (own / "stock.safetensors").write_bytes(tiny_model_file.read_bytes())
    assert model_file.find_model("stock") == own / "stock.safetensors"
    assert [(info.name, info.bundled) for info in model_file.list_models()] == [("stock", False)]


def test_import_copies_every_byte(folders, tiny_model_file):
    info = model_file.import_model(tiny_model_file)
    assert info.name == "tiny"
    assert info.path == folders[1] / "tiny.safetensors"
    assert model_file.sha256(info.path) == model_file.sha256(tiny_model_file)
    assert not info.bundled


@pytest.mark.parametrize("name", ["stock", "mine"])
def test_import_refuses_a_name_that_is_taken(folders, tiny_model_file, name):
    model_file.import_model(tiny_model_file, "mine")
    with pytest.raises(ValueError, match=f"a model named '{name}' is there already: choose"):
        model_file.import_model(tiny_model_file, name)


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\nb"])
def test_import_refuses_a_name_that_makes_no_file(folders, tiny_model_file, name):
    with pytest.raises(ValueError, match="a model's name is letters, digits"):
        model_file.import_model(tiny_model_file, name)
    assert not folders[1].exists()


def test_import_checks_the_model_before_it_copies(folders, tiny_model_file, tmp_path):
    broken = with_card(tmp_path / "broken.safetensors", tiny_model_file, format_version=7)
    with pytest.raises(ValueError, match="has card format 7"):
        model_file.import_model(broken)
    assert not folders[1].exists()


def test_export_copies_every_byte_to_a_file_or_into_a_folder(folders, tiny_model_file, tmp_path):
    out = model_file.export_model("stock", tmp_path)
    assert out == tmp_path / "stock.safetensors"
    assert out.read_bytes() == tiny_model_file.read_bytes()
    assert model_file.export_model("stock", tmp_path / "b.safetensors").exists()


def test_export_replaces_nothing_and_keeps_the_suffix(folders, tmp_path):
    model_file.export_model("stock", tmp_path)
    with pytest.raises(FileExistsError, match=r"stock\.safetensors already exists: remove it"):
        model_file.export_model("stock", tmp_path)
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        model_file.export_model("stock", tmp_path / "model.zip")


def test_remove_deletes_one_s_own_models_only(folders, tiny_model_file):
    model_file.import_model(tiny_model_file, "mine")
    assert not model_file.remove_model("mine").exists()
    with pytest.raises(ValueError, match="'stock' is bundled with napari-damm and cannot"):
        model_file.remove_model("stock")
    with pytest.raises(ValueError, match="unknown model 'mine': there are none of your own"):
        model_file.remove_model("mine")
    assert model_file.find_model("stock").exists()


def test_bundled_models_are_looked_for_in_the_package_then_in_the_source_tree(
    tmp_path, monkeypatch
):
    package = tmp_path / "src" / "napari_damm"
    (package / "model_file").mkdir(parents=True)
    monkeypatch.setattr(library, "__file__", str(package / "model_file" / "library.py"))
    assert model_file.bundled_folder() == tmp_path / "weights"
    (package / "weights").mkdir()
    assert model_file.bundled_folder() == package / "weights"


def test_the_user_s_folder_is_the_platform_s(monkeypatch):
    monkeypatch.delenv("NAPARI_DAMM_MODELS", raising=False)
    folder = model_file.user_folder()
    assert folder.name == "models"
    assert "napari-damm" in folder.parts


# ---------------------------------------------------------------- words


def test_the_summary_is_one_line_for_people():
    assert model_file.summary(CARD) == (
        "tiny · vessels + nuclei → nanoparticles · 1.0 µm/px · trained on simulated tissue"
    )


def test_the_summary_admits_what_is_not_known():
    bare = {"name": "x", "modalities": ["T1", "T2", "FLAIR"], "pixel_size_um": None}
    assert model_file.summary(bare) == (
        "x · T1 + T2 → FLAIR · pixel size unknown · training data unknown"
    )
    assert model_file.summary({**bare, "training_data": "4T1 mice"}).endswith("on 4T1 mice")


def test_listing_models_loads_no_torch(folders, tiny_model_file):
    code = (
        "import sys\n"
        "from napari_damm.model_file import list_models, read_card\n"
        "import napari_damm.model_file.import_authors\n"
        f"assert read_card({str(tiny_model_file)!r})['name'] == 'tiny'\n"
        "list_models()\n"
        "print(sorted({'torch', 'safetensors', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_renamed_model_goes_by_its_file_and_not_by_its_card(folders, tiny_model_file, tmp_path):
    listed = model_file.import_model(tiny_model_file, "liver")
    assert listed.card["name"] == "tiny"
    assert listed.summary.startswith("liver · ")
    loaded = model_file.load_model("liver", "cpu")
    assert model_file.model_name(loaded) == "liver"
    copy = tmp_path / "kidney v1.5.safetensors"
    copy.write_bytes(tiny_model_file.read_bytes())
    assert model_file.model_name(model_file.load_model(copy, "cpu")) == "kidney v1.5"
    bare = copy.rename(tmp_path / "kidney.v2")
    assert model_file.model_name(model_file.load_model(bare, "cpu")) == "kidney.v2"
    loaded.file = None  # one that was made, and not loaded
    assert model_file.model_name(loaded) == "tiny"
