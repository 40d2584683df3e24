"""The command that trains the small autoencoder of speech, which judges other sets of sounds without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import Cap, Root
from art_plugins.errors import InvalidInputError

# Half of the paper's recurrent states: the file has 2.8 MB, where the default settings give 4.1 MB.
SMALL = {"hidden_dim": 64}


@app.command()
def pretrain(
    root: Root,
    out: Annotated[Path, typer.Option(help="File of the autoencoder, in the format safetensors.")] = Path(
        "out/speech.autoencoder.safetensors"
    ),
    nb_epochs: Annotated[
        int | None, typer.Option(min=1, help="Most training epochs; default: until the latents no longer change.")
    ] = None,
    cap: Cap = 3000,
    seed: Annotated[int, typer.Option(min=0, help="Number that fixes the random draws: of samples and of training.")] = 0,
) -> None:
    """
    Train a small autoencoder of speech on Speech Commands (Warden 2018, CC BY 4.0), and write one file.

    Labels are not used. Speakers of the test and validation lists are left out. The same command gives the same file on
    one machine with the same versions.
    """
    if out.is_dir():
        raise InvalidInputError(f"--out {out} is a folder; give the path of a file.")
    from art_plugins.attacks.datasets.speech_commands import speech_commands
    from art_plugins.features.autoencoder import Autoencoder, AutoencoderSettings
    from art_plugins.features.spectrogram import torchaudio_transforms

    torchaudio_transforms()  # what is missing is said before the data are read
    x = speech_commands(root, cap=cap, random_state=seed).x_train
    autoencoder = Autoencoder(AutoencoderSettings(kind="waveform", **SMALL)).fit(
        x, nb_epochs=nb_epochs, random_state=seed, checkpoint=out.with_name(out.name + ".checkpoint")
    )
    autoencoder.save(out)
    if autoencoder.not_settled:
        console.print(autoencoder.not_settled, markup=False)
    trained = f"{out.stat().st_size / 1e6:.1f} MB, trained on {len(x)} clips in {len(autoencoder.history_)} epochs"
    console.print(f"Written: {out} ({trained})", markup=False)
