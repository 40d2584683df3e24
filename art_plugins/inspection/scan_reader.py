"""How a scan reads its files: as a saved autoencoder needs them, else as most of the files are."""

from __future__ import annotations

from collections.abc import Sequence

from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.shipped import is_shipped
from art_plugins.files.image_files import ImageReader, choose_image_reader, find_depth
from art_plugins.files.sound_files import SoundReader, choose_sound_reader
from art_plugins.files.sources.items import Item
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.settings import ScanSettings
from art_plugins.optional import import_optional

KINDS = {"sound": "waveform", "image": "image"}  # of files -> of an autoencoder's samples


def make_reader(found: Samples, settings: ScanSettings, fitted: Autoencoder | None) -> SoundReader | ImageReader:
    """
    :param fitted: The saved autoencoder that is used; ``None``: one is trained.
    :raises InvalidInputError: If the settings or the autoencoder do not fit the files, or no file can be read.
    :raises MissingPackageError: If the package that reads such files is missing.
    """
    kind, items = found.kind, found.items
    if kind == "sound":
        import_optional("soundfile")
    else:
        import_optional("PIL.Image")
    if kind == "sound" and settings.size is not None:
        raise InvalidInputError("size is for images, and these are sounds; leave it out.")
    if kind == "image" and settings.seconds is not None:
        raise InvalidInputError("seconds is for sounds, and these are images; leave it out.")
    if fitted is None:
        if kind == "sound":
            return choose_sound_reader(items, settings.seconds)
        return choose_image_reader(items, settings.size)
    if fitted.settings.kind != KINDS[kind]:
        raise InvalidInputError(
            f"The autoencoder was fitted on data of kind {fitted.settings.kind!r}, and the folder holds {kind}s; use one "
            "that a scan of such files has saved."
        )
    if is_shipped(settings.autoencoder):
        return _at_its_rate(fitted, choose_sound_reader(items, settings.seconds))
    if settings.seconds is not None or settings.size is not None:
        raise InvalidInputError("The autoencoder determines how long or large its samples are; leave out seconds and size.")
    return _for_sounds(fitted) if kind == "sound" else _for_images(fitted, items)


def _at_its_rate(fitted: Autoencoder, chosen: SoundReader) -> SoundReader:
    """The reader for the folder, at the sample rate of the autoencoder, which takes clips of any length."""
    rate_hz = fitted.settings.sample_rate_hz
    notes = (f"Clips are read at {rate_hz} Hz, as the autoencoder needs them.", *chosen.notes[1:])
    return SoundReader(rate_hz, round(chosen.seconds * rate_hz), notes)


def _for_sounds(fitted: Autoencoder) -> SoundReader:
    (n_samples,), rate_hz = tuple(fitted.state_settings()["sample_shape"]), fitted.settings.sample_rate_hz
    note = f"Clips are {n_samples / rate_hz:g} s long at {rate_hz} Hz, as the autoencoder needs them."
    return SoundReader(rate_hz, n_samples, (note,))


def _for_images(fitted: Autoencoder, items: Sequence[Item]) -> ImageReader:
    state = fitted.state_settings()
    shape = tuple(state["sample_shape"])
    if (len(shape) == 3 and shape[2] != 3) or state["mean"] <= 1:
        raise InvalidInputError(
            f"The autoencoder was fitted on images of shape {shape} with mean {state['mean']:.3g}; a scan reads images as "
            "(height, width) or (height, width, 3) with values 0 to 255. Use an autoencoder that a scan has saved."
        )
    note = f"Images are read at {shape[1]} x {shape[0]} pixels, as the autoencoder needs them."
    return ImageReader((shape[1], shape[0]), len(shape) == 2, notes=(note,), depth=find_depth(items))
