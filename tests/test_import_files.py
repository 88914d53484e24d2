"""Foreign files are read as data: what they carry beside arrays is refused and never run."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bisenetv2.errors import UserError  # noqa: E402
from bisenetv2.importing import foreign_file  # noqa: E402
from bisenetv2.importing.foreign_file import read_foreign  # noqa: E402

SOURCES = Path(__file__).parents[1] / "src"


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def refusal(path: Path) -> str:
    """The one line with which a file is refused; it names the path."""
    with pytest.raises(UserError) as caught:
        read_foreign(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def written(path: Path, content: Any, protocol: int = 4) -> Path:
    """A Paddle file."""
    path.write_bytes(pickle.dumps(content, protocol))
    return path


# Code is refused and not run


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare", "pdparams 2", "pdparams 4"])
def test_a_file_that_carries_code_is_refused_and_its_code_not_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # no setting may open the door
    sprung = tmp_path / "sprung"
    content = {"w": torch.zeros(2), "trap": Trap(sprung)}
    path = tmp_path / ("model.pdparams" if "pdparams" in kind else "model.pth")
    if kind in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    else:
        protocol = 2 if kind.endswith("2") else 4
        written(path, {"w": np.zeros(2), "trap": Trap(sprung)}, protocol)
    message = refusal(path)
    if kind != "bare":
        assert "refused, it carries code" in message and "mkdir" in message
    assert not sprung.exists()
    # Proves that the trap was live.
    if kind in ("zip", "legacy"):
        torch.load(path, weights_only=False)
    else:
        pickle.loads(path.read_bytes())
    assert sprung.exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "numpy.core.multiarray fromfile",
        "numpy.ndarray tofile",
        "os system",
        "importlib import_module",
        "bisenetv2.errors UserError",
        "a\nb c",
    ],
)
def test_a_paddle_file_may_name_nothing_but_arrays(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.partition(" ")
    strings = b"".join(
        b"X" + len(text).to_bytes(4, "little") + text.encode() for text in (module, attribute)
    )
    path = tmp_path / "model.pdparams"
    path.write_bytes(b"\x80\x04" + strings + b"\x93.")  # STACK_GLOBAL, STOP
    assert "refused, it carries code" in refusal(path)


@pytest.mark.parametrize(
    "instructions",
    [
        b"(cos\nsystem\no.",  # OBJ
        b"(S'true'\nios\nsystem\n.",  # INST
        b"cbuiltins\ndict\n)\x81.",  # NEWOBJ
        b"\x82\x01.",  # a name by number
        b"Pname\n.",  # PERSID
    ],
)
def test_instructions_that_plain_values_do_not_need_are_refused(
    instructions: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.pdparams"
    path.write_bytes(b"\x80\x02" + instructions)
    assert "refused, it carries code" in refusal(path)


@pytest.mark.parametrize("between", [b"", b"\x80\x02", b"(e", b"(u", b"Nb"])
def test_tuples_that_take_for_ever_to_be_hashed_are_refused_unread(
    between: bytes, tmp_path: Path
) -> None:
    doubled = b"".join(b"h%ch%c\x86%bq%ca" % (i, i, between, i + 1) for i in range(60))
    path = tmp_path / "model.pdparams"
    path.write_bytes(b"\x80\x02]K\x01\x85q\x00a" + doubled + b"}h%cK\x01s." % 60)
    assert "damaged" in refusal(path)


def test_nothing_else_in_the_product_reads_a_pickle() -> None:
    reads = re.compile(
        r"\b(import pickle|from pickle|torch\.load\b|allow_pickle(?!=False)|joblib|shelve)"
    )
    found = {
        path.relative_to(SOURCES / "bisenetv2").as_posix()
        for path in SOURCES.rglob("*.py")
        if reads.search(path.read_text())
    }
    assert found == {"importing/foreign_file.py", "importing/paddle_pickle.py"}
    text = (SOURCES / "bisenetv2/importing/foreign_file.py").read_text()
    assert text.count("torch.load(") == text.count("weights_only=True") == 1


# What Paddle writes


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_arrays_come_out_as_they_went_in(protocol: int, module: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "weight": rng.standard_normal((4, 3, 2, 1)).astype(np.float32),
        "fortran": np.asfortranarray(rng.standard_normal((3, 5))),
        "big": rng.standard_normal(7).astype(">f4"),
        "half": rng.standard_normal(6).astype(np.float16),
        "count": np.array(3, np.int64),
        "none": np.zeros((0, 4), np.float32),
    }
    data = pickle.dumps({**arrays, "StructuredToParameterName@@": {"weight": "conv"}}, protocol)
    assert b"numpy._core" in data or b"numpy.core" in data
    if protocol == 2:  # names end in a line feed there, so that they may change their length
        data = re.sub(rb"numpy\._?core", module.encode(), data)
    path = tmp_path / "model.pdparams"
    path.write_bytes(data)
    file = read_foreign(path)
    assert file.beside == ("StructuredToParameterName@@",)
    assert file.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(file.tensors[name].numpy(), array)
        assert file.tensors[name].shape == array.shape


def test_an_ordered_dict_and_a_wrapped_one_are_opened(tmp_path: Path) -> None:
    weights = OrderedDict(a=np.ones(2, np.float32))
    assert list(read_foreign(written(tmp_path / "a.pdparams", weights)).tensors) == ["a"]
    wrapped = {"model": dict(weights), "epoch": 3}
    file = read_foreign(written(tmp_path / "b.pdparams", wrapped))
    assert (list(file.tensors), file.beside) == (["a"], ("epoch",))


def array_state(shape: object, raw: object, code: str = "f4") -> bytes:
    """A pickle of an array with any state."""

    class Dtype:
        def __reduce__(self) -> Any:
            return np.dtype, (code, False, True)

    class Array:
        def __reduce__(self) -> Any:
            new = pickle.loads(b"cnumpy.core.multiarray\n_reconstruct\n.")
            return new, (np.ndarray, (0,), b"b"), (1, shape, Dtype(), False, raw)

    return pickle.dumps({"w": Array()}, 4)


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")
@pytest.mark.parametrize(
    ("shape", "raw"),
    [
        ((10**12,), b"abcd"),
        ((1 << 62, 1 << 62), b""),
        ((-1, -1), b"abcd"),
        ((2,), b"abcd"),
        ((1,) * 9, b"abcd"),
        ((1.0,), b"abcd"),
        ("1", b"abcd"),
        ((1,), [1]),
        ((1,), "abcd"),
    ],
)
def test_an_array_of_another_size_than_its_bytes_is_damage(
    shape: object, raw: object, tmp_path: Path
) -> None:
    path = tmp_path / "model.pdparams"
    path.write_bytes(array_state(shape, raw))
    assert "damaged" in refusal(path)


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated")
@pytest.mark.parametrize("code", ["O", "O8", "V4", "U1", "S4", "f4,f4", "c8", "f99"])
def test_arrays_that_hold_no_numbers_are_damage(code: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pdparams"
    path.write_bytes(array_state((1,), b"abcd", code))
    assert "damaged" in refusal(path)


def test_a_small_file_does_not_become_large_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.pdparams"
    block = np.ones(1000, np.float32)
    path.write_bytes(pickle.dumps({str(index): block for index in range(100)}, 4))
    assert "damaged" in refusal(path)  # one array under a hundred names
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")  # place 2^31 of the memo
    assert "damaged" in refusal(path)
    path.write_bytes(b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"abc.")
    assert "damaged" in refusal(path)
    text = b"X\x10\x27\x00\x00" + b"a" * 10_000 + b"q\x01"
    encode = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
    path.write_bytes(b"\x80\x02" + text + encode * 100 + b".")
    assert "damaged" in refusal(path)


def test_a_dict_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"w": np.ones(1, np.float32)}
    content["model"] = content
    assert list(read_foreign(written(tmp_path / "model.pdparams", content)).tensors) == ["w"]
    loop: dict[str, Any] = {}
    loop["state_dict"] = loop
    torch.save(loop, tmp_path / "model.pth")
    assert "holds no weights" in refusal(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pdparams"])
def test_names_are_shown_in_one_line_that_no_terminal_obeys(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    array = np.ones(1, np.float32)
    content: dict[Any, Any] = {"a\nb\x1b[2J": array, ("x",) * 3: 1, 7: array, "c\r": "text"}
    if suffix == ".pth":
        torch.save({k: torch.ones(1) if v is array else v for k, v in content.items()}, path)
    else:
        written(path, content)
    file = read_foreign(path)
    assert (list(file.tensors), file.beside) == (["a?b?[2J", "(int)"], ("(tuple)", "c?"))


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    torch.save({"a": {"b": torch.ones(1)}, "a.b": torch.zeros(1)}, tmp_path / "a.pth")
    assert "two tensors of one name" in refusal(tmp_path / "a.pth")


# PyTorch's files


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_wrapped_weights_are_found_in_both_formats(
    modern: bool, wrapper: str | None, tmp_path: Path
) -> None:
    weights = OrderedDict(a=torch.arange(6.0).reshape(2, 3))
    content = {"epoch": 3, wrapper: weights, "optimizer": {"lr": 1}} if wrapper else weights
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    file = read_foreign(path)
    assert torch.equal(file.tensors["a"], weights["a"])
    assert file.beside == (("epoch", "optimizer") if wrapper else ())
    assert len(file.sha256) == 64


def test_of_several_networks_one_is_taken_and_the_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    values = dict(enumerate(torch.arange(4.0).unbind()))
    inner = {"state_dict": {"w": values[2]}, "optimizer": {"state": {}}}
    content = {"state_dict": {"w": values[0]}, "state_dict_ema": {"w": values[1]}, "model": inner,
               "epoch": 3, "model_ema": {"w": values[3]}}  # fmt: skip
    torch.save(content, path)
    file = read_foreign(path)
    assert (file.tensors["w"], file.beside) == (0, ("epoch",))
    assert file.others == ("state_dict_ema", "model", "model_ema")
    for entry, value in (("state_dict_ema", 1), ("model", 2), ("model_ema", 3)):
        assert read_foreign(path, entry).tensors["w"] == value
    with pytest.raises(
        UserError, match=r"the name ema; there are state_dict, state_dict_ema, model"
    ):
        read_foreign(path, "ema")
    with pytest.raises(UserError, match=r"no weights under the name epoch"):
        read_foreign(path, "epoch")
    torch.save({"w": values[0]}, path)
    with pytest.raises(UserError, match="no weights under the name ema; leave --entry out"):
        read_foreign(path, "ema")


def test_a_dict_for_each_part_is_flattened(tmp_path: Path) -> None:
    torch.save({"detail": {"w": torch.zeros(1)}, "bga": {"w": torch.ones(1)}}, tmp_path / "a.pth")
    assert list(read_foreign(tmp_path / "a.pth").tensors) == ["detail.w", "bga.w"]


def test_tensors_without_their_values_are_no_weights(tmp_path: Path) -> None:
    content = {
        "meta": torch.empty(2**40, device="meta"),
        "sparse": torch.eye(3).to_sparse(),
        "w": torch.zeros(1),
    }
    torch.save(content, tmp_path / "a.pth")
    file = read_foreign(tmp_path / "a.pth")
    assert (list(file.tensors), file.beside) == (["w"], ("meta", "sparse"))


def test_safetensors_of_other_programs_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    assert torch.equal(read_foreign(tmp_path / "a.safetensors").tensors["w"], torch.ones(2))
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 99)
    assert "damaged" in refusal(tmp_path / "b.safetensors")


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(100_000)}, tmp_path / "a.pth")
    path = tmp_path / "b.pth"
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.namelist():
            packed.writestr(entry, plain.read(entry))
    assert "a compressed archive" in refusal(path)


def test_a_file_beyond_any_network_of_this_kind_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"w": torch.zeros(100)}, tmp_path / "a.pth")
    monkeypatch.setattr(foreign_file, "LARGEST", 100)
    assert "no file of this network" in refusal(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pdparams", ".safetensors"])
def test_missing_empty_and_weightless_files_are_told_apart(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    assert "no such file" in refusal(path)
    path.touch()
    assert "damaged" in refusal(path)
    path.write_bytes(b"<!DOCTYPE html><html>")
    assert "damaged" in refusal(path)


def test_a_file_without_weights_says_so(tmp_path: Path) -> None:
    torch.save({"epoch": 1}, tmp_path / "a.pth")
    assert "holds no weights" in refusal(tmp_path / "a.pth")
    torch.save([torch.zeros(1)], tmp_path / "b.pth")
    assert "holds no weights" in refusal(tmp_path / "b.pth")


def survives(path: Path, content: bytes) -> None:
    """Reads any bytes: weights or one clear line, never another exception."""
    path.write_bytes(content)
    try:
        read_foreign(path)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=150)
@given(st.data())
def test_any_changed_or_cut_file_is_survived(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from([".pth", ".old.pth", ".pdparams"]))
    buffer = BytesIO()
    if suffix == ".pdparams":
        buffer.write(pickle.dumps({"w": np.ones((2, 3), np.float32)}, 4))
    else:
        weights = {"w": torch.ones(2, 3)}
        torch.save(weights, buffer, _use_new_zipfile_serialization=suffix == ".pth")
    content = bytearray(buffer.getvalue())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives(tmp_path_factory.getbasetemp() / f"changed{suffix}", bytes(content))


@settings(max_examples=100)
@given(st.binary(max_size=60), st.sampled_from([".pth", ".pdparams"]))
def test_any_bytes_are_survived(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    survives(tmp_path_factory.getbasetemp() / f"any{suffix}", b"\x80\x04" + content)
