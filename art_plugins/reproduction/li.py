"""Tables 1 to 4 of Li et al. 2022: the reported figures beside the measured ones on CIFAR-10, MNIST and Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from art_plugins.evaluation.detectors import detectors_of
from art_plugins.reports.paper_items import Item, Record, Records, Row, counts, runs_of, values
from art_plugins.reports.record_files import IN_FLIGHT
from art_plugins.reports.studies.in_flight_tables import DEFAULT_ROW, PAPER_ROW, REPORTED

TRIGGERS = {"chessboard": "CB", "single_pixel": "SP", "white_box": "WB"}
DATA = {"mnist": "MNIST", "fashion_mnist": "F-MNIST"}
CIFAR = ("in_flight_cifar10_single", "in_flight_cifar10_single_pixel", "in_flight_cifar10")
# Table 1: accuracy, attack success, and success of the estimated pattern, by source classes and trigger.
TABLE_1 = {
    ("single", "chessboard"): (0.9360, 0.9955, 1.0),
    ("multi", "chessboard"): (0.9381, 0.9954, 0.9876),
    ("single", "single_pixel"): (0.9354, 0.9488, 0.9900),
    ("multi", "single_pixel"): (0.9337, 0.9565, 0.9953),
    ("single", "white_box"): (0.9324, 0.9411, 0.9970),
    ("multi", "white_box"): (0.9340, 0.9497, 0.9354),
}
# Table 2, the peers: TPR, FPR; and SIA of Neural Cleanse at its best learning rate.
TABLE_2 = {
    ("Neural Cleanse", "single", "chessboard"): (0.9855, 0.0488, 0.9444),
    ("Neural Cleanse", "multi", "chessboard"): (0.9962, 0.0533, 0.8765),
    ("Neural Cleanse", "single", "single_pixel"): (0.8088, 0.0544, 0.8833),
    ("Neural Cleanse", "multi", "single_pixel"): (0.9043, 0.0511, 0.8963),
    ("Neural Cleanse", "single", "white_box"): (0.0, 0.0522, 0.8667),
    ("Neural Cleanse", "multi", "white_box"): (0.8644, 0.0522, 0.8086),
    ("B3D", "single", "chessboard"): (0.0788, 0.0511, None),
    ("B3D", "multi", "chessboard"): (0.9872, 0.9955, None),
    ("B3D", "single", "single_pixel"): (0.5333, 0.1066, None),
    ("B3D", "multi", "single_pixel"): (0.1814, 0.0522, None),
    ("B3D", "single", "white_box"): (0.0011, 0.0500, None),
    ("B3D", "multi", "white_box"): (0.0535, 0.0511, None),
    ("STRIP", "single", "chessboard"): (0.0822, 0.0533, None),
    ("STRIP", "multi", "chessboard"): (0.0218, 0.0555, None),
    ("STRIP", "single", "single_pixel"): (0.1333, 0.0588, None),
    ("STRIP", "multi", "single_pixel"): (0.1555, 0.0588, None),
    ("STRIP", "single", "white_box"): (0.0088, 0.0588, None),
    ("STRIP", "multi", "white_box"): (0.0011, 0.0633, None),
}
TABLE_3 = {10.0: 0.1114, 1.0: 0.4291, 0.1: 0.6033, 0.01: 0.8086, 0.001: 0.7103, 0.0001: 0.6348}


def _attacked(records: Records, dataset: str, sources: str, trigger: str) -> list[Record]:
    """The runs of one attack, over the seeds."""
    wanted = (dataset, sources, trigger)
    found = runs_of(records, "in_flight", *CIFAR)
    return [run for run in found if tuple(run["case"][key] for key in ("dataset", "sources", "trigger")) == wanted]


def table1(records: Records) -> list[Row]:
    """Accuracy and attack success of the models, and attack success of the patterns that the inversion found."""
    clean = runs_of(records, "in_flight_cifar10_clean")
    models = [run["model"] for run in clean]
    rows = [
        Row("No attack: accuracy", counts(models, "n_clean_test", "images"), 0.9387, values(models, "clean_accuracy"), None)
    ]
    for (sources, trigger), reported in TABLE_1.items():
        runs = _attacked(records, "cifar10", sources, trigger)
        models, name = [run["model"] for run in runs], f"{TRIGGERS[trigger]}, {sources}"
        accuracy, success, estimated = reported
        over = counts(models, "n_clean_test", "images")
        rows.append(Row(f"{name}: accuracy", over, accuracy, values(models, "clean_accuracy"), None))
        over = counts(models, "n_triggered_test", "triggered images")
        rows.append(Row(f"{name}: attack success", over, success, values(models, "attack_success"), None))
        found = values([run["inversion"] for run in runs], "estimated_attack_success")
        rows.append(
            Row(f"{name}: success of the estimated pattern", "the defender's images", estimated, found, by="default")
        )
    return rows


def table2(records: Records) -> list[Row]:
    """Detection and source class inference on CIFAR-10, and the best TPR of other authors' detectors at about 5 % FPR."""
    rows = []
    for sources, trigger in TABLE_1:
        runs, name = _attacked(records, "cifar10", sources, trigger), f"{TRIGGERS[trigger]}, {sources}"
        rows += _detection(runs, name, REPORTED[("cifar10", trigger, sources)])
        if not any("baselines" in run for run in runs):
            continue
        for peer in (detector.title for detector in detectors_of(IN_FLIGHT)):
            tpr, fpr, sia = TABLE_2[(peer, sources, trigger)]
            found = [row for run in runs for row in run.get("baselines", []) if row["title"] == peer]
            over = counts([run["detectors"][0] for run in runs], "n_triggered", "triggered images; threshold swept")
            rows.append(Row(f"{name}: TPR of {peer}", over, tpr, values(found, "swept_tpr"), None))
            rows.append(Row(f"{name}: FPR of {peer}", "clean images of the target", fpr, values(found, "swept_fpr"), None))
            if sia is not None:
                best = [max(one["sia"] for one in run["patching"]) for run in runs if "patching" in run]
                over = counts(
                    [run["detectors"][0] for run in runs], "n_triggered_as_target", "triggered images sent to the target"
                )
                rows.append(Row(f"{name}: SIA of {peer}, best learning rate", over, sia, best, None))
    return rows


def table3(records: Records) -> list[Row]:
    """
    Source class inference by Neural Cleanse's patching depends on its learning rate: white box, several source classes.
    """
    case = ("cifar10", "multi", "white_box")
    runs = [run for run in _attacked(records, *case) if "patching" in run]
    over = "triggered images that the model sends to the target"
    rows = []
    for rate, reported in TABLE_3.items():
        found = [row for run in runs for row in run["patching"] if row["learning_rate"] == rate]
        rows.append(Row(f"SIA at a learning rate of {rate:g}", over, reported, values(found, "sia"), None))
    ahead = [run["detectors"][DEFAULT_ROW]["sia"] - max(row["sia"] for row in run["patching"]) for run in runs]
    reported = REPORTED[("cifar10", "white_box", "multi")][2] - max(TABLE_3.values())
    rows.append(Row("SIA of the in-flight detector less the best of these", over, reported, ahead, by="default"))
    return rows


def table4(records: Records) -> list[Row]:
    """Detection for LeNet-5 on MNIST and Fashion-MNIST, with several source classes."""
    rows = []
    for dataset, title in DATA.items():
        for trigger in ("chessboard", "white_box"):
            runs = _attacked(records, dataset, "multi", trigger)
            rows += _detection(runs, f"{title}, {TRIGGERS[trigger]}", REPORTED[(dataset, trigger, "multi")])
    return rows


def _detection(runs: Sequence[Record], name: str, reported: tuple[float, float, float]) -> list[Row]:
    """Rows of the default form first, then of the paper's own densities, which the same runs have."""
    rows = []
    forms: tuple[tuple[Literal["default", "paper"], int], ...] = (("default", DEFAULT_ROW), ("paper", PAPER_ROW))
    for by, index in forms:
        if not runs and by == "paper":
            continue  # one row says that nothing was measured
        found = [run["detectors"][index] for run in runs]
        caught = counts(found, "n_triggered_as_target", "triggered images that the model sends to the target")
        clean = counts(found, "n_clean_target", "clean images of the target")
        for key, over, figure in zip(("tpr", "fpr", "sia"), (caught, clean, caught), reported, strict=True):
            better = "lower" if key == "fpr" else "higher"
            what = f"{name}: {key.upper()}"
            rows.append(Row(what, over, figure, values(found, key), better, by))  # type: ignore[arg-type]
    return rows


NARROW = (
    "On a CPU: a ResNet-18 of 16 channels, 12 epochs, half of CIFAR-10; one source with the white box only, and without "
    "peers. On a GPU: the paper's."
)
ITEMS = (
    Item(
        "li",
        "table1",
        "Table 1, attacked models and estimated patterns",
        (*CIFAR, "in_flight_cifar10_clean"),
        table1,
        note=NARROW,
    ),
    Item("li", "table2", "Table 2, in-flight detection on CIFAR-10", CIFAR, table2, note=NARROW),
    Item(
        "li", "table3", "Table 3, Neural Cleanse's patching by learning rate", ("in_flight_cifar10",), table3, note=NARROW
    ),
    Item(
        "li",
        "table4",
        "Table 4, in-flight detection on MNIST and Fashion-MNIST",
        ("in_flight",),
        table4,
        note="PubFig is not to be had any more, so its two columns are left out.",
    ),
)
