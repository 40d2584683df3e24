"""Commands for the papers' figures and tables, and for one page of all records."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from art_plugins.cli.app import app, console
from art_plugins.cli.options import _size_of_machine
from art_plugins.cli.shown import _show
from art_plugins.errors import InvalidInputError

if TYPE_CHECKING:
    from art_plugins.reports.records import Gathered


@app.command()
def reproduce(
    paper: Annotated[str | None, typer.Argument(help="The paper: mehlman, li or preetha; default: all three.")] = None,
    item: Annotated[
        str | None,
        typer.Argument(help="A figure or table of the paper, such as fig2, table1 or retraining; default: all."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the data sets, for studies that must be run.")] = None,
    records: Annotated[
        Path | None, typer.Option(help="Folder with records of studies that are not run again, such as tests/records.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Run a trial with fewer epochs, pairs and cases; the record says so.")
    ] = False,
    size: Annotated[
        Literal["auto", "cpu", "gpu"],
        typer.Option(help="gpu: models as large as in the papers; cpu: smaller models; auto: gpu if there is one."),
    ] = "auto",
    download: Annotated[
        bool, typer.Option("--download", help="Download the data sets that are missing to --root.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/reproduce"),
) -> None:
    """Measure every figure and table of the three papers, and show the papers' own numbers beside them."""
    from art_plugins.reports.paper_tables import item_table, summary_table
    from art_plugins.reproduction import runner

    items = runner.find_items(paper, item)
    if quick and size != "auto":
        raise InvalidInputError("--quick has its own size, so leave --size out.")
    if root is not None and not root.is_dir():
        raise InvalidInputError(f"--root {root} is not a folder; give the folder of the data sets.")
    if records is not None and not records.is_dir():
        raise InvalidInputError(f"--records {records} is not a folder; give a folder with records.")

    def run(arguments: list[str]) -> None:
        console.print(shlex.join(["art-plugins", *arguments]), style="bold", markup=False, highlight=False)
        done = subprocess.run([sys.executable, "-m", "art_plugins.cli", *arguments], check=False)
        if done.returncode:
            raise InvalidInputError(
                f"art-plugins {arguments[0]} ended with status {done.returncode}; run the same command again to continue."
            )

    written = runner.reproduce(
        items, _size_of_machine(quick, size), root, out, records, run, download, lambda record: _show(item_table(record))
    )
    _show(summary_table(written))
    console.print(
        f"Written: {out}/PAPER/ITEM/record.json and figures. One page of all: art-plugins report {out}", markup=False
    )


@app.command()
def report(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders with records, at any depth: out/reproduce, tests/records.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.md.")] = Path("out/report"),
    markdown: Annotated[Path | None, typer.Option(help="Write the Markdown to this file instead of report.md.")] = None,
    fill: Annotated[
        list[Path] | None,
        typer.Option(
            help="Markdown file whose blocks from <!-- RECORD --> to <!-- end --> are written again; may be repeated."
        ),
    ] = None,
) -> None:
    """Make one page of all records: our numbers beside those of the papers, all methods, and suspects to hear and see."""
    from art_plugins.optional import import_optional
    from art_plugins.reports.evaluation_page import ALL_FILTERS, write_evaluation_report
    from art_plugins.reports.record_files import FILTER_RATES
    from art_plugins.reports.records import gather
    from art_plugins.reports.studies.attack_picture import write_attack_picture
    from art_plugins.storage import write_text

    import_optional("jinja2")
    files = fill or []
    for file in files:
        if not file.is_file():
            raise InvalidInputError(f"--fill {file} does not exist.")
    gathered = gather(folders)
    texts = [_filled(file.read_text(encoding="utf-8"), gathered) for file in files]
    write_evaluation_report(gathered, out, markdown)
    written = [out / "report.html", markdown or out / "report.md"]
    for file, text in zip(files, texts, strict=True):
        write_text(file, text)
        written.append(file)
        if f"<!-- {ALL_FILTERS} -->" in text:
            filters = [one.record for one in gathered if one.kind == FILTER_RATES]
            written.append(write_attack_picture(filters, file.parent / "figures"))
    console.print(f"Written: {', '.join(map(str, written))}", markup=False)


def _filled(text: str, gathered: list[Gathered]) -> str:
    """The text with its blocks written again. The leaderboard is made only for a text that shows it."""
    from art_plugins.reports.evaluation_page import filled

    further = None
    if "<!-- leaderboard" in text:
        from art_plugins.leaderboard.tables import leaderboard_blocks

        further = leaderboard_blocks(gathered)
    return filled(text, gathered, further)
