"""The commands of the book: ``bayesmix run 01`` and ``bayesmix book sync``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bayesmix import files
from bayesmix.book import notebook as notebooks
from bayesmix.book import output
from bayesmix.book.places import chapter as find
from bayesmix.book.places import chapters
from bayesmix.errors import BayesmixError

Book = Annotated[Path | None, typer.Option(help="The folder that holds the chapters.")]

app = typer.Typer(no_args_is_help=True, help="The book's chapters.")


def in_one_line[**P](command: Callable[P, None]) -> Callable[P, None]:
    """Decorator of a command: errors raised on purpose are one sentence, and status 2."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except BayesmixError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error

    return call


@app.command("list")
@in_one_line
def list_command(book: Book = None) -> None:
    """Name the chapters that there are."""
    for one in chapters(book):
        typer.echo(one.name)


@app.command("sync")
@in_one_line
def sync_command(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if any is old.")
    ] = False,
    book: Book = None,
) -> None:
    """Make each chapter.ipynb from its chapter.py."""
    old = [one for one in chapters(book) if not notebooks.synced(one)]
    for one in old:
        if not check:
            files.write_bytes(one.notebook, notebooks.made(one).encode())
        typer.echo(f"{one.notebook}: {'is not what chapter.py makes' if check else 'written'}")
    if check and old:
        typer.echo("error: run 'bayesmix book sync' and commit the notebooks", err=True)
        raise typer.Exit(1)


def run_chapter(name: str, out: Path, book: Path | None) -> None:
    """Run one chapter, print how far it is, and name the files that it wrote."""
    chosen = find(name, book)
    try:
        written = output.run(chosen, out, lambda done, count: _tell(chosen.name, done, count))
    except notebooks.ChapterFailed as error:
        typer.echo(f"\nerror: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{chosen.name}: {len(written)} files in {str(out)!r}, first {written[0].name}")


def _tell(name: str, done: int, count: int) -> None:
    typer.echo(f"\r{name}: cell {done} of {count}", err=True, nl=False)
