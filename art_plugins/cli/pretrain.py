"""The command that trains the autoencoder of speech that the package ships, and writes its card."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import Cap, Root, _command
from art_plugins.errors import InvalidInputError

SOURCE = {
    "data": "Speech Commands",
    "author": "Pete Warden, Google",
    "paper": "P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209, 2018",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "attribution": "The weights were learned from clips of Speech Commands by Pete Warden, Google (CC BY 4.0). No clip is "
    "in the file, and the author of the data does not endorse it.",
    "held_out": "The words down, go, left, no, off, on, right, stop, up, yes, and all speakers whose number is odd",
}


@app.command()
def pretrain(
    root: Root,
    out: Annotated[Path, typer.Option(help="File of the autoencoder, in the format safetensors.")] = Path(
        "out/speech.safetensors"
    ),
    nb_epochs: Annotated[
        int | None, typer.Option(min=1, help="Most training epochs; default: until the latents no longer change.")
    ] = None,
    cap: Cap = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Number that fixes the random draws: of clips and of training.")] = 0,
) -> None:
    """
    Train the autoencoder of speech that comes with the package, on Speech Commands (Warden 2018, CC BY 4.0).

    Two files are written: the autoencoder, with weights of 16 bits, and beside it a card (.json) that says what it was
    made from. Labels are not used. The ten commands and half of the speakers are left out, to measure it on. The same
    command gives the same autoencoder on one machine with the same versions.
    """
    if out.is_dir() or out.suffix == ".json":
        raise InvalidInputError(f"--out {out} must be the path of a file that does not end in .json; the card does.")
    from art_plugins.attacks.datasets.speech_commands import pretraining_clips
    from art_plugins.features.autoencoder import Autoencoder
    from art_plugins.features.vae.settings import AutoencoderSettings
    from art_plugins.optional import import_optional
    from art_plugins.storage import write_json

    import_optional("torchaudio.transforms")  # what is missing is said before the data are read
    x, trained_on = pretraining_clips(root, cap=cap, random_state=seed)
    autoencoder = Autoencoder(AutoencoderSettings(kind="waveform")).fit(
        x, nb_epochs=nb_epochs, random_state=seed, checkpoint=out.with_name(out.name + ".checkpoint")
    )
    autoencoder.save(out, half_precision=True)
    card = out.with_suffix(".json")
    write_json(card, _card(out, {**trained_on, "nb_epochs": len(autoencoder.history_), "seed": seed}))
    if autoencoder.not_settled:
        console.print(autoencoder.not_settled, markup=False)
    trained = f"{out.stat().st_size / 1e6:.1f} MB, trained on {len(x)} clips in {len(autoencoder.history_)} epochs"
    console.print(f"Written: {out} ({trained}), {card}", markup=False)


def _card(file: Path, training: dict[str, Any]) -> dict[str, Any]:
    """What the file is, what it was made from and how, JSON-safe."""
    from art_plugins.evaluation.running.environment import versions

    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return {
        "file": {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256},
        "source": SOURCE,
        "training": training,
        "command": _command(),
        "versions": versions(),
    }
