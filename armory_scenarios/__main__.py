"""``python -m armory_scenarios``: list the configs; run some of them through Armory and tabulate what it found."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from armory_scenarios.quick import quick
from armory_scenarios.running import find_configs, read_config, run_record
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.evaluation.running.runs import Recording, recorded_runs, run_name
from art_plugins.reports.record_files import ARMORY
from art_plugins.reports.records import record_markdown

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Armory configs of every evaluation. One by itself: armory run armory_scenarios/TASK/NAME.json --no-docker",
)


@app.command("list")
def list_configs(
    patterns: Annotated[list[str] | None, typer.Argument(help="Such as 'speech_commands/clapping_*'; none: all.")] = None,
) -> None:
    """Name the configs and say what each is."""
    for name in find_configs(patterns or ["*/*"]):
        print(f"{name}: {read_config(name)['_description']}")


@app.command()
def run(
    patterns: Annotated[list[str] | None, typer.Argument(help="Such as 'speech_commands/clapping_p10_*'.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every config.")] = False,
    is_quick: Annotated[
        bool,
        typer.Option("--quick", help="See each config to the end at a small size; an error is listed."),
    ] = False,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Instead of 0; repeat for several runs.")] = None,
    fraction: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Share of the source class, instead of the config's.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for record.json, table.md and the logs.")] = Path("out/armory"),
) -> None:
    """Run configs through `armory run --no-docker`; the same call goes on where it stopped."""
    if every == bool(patterns):
        raise InvalidInputError("Name configs, such as 'speech_commands/clapping_p10_*', or give --all.")
    jobs = {}
    fractions: list[float | None] = [*fraction] if fraction else [None]
    seeds: list[int | None] = [*seed] if seed else [None]
    for name, one_fraction, one_seed in product(find_configs(patterns or ["*/*"]), fractions, seeds):
        config = read_config(name, one_seed, one_fraction)
        key = run_name(name.replace("/", "-"), quick(config) if is_quick else config)
        jobs[key] = partial(run_record, name, one_seed, one_fraction, out / "logs" / f"{key}.txt", is_quick)
    command = f"python -m armory_scenarios {shlex.join(sys.argv[1:])}"
    record = recorded_runs(ARMORY, jobs, Recording(out, command, _say))
    print(f"\n{record_markdown(record)}\n{out / 'record.json'}, {out / 'table.md'}")


def _say(run: dict[str, Any]) -> None:
    print(
        f"{run['config']}, seed {run['seed']}, {100 * run['fraction']:.3g} %: {run['seconds']:.0f} s"
        + (f"; {run['error']}" if run.get("error") else ""),
        flush=True,
    )


def main() -> None:
    """An error of this package is one sentence on standard error and exit status 2."""
    try:
        app()
    except ArtPluginsError as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
