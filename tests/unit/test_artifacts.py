"""What is left in the model directory, also when writing fails halfway; and what is read back."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import re
import secrets
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from treeline import artifacts
from treeline.errors import ChannelError, PlatformError

MODEL = "xgboost-model"
MANIFEST = "treeline/manifest.json"


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_names_are_those_of_the_contract() -> None:
    assert (artifacts.MODEL_NAME, artifacts.MANIFEST_NAME) == (MODEL, MANIFEST)


def test_a_model_and_a_manifest_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    artifacts.write(
        folder,
        {artifacts.MODEL_NAME: b"\x00model"},
        {"objective": "reg:squarederror", "ä": [1, None]},
    )
    assert files(folder) == {MODEL, MANIFEST}
    assert (folder / MODEL).read_bytes() == b"\x00model"
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    assert text.startswith('{\n  "manifest_version": 1,\n')
    assert text.endswith("}\n")
    assert '"ä"' in text
    expected = {"manifest_version": 1, "objective": "reg:squarederror", "ä": [1, None]}
    assert artifacts.read_manifest(folder) == json.loads(text) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object()])
def test_a_manifest_that_is_not_strict_json_is_refused_before_anything_is_written(
    tmp_path: Path, value: object
) -> None:
    with pytest.raises((ValueError, TypeError)):
        artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {"score": value})
    assert files(tmp_path) == set()


def test_an_earlier_model_is_replaced_whole(tmp_path: Path) -> None:
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"a long first model"}, {"n": 1})
    before = (tmp_path / MODEL).stat().st_ino
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"second"}, {"n": 2})
    assert (tmp_path / MODEL).read_bytes() == b"second"
    assert artifacts.read_manifest(tmp_path)["n"] == 2
    assert (tmp_path / MODEL).stat().st_ino != before  # renamed into place, not overwritten


def test_clear_removes_the_earlier_run_and_nothing_else(tmp_path: Path) -> None:
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {})
    (tmp_path / "notes.txt").write_text("the user's")
    artifacts.clear(tmp_path)
    assert files(tmp_path) == {"notes.txt"}
    artifacts.clear(tmp_path)
    artifacts.clear(tmp_path / "not-there")


def test_clear_removes_the_manifest_first(tmp_path: Path) -> None:
    (tmp_path / MODEL).mkdir()  # cannot be unlinked
    (tmp_path / "treeline").mkdir()
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(PlatformError) as caught:
        artifacts.clear(tmp_path)
    assert str(tmp_path / MODEL) in caught.value.cause
    assert not (tmp_path / MANIFEST).exists()


def test_models_of_folds_have_the_built_in_images_names_and_are_cleared_too(
    tmp_path: Path,
) -> None:
    models = {artifacts.fold_name(i): bytes([i]) for i in (0, 11)}
    artifacts.write(tmp_path, models, {})
    assert files(tmp_path) == {"xgboost-model-0", "xgboost-model-11", MANIFEST}
    (tmp_path / "xgboost-model-notes.txt").write_text("a person's own")
    artifacts.clear(tmp_path)
    assert files(tmp_path) == {"xgboost-model-notes.txt"}


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every rename, look at what a kill would leave."""
    seen: list[tuple[str, set[str], bytes]] = []
    replace = os.replace

    def look(source: Path, target: Path) -> None:
        # What is renamed is complete and has a name that serving passes over.
        assert Path(source).name.startswith(".")
        seen.append((str(Path(target).relative_to(tmp_path)), files(tmp_path), source.read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {"n": 1})
    assert [target for target, _, _ in seen] == [MODEL, MANIFEST]
    assert MODEL not in seen[0][1]
    assert MODEL in seen[1][1]
    assert seen[0][2] == b"model"
    assert json.loads(seen[1][2]) == {"manifest_version": 1, "n": 1}


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_no_half_a_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, name: str
) -> None:
    real = getattr(os, step)
    calls = []

    def fail(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == [MODEL, MANIFEST].index(name) + 1:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(PlatformError, match="No space left on device") as caught:
        artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {})
    assert str(tmp_path) in caught.value.cause
    assert "free space" in caught.value.remedy
    assert files(tmp_path) == (set() if name == MODEL else {MODEL})


def test_a_failing_write_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"first"}, {"n": 1})

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PlatformError):
        artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"second"}, {"n": 2})
    assert files(tmp_path) == {MODEL, MANIFEST}
    assert (tmp_path / MODEL).read_bytes() == b"first"


def test_the_disk_is_really_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "ab" * size)
    temporary = tmp_path / f".{MODEL}.abababab.sagemaker-ignore"
    temporary.symlink_to("/dev/full")
    with pytest.raises(PlatformError, match="No space left on device"):
        artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {})
    assert files(tmp_path) == set()
    assert not temporary.is_symlink()
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_every_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        order.append("fsync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        order.append("replace " + source.name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    artifacts.write(tmp_path, {artifacts.MODEL_NAME: b"model"}, {})
    [replaced_at] = [
        i for i, each in enumerate(order) if each.startswith(f"replace .{Path(name).name}.")
    ]
    temporary = order[replaced_at].removeprefix("replace ")
    assert order[replaced_at - 1] == f"fsync {temporary}"
    assert re.fullmatch(r"\..+\.[0-9a-f]{8}\.sagemaker-ignore", temporary)


def test_of_two_that_write_the_same_file_none_takes_the_others_away(tmp_path: Path) -> None:
    file = tmp_path / "a"
    with artifacts.written_whole(file) as first:
        first.write(b"first")
        with artifacts.written_whole(file) as second:
            second.write(b"second")
        assert file.read_bytes() == b"second"
    assert file.read_bytes() == b"first"
    assert files(tmp_path) == {"a"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with pytest.raises(PlatformError, match=f"could not be written to {tmp_path}/model") as caught:
        artifacts.write(tmp_path / "model", {artifacts.MODEL_NAME: b"model"}, {})
    assert isinstance(caught.value.__cause__, OSError)


# --- the model channel ----------------------------------------------------------------------

UBJSON = b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{}}"
JSON = b'{\n "learner" : {"attributes": {}}, "version": [3, 4, 1]}'
NOTES = {"manifest_version": 1, "objective": "rank:ndcg"}


def packed(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def channel(tmp_path: Path, files: dict[str, bytes]) -> Path:
    folder = tmp_path / "model"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def refused(tmp_path: Path, files: dict[str, bytes]) -> ChannelError:
    with pytest.raises(ChannelError, match="Channel 'model': ") as caught:
        artifacts.read_model(channel(tmp_path, files))
    assert "\n" not in caught.value.cause + caught.value.remedy
    return caught.value


def test_the_folder_of_a_job_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    artifacts.write(folder, {artifacts.MODEL_NAME: UBJSON}, {"objective": "rank:ndcg"})
    found = artifacts.read_model(folder)
    assert found == artifacts.EarlierModel(UBJSON, NOTES, "model/xgboost-model")


@pytest.mark.parametrize(
    ("archive", "mode"),
    [("model.tar.gz", "w:gz"), ("model.tar.gz", "w"), ("old.tgz", "w:gz"), ("old.tar", "w")],
)
@pytest.mark.parametrize("prefix", ["", "./", "deep/er/"])
def test_an_archive_is_read_without_unpacking_it(
    tmp_path: Path, archive: str, mode: str, prefix: str
) -> None:
    manifest = json.dumps(NOTES).encode()
    members = {f"{prefix}{MODEL}": UBJSON, f"{prefix}{MANIFEST}": manifest, "notes.txt": b"n"}
    folder = channel(tmp_path, {archive: packed(members, mode)})
    found = artifacts.read_model(folder)
    assert (found.model, found.manifest) == (UBJSON, NOTES)
    assert found.origin == f"model/{archive}/{prefix.removeprefix('./')}{MODEL}"
    assert files(folder) == {archive}


def test_xgboost_loads_what_was_found(tmp_path: Path) -> None:
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(np.eye(4), np.arange(4)), 2)
    for name, form in ((MODEL, "ubj"), ("a.ubj", "ubj"), ("a.json", "json")):
        raw = bytes(booster.save_raw(form))
        folder = channel(tmp_path / name, {"model.tar.gz": packed({name: raw})})
        found = artifacts.read_model(folder)
        again = xgb.Booster(model_file=bytearray(found.model))
        assert again.num_boosted_rounds() == 2
        assert found.manifest is None


@pytest.mark.parametrize("name", ["my.ubj", "my.json", "xgboost-model-0"])
def test_one_model_under_another_name_will_do(tmp_path: Path, name: str) -> None:
    others = {"params.json": b'{"eta": 1}', "treeline/manifest.json": b'{"manifest_version": 1}'}
    found = artifacts.read_model(channel(tmp_path, {name: JSON, **others}))
    assert (found.model, found.origin) == (JSON, f"model/{name}")
    assert found.manifest == {"manifest_version": 1}


def test_the_name_of_the_contract_goes_before_all_others(tmp_path: Path) -> None:
    """Also for the whole S3 prefix of a job, where the platform puts output.tar.gz beside it."""
    loose = {MODEL: UBJSON, "xgboost-model-0": JSON, "a.ubj": JSON, "output.tar.gz": b"?"}
    assert artifacts.read_model(channel(tmp_path, loose)).model == UBJSON
    job = {
        "output/model.tar.gz": packed({MODEL: JSON}), "output/output.tar.gz": packed({}),
        ".cache/xgboost-model": b"hidden",
    }  # fmt: skip
    found = artifacts.read_model(channel(tmp_path / "job", job))
    assert (found.model, found.origin) == (JSON, f"model/output/model.tar.gz/{MODEL}")


@pytest.mark.parametrize(
    "names",
    [
        ["xgboost-model-0", "xgboost-model-1"],
        ["a/xgboost-model", "b/xgboost-model"],
        ["a.ubj", "b.json"],
        ["xgboost-model-0", "a.ubj"],
    ],
)
def test_of_several_models_none_is_guessed(tmp_path: Path, names: list[str]) -> None:
    models = dict.fromkeys(names, JSON)
    for which in (models, {"model.tar.gz": packed(models)}):
        text = refused(tmp_path / str(len(which)), which).cause
        assert "2 files in model" in text
        assert all(repr(name) in text for name in names)


def test_of_several_archives_none_is_guessed(tmp_path: Path) -> None:
    archive = packed({MODEL: UBJSON})
    for i, names in enumerate(
        [("a/model.tar.gz", "b/model.tar.gz"), ("a.tar", "b.tgz"), ("model.tar.gz", MODEL),
         ("a.tar", "b.ubj")]
    ):  # fmt: skip
        content = dict.fromkeys(names, archive) | ({names[1]: UBJSON} if i > 1 else {})
        text = refused(tmp_path / str(i), content).cause
        assert all(repr(name) in text for name in names)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"notes.txt": b"?"},
        {"params.json": b'{"eta": 1}', MANIFEST: b"{}"},
        {"model.tar.gz": packed({})},
        {"model.tar.gz": packed({"notes.txt": b"?"})},
    ],
)
def test_no_model(tmp_path: Path, content: dict[str, bytes]) -> None:
    error = refused(tmp_path, content)
    assert "no model in model" in error.cause
    assert ("'params.json'" in error.cause) == ("params.json" in content)
    assert "xgboost-model, *.ubj or *.json" in error.remedy


@pytest.mark.parametrize(
    ("model", "cause", "remedy"),
    [
        (pickle.dumps({"a": 1}), "is a pickle", "save it again with save_model"),
        (b"binf\x00\x00", "old binary format (binf)", "save it again"),
        (b"\x00\x00\x00?\x04\x00", "neither UBJSON nor JSON", "save it again"),
        (b'{"trees": []}', "without the part 'learner'", "a whole model"),
        (b"", "is empty", "a whole model"),
    ],
)
def test_formats_of_the_past_are_refused_by_name(
    tmp_path: Path, model: bytes, cause: str, remedy: str
) -> None:
    error = refused(tmp_path, {MODEL: model})
    assert f"model/xgboost-model {cause}" in error.cause or cause in error.cause
    assert remedy in error.remedy
    assert cause in refused(tmp_path / "p", {"model.tar.gz": packed({MODEL: model})}).cause


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(mark),)

    refused(tmp_path, {MODEL: pickle.dumps(Evil())})
    assert not mark.exists()


def test_every_cut_of_an_archive_is_noticed(tmp_path: Path) -> None:
    folder = channel(tmp_path, {})
    members = {"a.txt": b"x" * 700, MODEL: UBJSON * 30, "z.txt": b"z" * 700}
    folder.mkdir()
    for mode, step in (("w:gz", 7), ("w", 256)):
        whole = packed(members, mode)
        # Plain: three headers with two blocks each, and the first block of the end.
        for length in range(0, len(whole) if mode == "w:gz" else 3 * 1536 + 512, step):
            (folder / "model.tar.gz").write_bytes(whole[:length])
            with pytest.raises(ChannelError, match="damaged, cut off, or no tar archive"):
                artifacts.read_model(folder)
        (folder / "model.tar.gz").write_bytes(whole)
        assert artifacts.read_model(folder).model == UBJSON * 30


def test_a_changed_byte_never_gives_another_model(tmp_path: Path) -> None:
    rng = random.Random(5)
    folder = channel(tmp_path, {})
    folder.mkdir()
    whole = packed({MODEL: UBJSON + bytes(rng.randbytes(900))})
    model = gzip.decompress(whole)[512 : 512 + len(UBJSON) + 900]
    for _ in range(150):
        changed = bytearray(whole)
        changed[rng.randrange(10, len(whole))] ^= 1 << rng.randrange(8)
        (folder / "model.tar.gz").write_bytes(changed)
        try:
            found = artifacts.read_model(folder)
        except ChannelError:
            continue
        assert found.model == model  # the padding of the archive's end may differ


def test_links_and_names_that_lead_out_are_passed_over(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, kind in (
            (MODEL, tarfile.SYMTYPE), (f"a/{MODEL}", tarfile.LNKTYPE), (f"d/{MODEL}",
            tarfile.DIRTYPE), (f"../{MODEL}", tarfile.REGTYPE), (f"/etc/{MODEL}",
            tarfile.REGTYPE), (f".hidden/{MODEL}", tarfile.REGTYPE),
            (f"new\nline/{MODEL}", tarfile.REGTYPE),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    error = refused(tmp_path, {"model.tar.gz": stream.getvalue()})
    assert "no model in model/model.tar.gz" in error.cause


@pytest.mark.parametrize(
    ("manifest", "cause"),
    [
        (b'{"manifest_version": 2}', "manifest_version 2, this image reads up to 1"),
        (b'{"manifest_version": "1"}', "manifest_version '1'"),
        (b"{}", "no manifest of Treeline: KeyError"),
        (b"[]", "no manifest of Treeline: TypeError"),
        (b"{", "no manifest of Treeline: JSONDecodeError"),
        (b"\xff", "no manifest of Treeline: UnicodeDecodeError"),
        (b"[" * 200_000, "no manifest of Treeline: RecursionError"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(
    tmp_path: Path, manifest: bytes, cause: str
) -> None:
    error = refused(tmp_path, {MODEL: UBJSON, MANIFEST: manifest})
    assert f"model/{MANIFEST}" in error.cause
    assert cause in error.cause


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = channel(tmp_path, {MODEL: UBJSON})

    def fail(path: Path) -> bytes:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ChannelError, match="xgboost-model cannot be read: Input/output error"):
        artifacts.read_model(folder)
