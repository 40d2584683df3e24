"""The family of configs: every data set, attack and defence once, so that the files that are written never drift apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from art_plugins.attacks.case_triggers import CHESSBOARD_AMPLITUDES
from art_plugins.attacks.cases import TARGET_CLASS, ModelCase
from art_plugins.attacks.zoo.registry import IMAGE_ATTACKS, SOUND_ATTACKS
from art_plugins.evaluation.filters import filter_named
from art_plugins.triggers.sounds import ARMORY_SOUNDS

Config = dict[str, Any]

OWN_ATTACKS = "armory_scenarios.attacks"
FRACTIONS = {"p00": 0.0, "p01": 0.01, "p05": 0.05, "p10": 0.1, "p20": 0.2, "p30": 0.3}
UNKNOWN, LEFT = 11, 2  # source and target of Armory's attack on Speech Commands
SILENCE = 10
SPEECH_AUTOENCODER = {"ignored_classes": [SILENCE], "nb_epochs": 10, "precision": "bf16-mixed"}
ART_CLUSTERING = {
    "cluster_analysis": "smaller",
    "clustering_method": "KMeans",
    "nb_clusters": 2,
    "nb_dims": 43,
    "reduce": "PCA",
}
ART_SPECTRAL = {"expected_pp_poison": 0.3}
PEERS = ("spectre", "pyod_ecod", "psbd", "agpd", "cleanlab")
NEED_BATCH_NORM = ("flare", "ibd_psc")
NEED_TRUSTED = ("layerwise_trusted", "psbd", "agpd", "ibd_psc")


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
PEERS_HEAR = "clapping"  # the sound that other authors' filters are run on
ZOO_SETS = ("fashion_mnist", "cifar10")  # a grey and a coloured set, for the attacks of the zoo
IN_OTHER_CONFIGS = ("patch", "chessboard")
ZOO_IMAGES = {name: one for name, one in IMAGE_ATTACKS.items() if name not in IN_OTHER_CONFIGS}
# A clap is in other configs. The ultrasonic tone is above what 16 kHz can carry.
ZOO_SOUNDS = {name: one for name, one in SOUND_ATTACKS.items() if name not in ("clapping", "ultrasonic")}
SAMPLE_RATE_HZ = 16_000


def configs() -> Iterator[tuple[str, Config]]:
    """Path below this package, without ``.json``, and the config of each."""
    for trigger in ARMORY_SOUNDS:
        for percent, fraction in FRACTIONS.items():
            names = ["undefended"] if percent != "p10" else [*filters({}, {})]
            if percent == "p10" and trigger == PEERS_HEAR:
                names += peers({}, batch_norm=False)
            for name in names:
                yield f"speech_commands/{trigger}_{percent}_{name}", speech(trigger, fraction, name)
    for name, one in ZOO_SOUNDS.items():
        for defence in ("undefended", "vae_latent"):
            stem = name if one.keeps_labels else f"{name}_p10"
            yield f"speech_commands/{stem}_{defence}", zoo_speech(name, defence)
    for folder in IMAGE_SETS:
        for trigger in TRIGGERS:
            for sources in ("multi", "single"):
                stem = f"{folder}/{trigger}_{sources}"
                for name in DETECTIONS:
                    yield f"{stem}_{name}", image(folder, trigger, sources, name)
                if (trigger, sources) == FILTERED:
                    batch_norm = IMAGE_SETS[folder].network["network"] == "resnet18_cifar"
                    for name in [*filters({}, {}), *peers({}, batch_norm)]:
                        yield f"{stem}_{name}", image(folder, trigger, sources, name)
    for folder, name, defence in product(ZOO_SETS, ZOO_IMAGES, ("undefended", "layerwise_untrusted")):
        yield f"{folder}/{name}_{defence}", zoo_image(folder, name, defence)


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
        "vae_latent": _registered("vae_latent", {**autoencoder, "verbose": False}),
        "vae_latent_paper": _registered("vae_latent", {**autoencoder, "scoring": "paper", "verbose": False}),
        "layerwise": _registered("layerwise_trusted", _trusted("layerwise_trusted", dataset)),
    }


def peers(dataset: Config, batch_norm: bool) -> dict[str, Config]:
    """
    The ``defense`` block of other authors' filters, and of the layer-wise filter that trusts nothing, which stands beside
    them. Cognitive Distillation and Confusion Training are left out, since they take long.

    :param dataset: As in :func:`filters`.
    :param batch_norm: Whether the network has batch normalisation, which some of them need.
    """
    names = [*PEERS, *(NEED_BATCH_NORM if batch_norm else ())]
    found = {"layerwise_untrusted": _registered("layerwise", {})}
    return found | {name: _registered(name, _trusted(name, dataset)) for name in names}


def _trusted(name: str, dataset: Config) -> Config:
    return {"trusted": {**dataset, "split": "validation"}} if name in NEED_TRUSTED else {}


DETECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "in_flight": ("InFlightScenario", {"nb_steps": 400, "with_baselines": True}),
    "layerwise_detection": ("LayerwiseScenario", {}),
}


def speech(trigger: str, fraction: float, name: str) -> Config:
    """Armory's attack on Speech Commands, as in ``eval6/poisoning/audio_dlbd``, on a PyTorch network."""
    backdoor = {
        "backdoor_path": f"{trigger}.wav",
        "duration": 1,
        "random": False,
        "sampling_rate": 16000,
        "scale": ARMORY_SOUNDS[trigger],
        "shift": 0,
    }
    module = "armory.art_experimental.attacks.poison_loader_audio"
    attack = _attack(module, "poison_loader_audio", {"backdoor_kwargs": backdoor})
    return _speech(trigger.replace("_", " "), attack, fraction, name)


def zoo_speech(attack: str, name: str) -> Config:
    """
    An attack of the zoo on Speech Commands: where labels change, on Armory's source and target, with a tenth of the source;
    else on the target class, with the share of the whole set at which the attack is measured.
    """
    one = SOUND_ATTACKS[attack]
    if one.keeps_labels:
        block = _attack(OWN_ATTACKS, "zoo_attack", {"attack": attack, "sample_rate_hz": SAMPLE_RATE_HZ})
        sources = [label for label in range(12) if label != LEFT]
        return _speech(one.title, block, one.rate, name, sources)
    block = _attack(OWN_ATTACKS, "sound_trigger", {"sample_rate_hz": SAMPLE_RATE_HZ, "trigger": attack})
    return _speech(one.title, block, FRACTIONS["p10"], name)


def _speech(title: str, attack: Config, fraction: float, name: str, source: int | list[int] = UNKNOWN) -> Config:
    dataset = _dataset("speech_commands", 64, {"cap": 3000, "pad_data": True})
    return _config(
        f"Speech Commands, {title}, {name.replace('_', ' ')}",
        _adhoc(fraction, source, LEFT, 6),
        attack,
        dataset,
        {**filters(dataset, SPEECH_AUTOENCODER), **peers(dataset, batch_norm=False)}[name],
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
        _attack(OWN_ATTACKS, "image_trigger", {"shape": list(one.shape), "trigger": trigger, **parameters}),
        dataset,
        None if name in DETECTIONS else {**filters(dataset, one.autoencoder), **peers(dataset, batch_norm=True)}[name],
        _model({"input_shape": list(one.shape), **one.network}, one.training),
        _scenario("detection", *DETECTIONS[name]) if name in DETECTIONS else _scenario("scenario", "PoisonScenario", {}),
    )


def zoo_image(folder: str, attack: str, name: str) -> Config:
    """An attack of the zoo, at the share of the whole set at which it is measured, and a filter of the training set."""
    one, published = IMAGE_SETS[folder], IMAGE_ATTACKS[attack]
    dataset = _dataset(one.loader, 128, {"channels_first": True, **one.dataset})
    target = ModelCase(one.loader, "none", "clean_label" if published.keeps_labels else "multi").target
    only = published.make(one.loader, one.shape).source
    sources = [label for label in range(one.nb_classes) if label != target] if only is None else [only]
    return _config(
        f"{one.title}, {published.title}, {name.replace('_', ' ')}",
        _adhoc(published.rate, sources, target, one.nb_epochs),
        _attack(OWN_ATTACKS, "zoo_attack", {"attack": attack, "dataset": one.loader, "shape": list(one.shape)}),
        dataset,
        {"undefended": None, **peers(dataset, batch_norm=True)}[name],
        _model({"input_shape": list(one.shape), **one.network}, one.training),
        _scenario("scenario", "PoisonScenario", {}),
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


def _registered(name: str, further: Config) -> Config:
    """A filter of the registry, with its settings and further ones; its class is in ``armory_scenarios.filters``."""
    one = filter_named(name)
    return _filter("armory_scenarios.filters", one.kind.__name__, {**one.settings, **further})


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
