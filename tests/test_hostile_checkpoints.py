"""Checkpoints are read without running anything in them, however they were made."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import subprocess
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from checkpoints import WEIGHTS, assert_weights, nested, stored_tensor
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_damm.model_file.pickle_opcodes import Placeholder, replay
from napari_damm.model_file.pickle_reader import CheckpointError, read_state_dict


@pytest.fixture
def marker(tmp_path):
    """A file that a checkpoint tries to make; it must not be there at the end."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


# ---------------------------------------------------------------- files that want to run code


class Calls:
    """Unpickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class TakesState:
    def __setstate__(self, state):
        Path(state["marker"]).touch()

    def __getstate__(self):
        return self.__dict__


class TakesKeywords:
    def __new__(cls, *, marker):
        Path(marker).touch()
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"marker": self.marker}


def hostile_objects(marker: Path) -> dict[str, object]:
    code = f"open({str(marker)!r}, 'w')"
    state = TakesState()
    state.marker = str(marker)
    keywords = object.__new__(TakesKeywords)
    keywords.marker = str(marker)
    inner = Calls(os.system, f"touch {marker}")
    return {
        "os.system": inner,
        "eval": Calls(builtins.eval, code),
        "exec": Calls(builtins.exec, code),
        "open": Calls(builtins.open, str(marker), "w"),
        "subprocess": Calls(subprocess.check_call, ["touch", str(marker)]),
        "getattr": Calls(builtins.getattr, inner, "numerator"),
        "__setstate__": state,
        "__getnewargs_ex__": keywords,
        "nested": Calls(OrderedDict, [[("x", Calls(builtins.eval, code))]]),
        "in a container": [({"deep": [inner]},), {inner}, frozenset([inner])],
        "as a dictionary key": {inner: 1},
        "as tensor arguments": Calls(torch._utils._rebuild_parameter, inner, True, {}),
    }


@pytest.mark.parametrize("kind", hostile_objects(Path("unused")))
def test_the_hostile_objects_of_these_tests_do_run_when_unpickled_freely(saved, tmp_path, kind):
    marker = tmp_path / "ran"
    with contextlib.suppress(Exception):
        torch.load(saved(hostile_objects(marker)[kind]), weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("kind", hostile_objects(Path("unused")))
@pytest.mark.parametrize("protocol", [2, 4])
def test_hostile_objects_beside_the_weights_stay_inert(saved, marker, kind, protocol):
    hostile = hostile_objects(marker)[kind]
    path = saved(
        {"hyper_parameters": {"x": hostile}, "state_dict": WEIGHTS, "callbacks": hostile},
        pickle_protocol=protocol,
    )
    assert_weights(read_state_dict(path))


@pytest.mark.parametrize("kind", hostile_objects(Path("unused")))
def test_a_hostile_object_in_place_of_a_weight_is_refused(saved, marker, kind):
    path = saved({"state_dict": {**WEIGHTS, "evil": hostile_objects(marker)[kind]}})
    with pytest.raises(CheckpointError, match=r"cannot be read: state_dict entry 'evil' is not"):
        read_state_dict(path)


@pytest.mark.parametrize("kind", hostile_objects(Path("unused")))
def test_a_hostile_object_in_place_of_everything_is_refused(saved, marker, kind):
    with pytest.raises(CheckpointError, match="holds no state_dict"):
        read_state_dict(saved(hostile_objects(marker)[kind]))


@pytest.mark.parametrize(
    "pickled",
    [
        b"cos\nsystem\n(S'touch {}'\ntR.",  # the textbook exploit, protocol 0
        b"(S'touch {}'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch {}'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",  # STACK_GLOBAL
        b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85\x81.",  # NEWOBJ
    ],
)
def test_every_way_to_call_a_global_leaves_a_placeholder(marker, pickled):
    assert isinstance(replay(pickled.replace(b"{}", bytes(marker))), Placeholder)


def test_a_global_that_is_not_imported_yet_is_not_imported(packed, tmp_path, monkeypatch, marker):
    (tmp_path / "evil_module.py").write_text(f"open({str(marker)!r}, 'w')\nthing = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="no state_dict"):
        read_state_dict(packed(b"\x80\x02cevil_module\nthing\n."))


def test_our_own_functions_cannot_be_reached_or_changed(packed):
    # BUILD on the function that rebuilds tensors: would set attributes on it
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00xK\x01sb."
    with pytest.raises(CheckpointError, match="no state_dict"):
        read_state_dict(packed(pickled))
    assert not hasattr(torch._utils._rebuild_tensor_v2, "x")


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x97", b"Pmine\n"])
def test_opcodes_that_no_checkpoint_needs_are_refused(packed, opcode):
    with pytest.raises(CheckpointError, match="which no checkpoint needs"):
        read_state_dict(packed(b"\x80\x02" + opcode + b"."))


# ---------------------------------------------------------------- files that want to do harm


DEPTH = 200_000


@pytest.mark.parametrize(
    "pickled",
    [
        b"}" + b")" + b"\x85" * DEPTH + b"K\x01s.",  # a deep tuple as a key: hashing recurses
        b")" + b"\x85" * DEPTH + b".",
        b"]" * DEPTH + b"a" * (DEPTH - 1) + b".",
        b"(" * DEPTH + b"l" * DEPTH + b".",
        b"N" + b"\x85" * DEPTH + b"N\x93.",  # as a module's name
        b"Nr\xff\xff\xff\x7f.",  # a memo index that makes C's unpickler allocate 32 GB
    ],
    ids=["key", "tuple", "list", "marks", "name", "memo"],
)
def test_depth_and_large_indices_do_no_harm(packed, pickled):
    with pytest.raises(CheckpointError, match=r"crafted\.ckpt"):
        read_state_dict(packed(b"\x80\x02" + pickled))


HUGE = 2 ** (8 * 100_000)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "elements"),
    [
        ((HUGE,), (1,), 0, 4),  # multiplying these takes hours
        ((2,), (HUGE,), 0, 4),
        ((2,), (1,), HUGE, 4),
        ((2,), (1,), 0, HUGE),
        ((2**63,), (0,), 0, 4),
        ((2**40,), ("ab",), 0, 4),  # text times a number is 2 TB of text
        ((b"x",), (1,), 0, 4),
        ((True,), (1,), 0, 4),
        ((1,) * 9, (1,) * 9, 0, 4),
    ],
    ids=["size", "stride", "offset", "elements", "2^63", "text", "bytes", "bool", "dimensions"],
)
def test_sizes_are_plain_numbers_before_they_are_multiplied(packed, size, stride, offset, elements):
    pickled = stored_tensor(size, stride, offset, elements)
    with pytest.raises(CheckpointError, match=r"has (a shape|no shape)"):
        read_state_dict(packed(pickled, storage=bytes(16)))


def test_members_that_share_bytes_are_refused(tmp_path):
    path = tmp_path / "nested.ckpt"
    nested(path, copies=3, megabytes=1)
    with pytest.raises(CheckpointError, match=r"nested\.ckpt cannot be read: its members overlap"):
        read_state_dict(path)


def test_tensors_that_view_the_same_numbers_do_not_count_as_many(packed, saved):
    pickled = stored_tensor((4,), (1,))
    assert list(read_state_dict(packed(pickled, storage=bytes(16)))) == ["w"]
    tied = torch.zeros(10_000)
    state = read_state_dict(saved({"state_dict": {f"w{i}": tied for i in range(20)}}))
    assert len(state) == 20
    views = {f"w{i}": tied[i:] for i in range(20)}
    with pytest.raises(CheckpointError, match="more bytes than the file has"):
        read_state_dict(saved({"state_dict": views}))


# ---------------------------------------------------------------- any damage


def checkpoint_bytes() -> bytes:
    stream = io.BytesIO()
    torch.save({"state_dict": OrderedDict(WEIGHTS), "hyper_parameters": {"c": Calls(dict)}}, stream)
    return stream.getvalue()


WHOLE = checkpoint_bytes()
PICKLE = zipfile.ZipFile(io.BytesIO(WHOLE)).read("archive/data.pkl")


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=40, deadline=None)
def test_a_checkpoint_cut_short_anywhere_is_refused(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "cut.ckpt"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt"):
        read_state_dict(path)


@given(st.lists(st.tuples(st.integers(0, len(PICKLE) - 1), st.integers(0, 255)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_damaged_pickle_is_read_or_refused_but_nothing_else(tmp_path_factory, changes):
    pickled = bytearray(PICKLE)
    for position, value in changes:
        pickled[position] = value
    path = tmp_path_factory.mktemp("damaged") / "damaged.ckpt"
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, bytes(pickled) if name.endswith(".pkl") else old.read(name))
    state, message = {}, ""
    try:
        state = read_state_dict(path)
    except CheckpointError as error:
        message = str(error)
    assert "\n" not in message
    assert all(isinstance(value, torch.Tensor) for value in state.values())
