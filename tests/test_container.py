"""The artifact file: golden bytes, memory, and writers that die."""

import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import plain_reader
import pytest
from artifact_files import all_codings, assemble, read_all, tensor, whole_file
from hypothesis import given, settings
from hypothesis import strategies as st

from smh import container
from smh.coding import Codebook, Raw, Sparse, Uniform
from smh.container import Tensor, deflating
from smh.errors import ArgumentError

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and resource limits")


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_file(tmp_path_factory.mktemp("whole"))


def write_golden(path):
    """Writes the example at the end of docs/format.md."""
    integers = np.array([[0, 1, -2, 3], [-4, 2, 0, 1]])
    sparse = np.zeros(128, np.float32)
    sparse[3::12] = [1, -1, 0.5, 1, 1, -1, 1, 1, 0.5, -1, 1]
    sparse[[5, 90]] = 0.5, 1
    tensors = [
        tensor("b", np.float16([1, -2]), Raw()),
        tensor("k", integers, Uniform(3, per="row", scale=np.float16([0.5, 0.25]))),
        tensor("s", sparse, Sparse(Codebook(np.float16([-1, 0.5, 1])))),
    ]
    container.write(path, {"note": "tiny"}, tensors)


def golden_dump():
    """Returns the example as a hex dump; the command is in docs/format.md."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden"
        write_golden(path)
        data = path.read_bytes()
    return "\n".join(f"{i:04x}  {data[i : i + 16].hex(' ')}" for i in range(0, len(data), 16))


# What is written


def test_the_example_of_the_specification(tmp_path):
    dump = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)$", FORMAT.read_text(), re.MULTILINE)
    expected = bytes.fromhex(" ".join(dump))
    write_golden(tmp_path / "golden")
    written = (tmp_path / "golden").read_bytes()
    assert written == expected, f"docs/format.md should have:\n{golden_dump()}"
    found = read_all(container.read(tmp_path / "golden"))
    np.testing.assert_array_equal(found["b"], np.float16([1, -2]))
    np.testing.assert_array_equal(found["k"], [[0, 0.5, -1, 1.5], [-1, 0.5, 0, 0.25]])
    assert np.flatnonzero(found["s"]).tolist() == sorted([*range(3, 128, 12), 5, 90])


def test_a_reader_written_from_the_specification_agrees(tmp_path, whole):
    (tmp_path / "x").write_bytes(whole)
    meta, tensors = plain_reader.read(whole)
    found = container.read(tmp_path / "x")
    assert meta == found.meta == {"a": [1, 2.5, None, "ä"]}
    assert list(tensors) == list(found.names)
    for name, (shape, flat) in tensors.items():
        array = found.tensor(name)
        assert list(array.shape) == shape and array.ravel().tolist() == flat, name


def test_a_deflated_header_holds_the_same(tmp_path):
    path, meta = tmp_path / "x", {"kind": "models", "a": [1, 2.5, None, "ä"]}
    container.write(path, meta, all_codings())
    plain, plain_size = container.read(path), path.stat().st_size
    container.write(path, meta, all_codings(), deflate_header=True)
    deflated, data = container.read(path), path.read_bytes()
    assert data[8] == 2 and deflated.meta == meta and deflated.names == plain.names
    saved = plain.header_size - deflated.header_size
    assert len(data) == plain_size - saved and deflated.header_size < plain.header_size / 3
    for name in plain.names:
        np.testing.assert_array_equal(deflated.tensor(name), plain.tensor(name))
        assert dict(deflated.spec(name)) == dict(plain.spec(name))
    assert plain_reader.read(data)[0] == meta
    assert list(plain_reader.read(data)[1]) == list(plain.names)


def test_the_dictionary_is_the_one_of_the_specification():
    assert deflating.DICTIONARY == plain_reader.dictionary()
    assert zlib.crc32(deflating.DICTIONARY) == 0x1EDFE6E0  # never to be changed: files depend on it


def test_a_header_that_would_blow_up_is_stored_plain(tmp_path):
    meta = {"a": "x" * 1_000_000}
    container.write(tmp_path / "x", meta, [], deflate_header=True)
    assert (tmp_path / "x").read_bytes()[8] == 1 and container.read(tmp_path / "x").meta == meta


def test_every_kind_of_the_format_is_in_the_file_of_all_codings():
    kinds = {t.name: t.payload for t in all_codings()}
    assert kinds["range"][2] == 3 and kinds["row"][16] == 2 and kinds["column"][48] == 1
    assert kinds["table"][12] in range(4, 8) and kinds["zeros"][2] == 0
    assert kinds["sparse"][0] == 0 and kinds["regular"][0] == 1


def test_sections_make_up_the_file(tmp_path, whole):
    path = tmp_path / "x"
    path.write_bytes(whole)
    found = container.read(path)
    at = found.header_size
    for section, written in zip(found.sections, all_codings(), strict=True):
        array = found.tensor(section.name)
        assert (section.offset, section.length) == (at, len(written.payload))
        assert (section.name, section.coding) == (written.name, written.spec["coding"])
        assert (section.dtype, section.shape) == (array.dtype.name, array.shape)
        at += section.length
    assert at == len(whole)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(meta=st.dictionaries(st.text(), json_values, max_size=4), data=st.data())
def test_any_state_comes_back_and_has_one_file(tmp_path_factory, meta, data):
    path = tmp_path_factory.getbasetemp() / "any.smh"
    names = data.draw(st.lists(st.text(), unique=True, max_size=4))
    arrays = [np.arange(i * 7 % 5, dtype=np.int16) for i in range(len(names))]
    tensors = [tensor(n, a, Raw()) for n, a in zip(names, arrays, strict=True)]
    container.write(path, meta, tensors)
    first = path.read_bytes()
    found = container.read(path)
    assert found.meta == meta and found.names == tuple(names)
    for name, array in zip(names, arrays, strict=True):
        np.testing.assert_array_equal(found.tensor(name), array)
    backwards = dict(reversed(meta.items()))
    specs = [Tensor(t.name, dict(reversed(t.spec.items())), t.payload) for t in tensors]
    container.write(path, backwards, specs)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "meta, match",
    [
        ({"a": float("nan")}, "nan .*at /meta/a"),
        ({"a": {"b": [float("inf")]}}, "at /meta/a/b/0"),
        ({1: 2}, "keys are strings, got 1"),
        ({"a": (1,)}, "tuple"),
        ({"a": np.float32(1)}, "float32"),
        ({"a": 2**64}, "64 bits"),
        ({"a": "\ud800"}, "surrogates"),
        ({"a": "x" * (4 << 20)}, "limit is 4,194,304"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, meta, match):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(ArgumentError, match=match):
        container.write(path, meta, [])
    deep = []
    for _ in range(200):
        deep = [deep]
    one = tensor("a", np.float32([1]), Raw())
    for wrong, text in [
        (lambda: container.write(path, {"a": deep}, []), "100 levels"),
        (lambda: container.write(path, {}, [one, one]), "names are unique"),
        (lambda: container.write(path, {}, [Tensor(3, one.spec, b"")]), "string for a name"),
        (lambda: container.write(path, {}, [Tensor("a", {"coding": "zip"}, b"")]), "one of"),
        (lambda: container.write(path, {}, [Tensor("a", {"name": 1}, b"")]), "neither name"),
    ]:
        with pytest.raises(ArgumentError, match=text):
            wrong()
    assert os.listdir(tmp_path) == ["x"] and path.read_bytes() == b"old"


def test_a_missing_tensor_is_named(tmp_path, whole):
    (tmp_path / "x").write_bytes(whole)
    with pytest.raises(ArgumentError, match="no tensor 'weights'; it has raw, bfloat16"):
        container.read(tmp_path / "x").tensor("weights")
    with pytest.raises(FileNotFoundError):
        container.read(tmp_path / "nothing")


# Memory


def child(code, *arguments, **options):
    """Runs Python code in a process of its own, with smh and NumPy loaded."""
    text = "import os, sys, numpy as np\nfrom smh import coding, container\n" + code
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


MEASURE = """
def memory(field):
    return 1024 * int(next(l for l in open("/proc/self/status") if l.startswith(field)).split()[1])
before, decoded = memory("VmRSS"), 0
try:
    found = container.read(sys.argv[1])
    for name in found.names:
        array = found.tensor(name)
        decoded = max(decoded, array.nbytes)
except container.ArtifactError as error:
    print("refused", end=" ")
print(memory("VmHWM") - before, decoded)
"""


@linux
@pytest.mark.parametrize("name", ["8 bits", "sparse", "huffman", "bomb", "lie", "brackets"])
def test_memory_is_bounded_by_twice_the_file_and_the_array(tmp_path, name):
    path = tmp_path / "x"
    rng = np.random.default_rng(0)
    count = 6_000_000
    normal = np.clip(np.rint(rng.standard_normal(count) * 40), -127, 127).astype(np.int8)
    header = b'{"meta":{"a":[' + b"[]," * (1 << 20) + b'[]]},"tensors":[]}'
    half = np.where(rng.random(count) < 0.5, 0, normal).astype(np.float32)
    book = Codebook(np.arange(-127.0, 128))
    if name == "brackets":
        path.write_bytes(assemble(header, []))
    elif name == "lie":  # 1 GiB of zeros in a payload of 100 bytes
        spec = {"bits": 8, "coding": "uniform", "per": "tensor", "scale": "float16"}
        entry = {**spec, "shape": [1 << 28], "name": "w", "length": 100}
        path.write_bytes(assemble({"meta": {}, "tensors": [entry]}, [bytes(100)]))
    else:
        made = {
            "8 bits": lambda: tensor("w", normal, Uniform(8, scale=np.float32(0.1))),
            "huffman": lambda: tensor("w", normal, Uniform(8, scale=1.0, coder="huffman")),
            "sparse": lambda: tensor("w", half, Sparse(book)),
            "bomb": lambda: tensor("w", np.zeros(count, np.float32), Uniform(8)),
        }[name]()
        container.write(path, {}, [made])
    done = child(MEASURE, path)
    assert done.returncode == 0, done.stderr
    *was_refused, used, decoded = done.stdout.split()
    assert bool(was_refused) == (name == "lie")
    size = path.stat().st_size
    allowed = 40 * size if name == "brackets" else 2 * (size + int(decoded))
    assert int(used) <= allowed + (32 << 20)


# Writers that die

WRITE = """
array = np.arange(int(sys.argv[2]), dtype=np.float32)
encoded = coding.encode(array, coding.Raw())
tensor = container.Tensor("w", encoded.spec, encoded.payload)
"""


@linux
def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    container.write(path, {"old": True}, [])
    code = WRITE + (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    container.write(sys.argv[1], {}, [tensor])\n"
        "except OSError as error:\n    print(type(error).__name__, error.errno)\n"
    )
    done = child(code, path, 1_000_000)
    assert done.stdout.startswith("OSError"), done.stdout + done.stderr
    assert os.listdir(tmp_path) == ["x"] and container.read(path).meta == {"old": True}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call, error):
    path = tmp_path / "x"
    container.write(path, {"old": True}, [])

    def fails(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fails)
        with pytest.raises(error):
            container.write(path, {}, all_codings())
    assert os.listdir(tmp_path) == ["x"] and container.read(path).meta == {"old": True}


def stop_in_the_middle(process, folder):
    """Stops a process while there is more than the finished file in a folder."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if len(os.listdir(folder)) > 1:
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.001)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_kill_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x"
    container.write(path, {"round": -1}, [])
    code = WRITE + (
        "print('ready', flush=True)\n"
        "for i in range(10**6):\n    container.write(sys.argv[1], {'round': i}, [tensor])\n"
    )
    text = "import sys, numpy as np\nfrom smh import coding, container\n" + code
    leftovers = 0
    for delay in (0.03, 0.05, 0.08, 0.11, 0.15):
        command = [sys.executable, "-c", text, str(path), "2000000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay)
            stop_in_the_middle(process, tmp_path)
            process.kill()
        found = container.read(path)
        assert found.meta["round"] >= -1
        if found.names:
            assert found.tensor("w")[-1] == 1_999_999
        leftovers += len(os.listdir(tmp_path)) - 1
        for name in os.listdir(tmp_path):
            if name != "x":
                assert re.fullmatch(r"\.x\.[0-9a-f]{8}\.tmp", name)
                (tmp_path / name).unlink()
    assert leftovers == 5


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions and links")
@pytest.mark.parametrize("old", [None, 0o600, 0o664])
def test_links_are_followed_and_permissions_stay(tmp_path, old):
    """A new file has those of the umask."""
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "model.smh"
    link = tmp_path / "link.smh"
    link.symlink_to(target)
    if old is not None:
        target.write_bytes(b"old")
        target.chmod(old)
    before = os.umask(0o027)
    try:
        container.write(link, {"new": 1}, [])
    finally:
        os.umask(before)
    assert link.is_symlink() and container.read(target).meta == {"new": 1}
    assert target.stat().st_mode & 0o777 == (old or 0o640)
    assert os.listdir(tmp_path / "real") == ["model.smh"]
