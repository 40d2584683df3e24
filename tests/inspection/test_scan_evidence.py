"""All evidence of a scan and the one verdict on each file: groups of two kinds, label errors, what is left out and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.convergence import has_settled
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.scripted_network import MOST_SHOWN, ScriptedNetwork, show_layers
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.evidence import examine as examine_module
from art_plugins.inspection.evidence import latents as latents_module
from art_plugins.inspection.evidence.classes import rank_classes
from art_plugins.inspection.evidence.examine import FAST, NO_CLEANLAB, NOT_ASKED, NOT_FOR_SOUNDS, Examined, examine, plan
from art_plugins.inspection.evidence.found import LABEL_ERROR, LOOK_HERE, POISON, Found, united
from art_plugins.inspection.evidence.labels import Doubts
from art_plugins.inspection.evidence.latents import epochs_for
from art_plugins.inspection.evidence.network import Labelled, LayerFindings, LayerSearch, network_findings
from art_plugins.inspection.evidence.own_network import FOR_GROUPS, train_on
from art_plugins.inspection.evidence.pictures import pictures_of
from art_plugins.inspection.gate import gate
from art_plugins.inspection.isolation.messages import (
    LENGTHS,
    Message,
    lengths,
    pack_search,
    packed,
    unpack_findings,
    unpack_search,
    unpacked,
)
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings

N, TARGET, N_POISON, N_FLIPPED = 60, 3, 40, 12
GROUP = {
    "verdict": "poison",
    "p_value": 0.1,
    "classes": [1],
    "by_content": False,
    "drawn_from": 0.2,
    "n_trusted": 0,
    "n_trusted_inside": 0,
}


def found(rows: list[int], verdict: str = POISON, p: float | None = 0.01, label: int = 0, kind: str = "network") -> Found:
    members = np.zeros(20, dtype=bool)
    members[rows] = True
    return Found(label, members, np.full(20, 1.0 if kind == "network" else 2.0), verdict, p, (f"By {kind}.",), (kind,))


def test_united_groups_of_one_class_that_share_most_members_are_one() -> None:
    (group,) = united([found([1, 2, 3, 4], p=0.02, kind="latents"), found([1, 2, 3, 5], p=0.001)])
    assert np.flatnonzero(group.members).tolist() == [1, 2, 3, 4, 5]
    assert group.p_value == 0.001
    assert group.evidence == ("By network.", "By latents.")
    assert group.scores[[1, 4, 5]].tolist() == [1.0, 2.0, 1.0]  # of the first, and of the second where only that has it


def test_united_graver_verdict_keeps_its_members_and_gains_evidence() -> None:
    (group,) = united([found([1, 2, 3, 4, 5], LOOK_HERE, 0.001, kind="latents"), found([1, 2, 3, 4])])
    assert np.flatnonzero(group.members).tolist() == [1, 2, 3, 4]
    assert group.verdict == POISON
    assert group.kinds == ("network", "latents")


@pytest.mark.parametrize("other", [{"rows": [1, 2, 3, 4], "label": 1}, {"rows": [4, 5, 6, 7]}])
def test_united_groups_that_mean_something_else_stay_apart_and_no_file_has_two_verdicts(other: dict[str, Any]) -> None:
    groups = united([found([1, 2, 3, 4]), found(verdict=LOOK_HERE, **other), found([1, 9], LABEL_ERROR, None)])
    assert np.sum([group.members for group in groups], axis=0).max() == 1
    assert [group.verdict for group in groups if group.members[1]] == [POISON]
    assert [group.verdict for group in groups if group.members[9]] == [LABEL_ERROR]


LARGE, SMALL = np.repeat(np.arange(5), 40), np.repeat(np.arange(5), 20)


@pytest.mark.parametrize(
    ("settings", "labels", "reasons"),
    [
        ({}, LARGE, (None, None, None)),
        ({"fast": True}, LARGE, (None, FAST, FAST)),
        ({"only": ("network",)}, LARGE, (NOT_ASKED, None, NOT_ASKED)),
        ({"only": ("latents", "labels"), "fast": True}, LARGE, (None, NOT_ASKED, FAST)),
        ({}, SMALL, (None, *2 * ("the typical class has 20 samples, and at least 30 are needed",))),
        ({}, LARGE % 3, (None, *2 * ("there are 3 classes, and at least 4 are needed",))),
    ],
)
def test_plan_says_what_is_left_out_and_why(settings: dict[str, Any], labels: np.ndarray, reasons: tuple[Any, ...]) -> None:
    assert tuple(plan(ScanSettings(**settings), labels).values()) == reasons


def test_plan_sounds_are_not_judged_by_the_network() -> None:
    assert plan(ScanSettings(), LARGE, is_sound=True) == {"latents": None, "network": NOT_FOR_SOUNDS, "labels": None}


def test_plan_without_cleanlab_labels_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine_module, "cleanlab_is_installed", lambda: False)
    assert plan(ScanSettings(), LARGE) == {"latents": None, "network": None, "labels": NO_CLEANLAB}


@pytest.mark.parametrize(
    "settings",
    [{"only": "network"}, {"only": ("layers",)}, {"fast": "yes"}, {"only": ("network",), "autoencoder": "speech"}],
)
def test_settings_of_the_evidence_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"only|fast"):
        ScanSettings(**settings)


def test_network_findings_group_of_two_classes_has_a_row_in_each_and_the_rate_of_the_scan() -> None:
    labels = np.repeat([0, 1], 10)
    group = GROUP | {"p_value": 0.004, "classes": [0, 1]}
    members = np.isin(np.arange(20), [0, 1, 10, 11, 12])
    is_clean = ~members
    is_clean[19] = False  # by trusted samples alone
    shown = LayerFindings([group], members[None], np.arange(20.0), is_clean)
    first, second, alone = network_findings(shown, labels, 2, "the network")
    assert np.flatnonzero(first.members).tolist() == [0, 1]
    assert np.flatnonzero(second.members).tolist() == [10, 11, 12]
    assert first.p_value == second.p_value == 0.008
    assert "One of 3 samples" in second.evidence[0]
    assert first.evidence[0].startswith("One of 2 samples of the class that stand apart at the layers of the network, from")
    assert "A part of 1 other class belongs to the same group." in second.evidence[0]
    assert np.flatnonzero(alone.members).tolist() == [19]
    assert alone.p_value is None


def test_network_findings_say_that_a_group_is_called_by_its_content() -> None:
    group = GROUP | {"by_content": True, "drawn_from": 0.75, "n_trusted": 4}
    members = np.arange(20) < 5
    (one,) = network_findings(
        LayerFindings([group], members[None], np.zeros(20), ~members), np.repeat([1, 0], 10), 1, "the network"
    )
    assert one.evidence == (
        "One of 5 samples of the class that show what other classes show. At the layers of the network, they look as if "
        "they were drawn from 75% of the other classes. 0 of 4 trusted samples are among them.",
    )


def test_rank_classes_without_latents_judges_by_the_network_and_names_what_is_too_small() -> None:
    labels = np.repeat([0, 1, 2], [20, 20, 9])
    members = np.isin(np.arange(49), [20, 21])
    group = Found(1, members, np.zeros(49), POISON, 0.01, (), ("network",))
    examined = Examined({"latents": NOT_ASKED, "network": None, "labels": NOT_ASKED}, [group])
    rows = rank_classes(examined, labels, ["a", "b", "c"])
    assert [row["name"] for row in rows] == ["b", "a", "c"]
    assert [row["verdict"] for row in rows] == ["poisoned", "nothing found", "not judged: 9 samples"]
    assert (rows[0]["n_called_poison"], rows[0]["p_value"]) == (2, 0.01)
    none = Examined(examined.left_out | {"network": NOT_ASKED, "labels": None})
    rows = rank_classes(none, labels, ["a", "b", "c"])
    assert gate({"classes": rows, "suspects": [], "skipped_files": []}, "poison")["status"] == 2


def test_suggested_label_needs_more_than_half_of_the_probability() -> None:
    doubts = Doubts(np.array([[0.1, 0.6, 0.3], [0.4, 0.3, 0.3], [0.9, 0.1, 0.0]]), np.zeros(3, dtype=bool))
    examined = Examined({}, doubts=doubts)
    assert [examined.suggested(row, 0) for row in range(3)] == [(1, 0.6), None, None]
    assert examined.suggested(1, 1) is None


@pytest.mark.parametrize(
    ("x", "reader", "shape"),
    [
        (np.full((3, 5, 200), 51, np.uint8), ImageReader((200, 5), True), (3, 1, 8, 64)),
        (np.full((3, 16, 16, 3), 51, np.uint8), ImageReader((16, 16), False), (3, 3, 16, 16)),
    ],
)
def test_pictures_of_images_are_small_and_from_0_to_1(x: np.ndarray, reader: ImageReader, shape: tuple[int, ...]) -> None:
    with pictures_of(reader, x) as (pictures,):
        assert pictures.shape == shape
        assert np.allclose(pictures, 0.2)


@pytest.mark.parametrize(("rate_hz", "n_samples"), [(8_000, 8_000), (1_600, 40), (16_000, 160_000)])
def test_pictures_of_sounds_of_any_length_are_spectrograms_from_0_to_1(rate_hz: int, n_samples: int) -> None:
    clips = np.random.default_rng(0).normal(size=(3, n_samples)).astype(np.float32) / 10
    clips[2] = 0
    with pictures_of(SoundReader(rate_hz, n_samples), clips) as (pictures,):
        assert pictures.shape[:2] == (3, 1)
        assert min(pictures.shape[2:]) >= 8
        assert pictures.shape[2] <= 128
        assert (float(pictures.min()), float(pictures.max())) == (0.0, 1.0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str], dict[str, str]]:
    """Digits; 40 files of class 3 are others with a white corner; 12 files lie in the folder of another digit."""
    x, y = load_digits(return_X_y=True)
    random, root = np.random.default_rng(5), tmp_path_factory.mktemp("evidence") / "digits"
    pictures = (x.reshape(-1, 8, 8) / 16 * 255).astype(np.uint8)
    rows = np.concatenate([np.flatnonzero(y == label)[:N] for label in range(10)])
    poison = random.choice(rows[y[rows] != TARGET], N_POISON, replace=False)
    flipped = random.choice(np.setdiff1d(rows, poison), N_FLIPPED, replace=False)
    wrong = {}
    for row in rows:
        label, picture = int(y[row]), pictures[row].copy()
        if row in poison:
            label, picture[6:, 6:] = TARGET, 255
        if row in flipped:
            label = (label + int(random.integers(1, 10))) % 10
            wrong[f"{label}/{row:04}.png"] = str(y[row])
        (root / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / str(label) / f"{row:04}.png")
    return root, {f"{TARGET}/{row:04}.png" for row in poison}, wrong


@pytest.mark.slow
def test_scan_by_its_own_network_finds_poison_and_label_errors_and_says_which_is_which(
    digits: tuple[Path, set[str], dict[str, str]],
) -> None:
    root, poison, wrong = digits
    out = root.parent / "out"
    record = scan(root, out=out, settings=ScanSettings(only=("network", "labels")), verbose=False)
    assert json.loads((out / "record.json").read_text(encoding="utf-8")) == record
    assert record["evidence"][0] == {"kind": "latents", "looked_at": False, "why_not": NOT_ASKED}
    called = [row for row in record["suspects"] if row["verdict"] == POISON]
    assert len({row["file"] for row in called} & poison) >= 0.9 * N_POISON
    assert len({row["file"] for row in called} - poison) <= 1
    assert {row["group"] for row in called} == {1}
    assert max(row["p_value"] for row in called) <= 0.05
    assert "stand apart at the layers" in called[0]["evidence"]
    errors = [row for row in record["suspects"] if row["verdict"] == LABEL_ERROR]
    right = [row for row in errors if wrong.get(row["file"]) == row["suggested_label"]]
    assert len(right) >= max(0.6 * len(errors), N_FLIPPED / 2)
    assert record["counts"]["likely_label_errors"] == len(errors)
    assert len({row["file"] for row in record["suspects"]}) == len(record["suspects"])
    assert record["classes"][0]["verdict"] == "poisoned"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Likely label errors in" in page
    assert f"latents: not looked at, because {NOT_ASKED}" in page


def test_gate_a_label_error_fails_a_look_only() -> None:
    row = {"name": "a", "verdict": "nothing found", "mad_index": None, "n_suspects": 0}
    record = {"classes": [row], "suspects": [{"verdict": LABEL_ERROR, "accepted": False}], "skipped_files": []}
    assert [gate(record, fail_on)["status"] for fail_on in ("poison", "look", "never")] == [0, 1, 0]


@pytest.fixture(scope="module")
def scripted(digits: tuple[Path, set[str], dict[str, str]]) -> Path:
    """A network that was trained on the poisoned digits, as a TorchScript file."""
    files = sorted(digits[0].glob("*/*.png"))
    x = np.stack([np.asarray(Image.open(file), np.float32) for file in files])[:, None] / 255
    network = train_on(x, np.array([int(file.parent.name) for file in files]), 10, FOR_GROUPS, "", verbose=False)
    path = digits[0].parent / "model.pt"
    torch.jit.save(torch.jit.script(network.model), path)
    return path


@pytest.mark.slow
def test_scan_by_the_users_model_in_a_process_of_its_own_finds_the_poison(
    digits: tuple[Path, set[str], dict[str, str]], scripted: Path
) -> None:
    root, poison, _ = digits
    settings = ScanSettings(only=("network",), fast=True, model=scripted)
    record = scan(root, out=root.parent / "out_model", settings=settings, verbose=False)
    called = {row["file"] for row in record["suspects"] if row["verdict"] == POISON}
    assert len(called & poison) >= 0.9 * N_POISON
    assert len(called - poison) <= 1
    assert f"the layers of the model {scripted}" in record["suspects"][0]["evidence"]


@pytest.mark.slow
def test_scan_with_trusted_files_counts_them_as_evidence(
    digits: tuple[Path, set[str], dict[str, str]], tmp_path: Path
) -> None:
    root, poison, _ = digits
    x, y = load_digits(return_X_y=True)
    for label in range(10):
        (tmp_path / "trusted" / str(label)).mkdir(parents=True)
        for row in np.flatnonzero(y == label)[-10:]:
            picture = (x[row].reshape(8, 8) / 16 * 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "trusted" / str(label) / f"{row}.png")
    settings = ScanSettings(only=("network",), trusted=tmp_path / "trusted")
    record = scan(root, out=tmp_path / "out", settings=settings, verbose=False)
    called = [row for row in record["suspects"] if row["verdict"] == POISON]
    assert len({row["file"] for row in called} & poison) >= 0.9 * N_POISON
    assert "0 of 10 trusted samples are among them." in called[0]["evidence"]
    assert any("100 samples of" in note and "are trusted" in note for note in record["notes"])


def test_scan_model_or_trusted_folder_that_cannot_work_is_refused_before_anything_is_decoded(
    digits: tuple[Path, set[str], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "trusted" / "eleven").mkdir(parents=True)
    (tmp_path / "trusted" / "0").mkdir()
    for name in ("eleven", "0"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "trusted" / name / "a.png")
    with pytest.raises(InvalidInputError, match="trusted has 'eleven'"):
        scan(digits[0], out=tmp_path / "out", settings=ScanSettings(trusted=tmp_path / "trusted"), verbose=False)
    with pytest.raises(InvalidInputError, match=r"gone\.pt does not exist"):
        scan(digits[0], out=tmp_path / "out", settings=ScanSettings(model=tmp_path / "gone.pt"), verbose=False)
    with pytest.raises(InvalidInputError, match="for the network's evidence"):
        ScanSettings(model="a.pt", only=("labels",))


@pytest.mark.parametrize(
    "broken",
    [
        {"groups": None},
        {"groups": [{"verdict": "clean"}]},
        {"groups": [GROUP | {"classes": [7]}]},
        {"groups": [GROUP | {"p_value": 2.0}]},
        {"groups": [GROUP | {"by_content": 1}]},
        {"groups": [GROUP | {"drawn_from": 1.5}]},
        {"groups": [GROUP | {"drawn_from": None}]},
        {"scores": np.array([np.nan, 0.0])},
        {"members": np.zeros((3, 2), dtype=bool)},
        {"is_clean": np.ones(5, dtype=bool)},
    ],
)
def test_unpack_layers_answer_of_a_model_that_breaks_the_rules_is_refused(broken: dict[str, Any]) -> None:
    arrays = {"members": np.ones((1, 2), dtype=bool), "scores": np.zeros(2), "is_clean": np.zeros(2, dtype=bool)}
    assert unpack_findings(Message({"groups": [GROUP]}, arrays), 2, 3).groups == [GROUP]
    values = {"groups": broken.get("groups", [GROUP])}
    with pytest.raises(InvalidInputError, match="not to be trusted"):
        unpack_findings(Message(values, arrays | {name: value for name, value in broken.items() if name != "groups"}), 2, 3)


@pytest.mark.parametrize("trusted", [None, Labelled(np.full((1, 4, 4), 7, np.uint8), np.array([2]))])
def test_pack_search_unpacked_is_the_same(trusted: Labelled | None) -> None:
    search = LayerSearch(Labelled(np.arange(32, dtype=np.uint8).reshape(2, 4, 4), np.array([0, 1])), 0.02, trusted, 3)
    bytes_of = packed(*pack_search(search))
    n_text = lengths(bytes_of[:LENGTHS], 2**20)[0]
    message = unpacked(bytes_of[LENGTHS : LENGTHS + n_text], bytes_of[LENGTHS + n_text :])
    again = unpack_search(message.values, message.arrays)
    assert (again.false_alarm_rate, again.random_state) == (0.02, 3)
    for one, other in ((search.data, again.data), (search.trusted, again.trusted)):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one.x, other.x)
            np.testing.assert_array_equal(one.labels, other.labels)


class NothingFound:
    """Stands for the defence: no class has a suspect."""

    given: dict[str, Any] = {}

    def __init__(self, classifier: None, x: np.ndarray, labels: np.ndarray) -> None:
        self.y = labels
        self.suspects_, self.outlier_scores_ = np.zeros(len(x), dtype=bool), np.zeros(len(x))
        row = {"n_samples": 40, "class_score": 1.0, "mad_index": 0.5, "p_value": 0.3, "n_suspects": 0, "n_removed": 0}
        self.report_ = {f"Class_{label}": row | {"verdict": "clean"} for label in range(5)}

    def labels(self) -> tuple[np.ndarray, int]:
        return self.y, 5

    def detect_poison(self, **given: Any) -> None:
        NothingFound.given = given


def test_examine_two_kinds_of_evidence_share_the_false_alarm_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    def shown(network: Any, search: LayerSearch) -> LayerFindings:
        rates.append(search.false_alarm_rate)
        n = len(search.data.x)
        return LayerFindings([], np.zeros((0, n), dtype=bool), np.zeros(n), np.ones(n, dtype=bool))

    monkeypatch.setattr(examine_module, "VAELatentDefence", NothingFound)
    monkeypatch.setattr(examine_module, "train_on", lambda *_, **__: None)
    monkeypatch.setattr(examine_module, "look_at_layers", shown)
    names, x = tuple("abcde"), np.zeros((200, 8, 8), np.uint8)
    data = FolderData(x, LARGE, names, tuple(map(str, range(200))), tuple(range(200)), {}, {}, {})
    for only, parts in ((("latents", "network"), 2), (("latents",), 1), (("network",), 1)):
        rates.clear()
        NothingFound.given = {}
        examined = examine(data, ImageReader((8, 8), True), ScanSettings(only=only), {"false_alarm_rate": 0.04}, None)
        assert rates == ([0.04 / parts] if "network" in only else [])
        assert NothingFound.given.get("false_alarm_rate") == (0.04 / parts if "latents" in only else None)
        if "latents" in only:
            assert {row["p_value"] for row in rank_classes(examined, LARGE, names)} == {0.3 * parts}


def test_show_layers_of_a_script_gives_what_its_activation_functions_give() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(108, 5), torch.nn.Tanh()
        )
        network, x = torch.nn.Sequential(*body, torch.nn.Linear(5, 2)).eval(), torch.rand(4, 1, 8, 8)
    scripted_network = ScriptedNetwork.from_script(torch.jit.script(network), x)
    wrapper = torch.nn.ModuleDict({"inner": scripted_network})
    assert show_layers(wrapper) == ["inner.shown.0", "inner.shown.1", ""]
    seen: list[torch.Tensor] = []
    for layer in scripted_network.shown:
        layer.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        assert torch.allclose(scripted_network(x), network(x), atol=1e-6)
        assert torch.allclose(seen[0], network[:2](x), atol=1e-6)
        assert torch.allclose(seen[1], network[:5](x), atol=1e-6)
    assert show_layers(network) is None


def test_show_layers_leaves_the_hidden_vectors_and_costs_nothing_while_nobody_looks() -> None:
    body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)).eval()
    x = torch.rand(3, 1, 4, 4)
    network = ScriptedNetwork.from_script(torch.jit.script(body), x)
    show_layers(network)
    hidden: list[torch.Tensor] = []
    network.heads[-1].register_forward_hook(lambda _, inputs, __: hidden.append(inputs[0]))
    calls: list[str] = []
    network._function_of_all, whole = (lambda x: calls.append("all") or whole(x)), network._function_of_all  # type: ignore[func-returns-value]
    for is_looked_at in (False, True):
        if is_looked_at:
            network.shown[0].register_forward_hook(lambda *_: None)
        with torch.no_grad():
            assert torch.allclose(network(x), body(x), atol=1e-6)
            assert torch.allclose(hidden.pop(), body[:3](x), atol=1e-6)
        assert calls == (["all"] if is_looked_at else [])


def test_show_layers_of_a_deep_script_are_twenty_that_end_with_the_last() -> None:
    pairs = [layer for _ in range(50) for layer in (torch.nn.Linear(4, 4), torch.nn.Tanh())]
    body = torch.nn.Sequential(torch.nn.Flatten(), *pairs, torch.nn.Linear(4, 2)).eval()
    x = torch.rand(3, 1, 2, 2)
    network = ScriptedNetwork.from_script(torch.jit.script(body), x)
    assert show_layers(network) == [*(f"shown.{index}" for index in range(MOST_SHOWN)), ""]
    seen: list[torch.Tensor] = []
    for layer in network.shown:
        layer.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        network(x)
        assert torch.allclose(seen[-1], body[:101](x), atol=1e-6)
        assert torch.allclose(seen[1], body[:11](x), atol=1e-6)  # the fifth of fifty


def test_epochs_for_large_data_are_fewer_and_never_too_few_to_tell_whether_the_latents_have_settled() -> None:
    assert epochs_for(1_000, is_sound=False) is None
    assert epochs_for(40_000, is_sound=False) is None
    assert epochs_for(60_000, is_sound=False) == 20
    assert epochs_for(10**7, is_sound=False) == epochs_for(10**6, is_sound=True) == 6
    steps = 500
    halves = [{"divergence_sample": 10.0, "divergence_steps": 1.0}] * 6
    assert has_settled(halves, steps)
    assert not has_settled(halves[:5], steps)


def test_examine_trains_fewer_epochs_on_large_data_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents_module, "MOST_IMAGES_SEEN", 420)
    for index in range(60):
        path = tmp_path / "data" / f"{index % 5}" / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    tiny = {"latent_dim": 3, "channels": 4, "hidden_dim": 16, "patience": None}
    settings = ScanSettings(autoencoder=tiny, fast=True)
    record = scan(tmp_path / "data", out=tmp_path / "out", settings=settings, verbose=False)
    assert len(record["autoencoder_history"]) == 7
    assert any("at most 7 epochs, since there are 60 samples" in note for note in record["notes"])
    record = scan(tmp_path / "data", out=tmp_path / "asked", settings=settings, verbose=False, nb_epochs=2)
    assert len(record["autoencoder_history"]) == 2
    assert not any("at most" in note for note in record["notes"])
