"""A TorchScript file is a program: what does more than compute is refused before it runs, and what runs can do no harm."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.files.model_files import load_classifier
from art_plugins.inspection.detect import detect_folder
from art_plugins.inspection.isolation import landlock, sandbox, seccomp
from art_plugins.inspection.isolation import messages as judge_messages
from art_plugins.inspection.isolation.judge import ModelFacts, ModelJudge
from art_plugins.inspection.isolation.process import JudgeProcess
from art_plugins.inspection.settings import DetectSettings

needs_sandbox = pytest.mark.skipif(not sandbox.sandbox_is_possible(), reason="only Linux can lock a process down")
VICTIM = "victim.txt"  # relative: tests run in a folder of their own
CONTENT = b"precious" * 100


class Honest(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class SavesInForward(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "victim.txt")
        return self.layers(x)


class WritesThroughMap(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        written = torch.from_file("victim.txt", True, 100).fill_(7.0)
        return self.layers(x) + 0 * written.sum()


class SavesInBranch(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            if bool(x.sum() > 1e9):
                torch.save(x, "victim.txt")
        return self.layers(x)


class SavesInSubmodule(Honest):
    def __init__(self) -> None:
        super().__init__()
        self.inner = SavesInForward()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def save_it(x: torch.Tensor) -> torch.Tensor:
    torch.save(x, "victim.txt")
    return x


class SavesInFunction(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(save_it(x))


@torch.jit.script
class Helper:
    def __init__(self, x: torch.Tensor):
        self.x = x

    def get(self) -> torch.Tensor:
        torch.save(self.x, "victim.txt")
        return self.x


class SavesInObject(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(Helper(x).get())


class SavesInOtherMethod(Honest):
    @torch.jit.export
    def other(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "victim.txt")
        return x


class Forks(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(torch.jit.wait(torch.jit.fork(save_it, x)))


class Prints(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("\x1b]0;owned\x07")
        return self.layers(x)


class SavesAtLoading(Honest):
    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return torch.zeros(2), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "victim.txt")
        self.training = state[1]


class Endless(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = 0
        while n >= 0:
            n = (n + 1) % 1000
        return self.layers(x)


class Greedy(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x) + torch.ones(2_500_000_000_000).sum()  # 10 TB


@torch.jit.script
class Manager:
    def __init__(self, x: torch.Tensor):
        self.x = x

    def __enter__(self) -> torch.Tensor:
        torch.save(self.x, "victim.txt")
        return self.x

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        pass


class SavesInManager(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with Manager(x) as y:
            return self.layers(y)


@torch.jit.script
class Ordered:
    def __init__(self, x: torch.Tensor):
        self.x = x

    def __lt__(self, other: Ordered) -> bool:
        torch.save(self.x, "victim.txt")
        return True


class SavesInOrder(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = [Ordered(x), Ordered(x + 1)]
        both.sort()
        return self.layers(both[0].x)


@torch.jit.interface
class Getter:
    def get(self) -> torch.Tensor:
        pass


class SavesBehindInterface(Honest):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        getters: list[Getter] = []
        getters.append(Helper(x))
        return self.layers(getters[0].get())


def hook_that_saves(
    module: Honest,
    inputs: tuple[torch.Tensor],
    output: torch.Tensor,
) -> torch.Tensor:
    torch.save(output, "victim.txt")
    return output


def saved(network: nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network.eval()), path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own, with a file that a model would like to overwrite."""
    monkeypatch.chdir(tmp_path)
    Path(VICTIM).write_bytes(CONTENT)
    return tmp_path


def make(kind: type[nn.Module]) -> nn.Module:
    with seeded(0):
        return kind().eval()


FILE_OPERATOR = r"does more than compute, so it was not run: .*aten::(save|from_file), which reads or writes files"
HOSTILE = [
    (SavesInForward, FILE_OPERATOR),
    (WritesThroughMap, FILE_OPERATOR),
    (SavesInBranch, FILE_OPERATOR),
    (SavesInSubmodule, FILE_OPERATOR),
    (SavesInFunction, FILE_OPERATOR),
    (SavesInObject, FILE_OPERATOR),
    (SavesInOtherMethod, r"its method 'other' has the operator aten::save"),
    (SavesInManager, r"prim::Enter, which calls code that is found only while it runs|aten::save"),
    (SavesInOrder, r"aten::sort, which calls code that is found only while it runs|aten::save"),
    (SavesBehindInterface, r"prim::CallMethod, which calls code that is found only while it runs|aten::save"),
    (Forks, r"prim::fork, which starts threads"),
    (Prints, r"prim::Print, which writes to the terminal"),
    (SavesAtLoading, r"would run code while it is loaded \(__setstate__ in .*\.py\), so it is not loaded"),
]


@pytest.mark.parametrize(("kind", "sentence"), HOSTILE, ids=[kind.__name__ for kind, _ in HOSTILE])
def test_load_classifier_hostile_script_is_refused_before_it_runs(here, kind, sentence):
    path = saved(make(kind), here / "m.pt")
    with pytest.raises(InvalidInputError, match=sentence) as error:
        load_classifier(path, (8, 8), is_grey=True)
    assert "--trust-model" in str(error.value)
    assert Path(VICTIM).read_bytes() == CONTENT


def test_load_classifier_hostile_hook_is_refused(here):
    network = make(Honest)
    network.register_forward_hook(hook_that_saves)  # type: ignore[arg-type]
    path = saved(network, here / "m.pt")
    with pytest.raises(InvalidInputError, match="a forward hook' has the operator aten::save"):
        load_classifier(path, (8, 8), is_grey=True)
    assert Path(VICTIM).read_bytes() == CONTENT


def test_load_classifier_trusted_script_does_run(here):
    """The test above can fail: what is refused there writes, if it is let."""
    path = saved(make(SavesInForward), here / "m.pt")
    classifier = load_classifier(path, (8, 8), is_grey=True, trust_model=True)
    assert classifier.nb_classes == 5
    assert Path(VICTIM).read_bytes() != CONTENT


def edited(path: Path, edit: Callable[[str, bytes], bytes]) -> Path:
    """The archive with other contents, as an attacker makes it by hand."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            archive.writestr(name, edit(name, content))
    return path


def test_load_classifier_archive_edited_by_hand_is_refused(here):
    """``x.save(file)`` is not what torch writes, but what its compiler takes."""
    path = saved(make(Honest), here / "m.pt")

    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith(".py") or b"Honest" not in content:
            return content
        return content.replace(
            b"    layers = self.layers\n", b'    torch.save(x, "victim.txt")\n    layers = self.layers\n'
        )

    edited(path, edit)
    with pytest.raises(InvalidInputError, match=FILE_OPERATOR):
        load_classifier(path, (8, 8), is_grey=True)
    assert Path(VICTIM).read_bytes() == CONTENT


def test_load_classifier_two_entries_of_one_name_are_refused(here):
    path = saved(make(Honest), here / "m.pt")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(archive.namelist()[0], b"other")
    with pytest.raises(InvalidInputError, match="two entries of the archive have one name"):
        load_classifier(path, (8, 8), is_grey=True)


def test_load_classifier_torchbind_objects_are_refused(here):
    def edit(name: str, content: bytes) -> bytes:
        return content + b"# __torch__.torch.classes.x.Y\n" if name.endswith(".py") else content

    path = edited(saved(make(Honest), here / "m.pt"), edit)
    with pytest.raises(InvalidInputError, match=r"torch\.classes"):
        load_classifier(path, (8, 8), is_grey=True)


def test_load_classifier_zip_bomb_is_refused(here):
    path = saved(make(Honest), here / "m.pt")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/extra/zeros", bytes(2**24))
    with pytest.raises(InvalidInputError, match="compressed beyond what torch writes"):
        load_classifier(path, (8, 8), is_grey=True)


# The process


ATTEMPTS = """
import ctypes, io, os, socket, subprocess, sys, threading
from art_plugins.inspection.isolation import sandbox
requests, answers = sandbox.private_pipes()
import torch
folder = sys.argv[1]
victim = os.path.join(folder, "victim.txt")
os.chdir(folder)
saves, maps = (io.BytesIO(open(os.path.join(folder, name), "rb").read()) for name in ("saves.pt", "maps.pt"))
handle = os.open(victim, os.O_RDONLY)
sandbox.lock_down(60)
results = []
def attempt(name, function):
    try:
        function()
        results.append(name + " done")
    except BaseException as error:
        results.append(name + " refused")
def in_thread():
    thread = threading.Thread(target=attempt, args=("thread", lambda: open(victim, "wb")))
    thread.start()
    thread.join()
x = torch.zeros(1, 1, 8, 8)
attempt("aten::save", lambda: torch.jit.load(saves)(x))
attempt("from_file", lambda: torch.jit.load(maps)(x))
attempt("open", lambda: open(victim, "wb"))
attempt("append", lambda: open(victim, "ab"))
attempt("create", lambda: open(os.path.join(folder, "new.txt"), "wb"))
attempt("truncate", lambda: os.truncate(victim, 0))
attempt("remove", lambda: os.remove(victim))
attempt("rename", lambda: os.rename(victim, victim + "2"))
attempt("chmod", lambda: os.chmod(victim, 0o777))
attempt("utime", lambda: os.utime(handle, (1, 1)))
attempt("link", lambda: os.link(victim, victim + "3"))
attempt("mkdir", lambda: os.mkdir(os.path.join(folder, "new")))
attempt("socket", lambda: socket.socket())
attempt("program", lambda: subprocess.run([sys.executable, "-c", ""], check=True))
attempt("fork", lambda: os.fork() or os._exit(0))
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("memory", lambda: torch.ones(2_500_000_000_000))
attempt("limits", lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_DATA, (-1, -1)))
in_thread()
attempt("compute", lambda: torch.randn(300, 300) @ torch.randn(300, 300))
attempt("start thread", lambda: threading.Thread(target=int).start())
attempt("read", lambda: open(victim, "rb"))
answers.write("\\n".join(results).encode())
answers.flush()
"""


@needs_sandbox
def test_lock_down_refuses_all_but_computing(here):
    saved(make(SavesInForward), here / "saves.pt")
    saved(make(WritesThroughMap), here / "maps.pt")
    (here / "attempts.py").write_text(ATTEMPTS)
    before = {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in here.iterdir()}
    folders = [entry for entry in sys.path if entry]
    script = f"import sys; sys.path[:] = {folders!r}; exec(open(sys.argv[1] + '/attempts.py').read())"
    done = subprocess.run([sys.executable, "-I", "-c", script, str(here)], capture_output=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr.decode()
    results = dict(line.rsplit(" ", 1) for line in done.stdout.decode().splitlines())
    # aten::save raises nothing when a file cannot be opened: that nothing is written is seen below.
    allowed = {name for name, result in results.items() if result == "done"} - {"aten::save"}
    if landlock.landlock_version():
        assert allowed == {"compute", "start thread"}
    else:
        assert allowed == {"compute", "start thread", "read"}
    assert len(results) == 22
    after = {path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in here.iterdir()}
    assert after == before


@pytest.mark.slow
@needs_sandbox
def test_judge_process_endless_model_is_ended_in_time(here):
    path = saved(make(Endless), here / "m.pt")
    options = {"is_grey": True, "mean": None, "std": None}
    start = time.monotonic()
    with pytest.raises(InvalidInputError, match=r"did not answer within 3 s, so it was ended\. .*--timeout 3 "):
        JudgeProcess(path, (8, 8), options, timeout_s=3)
    assert time.monotonic() - start < 200  # most of it for importing torch in the process


@pytest.mark.slow
@needs_sandbox
def test_judge_process_greedy_model_is_one_sentence(here):
    path = saved(make(Greedy), here / "m.pt")
    with pytest.raises(InvalidInputError, match=r"takes neither grey nor .*(memory|alloc)") as error:
        JudgeProcess(path, (8, 8), {"is_grey": True, "mean": None, "std": None}, timeout_s=120)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@needs_sandbox
def test_detect_in_a_process_finds_what_it_finds_here(here, digits):
    """The process gives the same record as this one, and leaves nothing behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(digits.network("white_square")), here / "m.pt")
    for row, (image, label) in enumerate(zip(digits.x_clean, digits.y_clean, strict=True)):
        write_png(here / "clean" / str(label) / f"{row}.png", image)
    for row, image in enumerate(digits.white_square(digits.x_test[digits.y_test != digits.target][:12])):
        write_png(here / "images" / f"{row}.png", image)
    before = sorted(here.rglob("*"))
    records = []
    for trust in (False, True):
        out = here / f"out{trust}"
        detector = here / f"d{trust}.safetensors"
        records.append(
            detect_folder(
                here / "m.pt",
                "images",
                "clean",
                out,
                DetectSettings(nb_steps=400, trust_model=trust, save_detector=detector),
                verbose=False,
            )
        )
    for key in ("finding", "target_class", "counts", "clean_accuracy"):
        assert records[0][key] == records[1][key]
    assert records[0]["margin"] == pytest.approx(records[1]["margin"], rel=1e-3)
    assert str(digits.target) == records[0]["target_class"]
    assert [row["file"] for row in records[0]["suspects"]] == [row["file"] for row in records[1]["suspects"]]
    assert (here / "dFalse.safetensors").stat().st_size == (here / "dTrue.safetensors").stat().st_size
    made = {path.relative_to(here).parts[0] for path in set(here.rglob("*")) - set(before)}
    assert made == {"outFalse", "outTrue", "dFalse.safetensors", "dTrue.safetensors"}


def write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(path)


def test_detect_without_a_way_to_lock_down_needs_trust(here, monkeypatch):
    monkeypatch.setattr(sandbox, "sandbox_is_possible", lambda: False)
    path = saved(make(Honest), here / "m.pt")
    with pytest.raises(InvalidInputError, match=r"no way to run it without rights .*--trust-model"):
        JudgeProcess(path, (8, 8), {"is_grey": True, "mean": None, "std": None}, timeout_s=3)


# What comes back from the process is a stranger's


FACTS = ModelFacts((1, 2, 2), True, 3)


def message(values: dict[str, Any], arrays: dict[str, np.ndarray]) -> judge_messages.Message:
    packed = judge_messages.packed(values, arrays)
    text, rest = judge_messages.lengths(packed[:16], 2**20)
    return judge_messages.unpacked(packed[16 : 16 + text], packed[16 + text : 16 + text + rest])


def judgement(**changes: np.ndarray) -> judge_messages.Message:
    arrays = {
        "predicted": np.array([0, 1]),
        "is_trigger": np.array([True, False]),
        "source": np.array([2, -1]),
        "scores": np.array([1.0, np.nan]),
    }
    return message({}, {**arrays, **changes})


def test_judgement_that_keeps_to_the_rules_comes_through():
    assert judge_messages.unpack_judgement(judgement(), 2, 3).source.tolist() == [2, -1]


@pytest.mark.parametrize(
    "changes",
    [
        {"predicted": np.array([0, 3])},
        {"predicted": np.array([0, 1, 2])},
        {"predicted": np.array([0.0, 1.0])},
        {"source": np.array([-1, -1])},
        {"scores": np.array([np.nan, np.nan])},
        {"is_trigger": np.array([1, 0])},
    ],
)
def test_judgement_that_breaks_the_rules_is_refused(changes):
    with pytest.raises(InvalidInputError, match="is not to be trusted"):
        judge_messages.unpack_judgement(judgement(**changes), 2, 3)


@pytest.mark.parametrize("start", [(2**40).to_bytes(8, "little") + bytes(8), bytes(8) + (2**40).to_bytes(8, "little")])
def test_message_that_is_too_long_is_refused(start):
    with pytest.raises(InvalidInputError, match="bytes at once"):
        judge_messages.lengths(start, 2**20)


@pytest.mark.parametrize(("text", "rest"), [(b"[]", b""), (b"{", b""), (b"{}", b"junk"), (b"\xff", b"")])
def test_message_that_is_none_is_refused(text, rest):
    with pytest.raises(InvalidInputError, match="what cannot be read"):
        judge_messages.unpacked(text, rest or judge_messages.packed({})[18:])


def test_filter_program_of_both_processors_is_whole():
    for machine in seccomp.SECCOMP:
        program = seccomp.filter_program(machine)
        assert len(program) % 8 == 0
        assert len(program) // 8 < 4096  # the kernel's limit


def test_model_judge_is_the_face_of_both():
    asked = {name for name in vars(ModelJudge) if not name.startswith("_")} - {"from_file", "from_script"}
    assert asked <= {*vars(JudgeProcess), "facts"}


def test_script_judged_from_bytes_is_the_file(here):
    path = saved(make(Honest), here / "m.pt")
    judge = ModelJudge.from_script(path.read_bytes(), str(path), (8, 8), True, None, None)
    x = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
    y = np.arange(3)
    expected = torch.jit.load(io.BytesIO(path.read_bytes()))(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(judge.show_clean(x, y), expected, atol=1e-5)
