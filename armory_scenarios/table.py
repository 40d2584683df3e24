"""The family of configs: every data set, attack and defence once, so that the files that are written never drift apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from art_plugins.attacks.case_triggers import CHESSBOARD_AMPLITUDES
from art_plugins.attacks.cases import TARGET_CLASS
from art_plugins.evaluation.filters import filter_named
from art_plugins.triggers.sounds import ARMORY_SOUNDS

Config = dict[str, Any]

FRACTIONS = {"p00": 0.0, "p01": 0.01, "p05": 0.05, "p10": 0.1, "p20": 0.2, "p30": 0.3}
UNKNOWN, LEFT = 11, 2  # source and target of Armory's attack on Speech Commands
SILENCE = 10
CACHED = "armory_scenarios.filters"  # has the classes of the same names that keep what they train
SPEECH_AUTOENCODER = {"ignored_classes": [SILENCE], "nb_epochs": 10, "precision": "bf16-mixed"}
ART_CLUSTERING = {
    "cluster_analysis": "smaller",
    "clustering_method": "KMeans",
    "nb_clusters": 2,
    "nb_dims": 43,
    "reduce": "PCA",
}
ART_SPECTRAL = {"expected_pp_poison": 0.3}


class ImageSet(NamedTuple):
    """
    :param nb_classes: Number of classes of the published set. A file may hold the first of them only; the scenario counts
        those.
    :param loader: Function of ``armory_scenarios.datasets``.
    :param dataset: Its arguments.
    :param multi: Share of every class but the target that is poisoned; of Li et al. 2022, 100 images a class.
    :param single: Share of the one source class; 1,000 images.
    """

    title: str
    loader: str
    dataset: dict[str, Any]
    shape: tuple[int, int, int]
    nb_classes: int
    network: dict[str, Any]
    training: dict[str, Any]
    nb_epochs: int
    multi: float
    single: float
    source: int
    autoencoder: dict[str, Any]


LENET = {"network": "lenet5"}, {"learning_rate": 0.05}, 6
RESNET = {"network": "resnet18_cifar", "width": 16}, {"learning_rate": 0.1, "precision": "bf16-mixed"}, 12
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
IMAGE_SETS = {
    "mnist": ImageSet("MNIST", "mnist", {"n_validation": 100}, GREY, 10, *LENET, 0.0167, 0.169, 0, {"nb_epochs": 10}),
    "fashion_mnist": ImageSet(
        "Fashion-MNIST", "fashion_mnist", {"n_validation": 100}, GREY, 10, *LENET, 0.0167, 0.1667, 0, {"nb_epochs": 10}
    ),
    "cifar10": ImageSet("CIFAR-10", "cifar10", {"n_validation": 100}, COLOUR, 10, *RESNET, 0.02, 0.2, 0, {"nb_epochs": 20}),
    "gtsrb": ImageSet(
        "GTSRB",
        "german_traffic_sign",
        {"n_validation": 30, "size": 32},
        COLOUR,
        43,
        *RESNET,
        0.023,
        0.45,
        1,
        {"nb_epochs": 20},
    ),
}
TRIGGERS = ("chessboard", "single_pixel", "white_box")
FILTERED = ("white_box", "multi")  # the image attack that every filter is run on


def configs() -> Iterator[tuple[str, Config]]:
    """Path below this package, without ``.json``, and the config of each."""
    for trigger in ARMORY_SOUNDS:
        for percent, fraction in FRACTIONS.items():
            for name in filters({}, {}) if percent == "p10" else ["undefended"]:
                yield f"speech_commands/{trigger}_{percent}_{name}", speech(trigger, fraction, name)
    for folder in IMAGE_SETS:
        for trigger in TRIGGERS:
            for sources in ("multi", "single"):
                stem = f"{folder}/{trigger}_{sources}"
                for name in DETECTIONS:
                    yield f"{stem}_{name}", image(folder, trigger, sources, name)
                if (trigger, sources) == FILTERED:
                    for name in filters({}, {}):
                        yield f"{stem}_{name}", image(folder, trigger, sources, name)


def filters(dataset: Config, autoencoder: Config) -> dict[str, Config | None]:
    """
    The ``defense`` block of every filter.

    :param dataset: Block of the data set that the filter is run on; its split ``"validation"`` is what is trusted.
    :param autoencoder: Arguments of the autoencoder for that data.
    """
    art = "art.defences.detector.poison"
    clustering, spectral = f"{art}.activation_defence", f"{art}.spectral_signature_defense"
    return {
        "undefended": None,
        "perfect_filter": _filter("null", "null", {"perfect_filter": True}),
        "random_filter": _filter(
            "armory.art_experimental.poison_detection.random_filter", "RandomFilterBaselineDefense", ART_SPECTRAL
        ),
        "activation_defense": _filter(clustering, "ActivationDefence", ART_CLUSTERING),
        "activation_defense_penultimate": _registered("activation_clustering_penultimate", ART_CLUSTERING),
        "spectral_signature_defense": _filter(spectral, "SpectralSignatureDefense", ART_SPECTRAL),
        "spectral_signature_defense_penultimate": _registered("spectral_signatures_penultimate", ART_SPECTRAL),
        "vae_latent": _registered("vae_latent", {**autoencoder, "verbose": False}, CACHED),
        "vae_latent_paper": _registered("vae_latent", {**autoencoder, "scoring": "paper", "verbose": False}, CACHED),
        "layerwise": _registered("layerwise_trusted", {"trusted": {**dataset, "split": "validation"}}, CACHED),
    }


DETECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "in_flight": ("InFlightScenario", {"nb_steps": 400, "with_baselines": True}),
    "layerwise_detection": ("LayerwiseScenario", {}),
}


def speech(trigger: str, fraction: float, name: str) -> Config:
    """Armory's attack on Speech Commands, as in ``eval6/poisoning/audio_dlbd``, on a PyTorch network."""
    dataset = _dataset("speech_commands", 64, {"cap": 3000, "pad_data": True})
    backdoor = {
        "backdoor_path": f"{trigger}.wav",
        "duration": 1,
        "random": False,
        "sampling_rate": 16000,
        "scale": ARMORY_SOUNDS[trigger],
        "shift": 0,
    }
    return _config(
        f"Speech Commands, {trigger.replace('_', ' ')}, {name.replace('_', ' ')}",
        _adhoc(fraction, UNKNOWN, LEFT, 6),
        _attack(
            "armory.art_experimental.attacks.poison_loader_audio", "poison_loader_audio", {"backdoor_kwargs": backdoor}
        ),
        dataset,
        filters(dataset, SPEECH_AUTOENCODER)[name],
        _model(
            {"input_shape": [16000], "nb_classes": 12, "network": "resnet18_tiny"},
            {"learning_rate": 0.004, "precision": "bf16-mixed"},
        ),
        _scenario("scenario", "PoisonScenario", {}),
    )


def image(folder: str, trigger: str, sources: str, name: str) -> Config:
    """An attack of Li et al. 2022, and a filter of the training set or a detector at test time."""
    one = IMAGE_SETS[folder]
    dataset = _dataset(one.loader, 128, {"channels_first": True, **one.dataset})
    multi = [label for label in range(one.nb_classes) if label != TARGET_CLASS]
    fraction, source = (one.multi, multi) if sources == "multi" else (one.single, one.source)
    parameters = {"amplitude": round(CHESSBOARD_AMPLITUDES.get(one.loader, 10 / 255), 4)} if trigger == "chessboard" else {}
    return _config(
        f"{one.title}, {trigger.replace('_', ' ')}, {sources} source, {name.replace('_', ' ')}",
        _adhoc(fraction, source, TARGET_CLASS, one.nb_epochs),
        _attack("armory_scenarios.attacks", "image_trigger", {"shape": list(one.shape), "trigger": trigger, **parameters}),
        dataset,
        None if name in DETECTIONS else filters(dataset, one.autoencoder)[name],
        _model({"input_shape": list(one.shape), **one.network}, one.training),
        _scenario("detection", *DETECTIONS[name]) if name in DETECTIONS else _scenario("scenario", "PoisonScenario", {}),
    )


def _config(
    description: str,
    adhoc: Config,
    attack: Config,
    dataset: Config,
    defense: Config | None,
    model: Config,
    scenario: Config,
) -> Config:
    return {
        "_description": description,
        "adhoc": {**adhoc, "use_poison_filtering_defense": defense is not None},
        "attack": attack,
        "dataset": dataset,
        "defense": defense,
        "metric": None,
        "model": model,
        "scenario": scenario,
        "sysconfig": {
            "docker_image": None,
            "external_github_repo": None,
            "gpus": "all",
            "output_dir": None,
            "output_filename": None,
            "set_pythonhashseed": True,
            "use_gpu": False,
        },
    }


def _adhoc(fraction: float, source: int | list[int], target: int, nb_epochs: int) -> Config:
    return {
        "compute_fairness_metrics": False,
        "experiment_id": 0,
        "explanatory_model": None,
        "fraction_poisoned": fraction,
        "poison_dataset": fraction > 0,
        "source_class": source,
        "split_id": 0,
        "target_class": target,
        "train_epochs": nb_epochs,
    }


def _attack(module: str, name: str, kwargs: Config) -> Config:
    return {"knowledge": "black", "kwargs": kwargs, "module": module, "name": name}


def _dataset(name: str, batch_size: int, arguments: Config) -> Config:
    module = "armory_scenarios.datasets"
    return {"batch_size": batch_size, "framework": "numpy", "module": module, "name": name, **arguments}


def _filter(module: str, name: str, kwargs: Config) -> Config:
    return {"kwargs": kwargs, "module": module, "name": name, "type": "PoisonFilteringDefence"}


def _scenario(module: str, name: str, kwargs: Config) -> Config:
    return {"kwargs": kwargs, "module": f"armory_scenarios.{module}", "name": name}


def _registered(name: str, further: Config, module: str | None = None) -> Config:
    """
    A filter of the registry, with its settings and further ones.

    :param module: Where the class of that name is taken from; ``None``: from its own module.
    """
    one = filter_named(name)
    return _filter(module or one.kind.__module__, one.kind.__name__, {**one.settings, **further})


def _model(network: Config, training: Config) -> Config:
    return {
        "fit": True,
        "fit_kwargs": {},
        "model_kwargs": network,
        "module": "armory_scenarios.models",
        "name": "get_art_model",
        "weights_file": None,
        "wrapper_kwargs": training,
    }
