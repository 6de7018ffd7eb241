"""Words about the installation: list, show, copy, doctor; and the words that pipelines add."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from segsuite.cli.options import Json, Quiet, Verbose, Workers
from segsuite.cli.terminal import print_json, print_table, say

__all__ = ["add_pipeline_words", "add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the words."""
    app.command("list", epilog="Example: segsuite list --json")(list_all)
    app.command("show", epilog="Example: segsuite show supervised/hippocampus training.max_minutes=5")(show)
    app.command("copy", epilog="Example: segsuite copy supervised/hippocampus my_configs")(copy)
    app.command("doctor", epilog="Example: segsuite doctor")(doctor)


def add_pipeline_words(app: typer.Typer, words: list[str]) -> None:
    """Register the verbs of the pipeline that is asked for, or of all if it is not one of ours.

    Args:
        app: The command.
        words: Arguments of the process.
    """
    ours = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    word = next((word for word in words if not word.startswith("-")), None)
    if word is None or word in ours:
        return
    from segsuite.pipeline import find_pipelines

    pipeline = next((found for found in find_pipelines().values() if word == (found.word or found.name)), None)
    if pipeline is not None and pipeline.commands is not None:
        app.add_typer(pipeline.commands, name=word, help=pipeline.summary)


def list_all(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Show pipelines, configs and manifests."""
    from segsuite.pipeline import find_pipelines
    from segsuite.shipped import shipped_configs, shipped_manifests

    pipelines = find_pipelines()
    if as_json:
        content = {name: {"summary": pipeline.summary, "paper": pipeline.paper} for name, pipeline in pipelines.items()}
        print_json({"pipelines": content, "configs": list(shipped_configs()), "manifests": list(shipped_manifests())})
        return
    print_table(("pipeline", "what you get"), [(name, pipeline.summary) for name, pipeline in pipelines.items()])
    print_table(("config",), [(name,) for name in shipped_configs()])
    print_table(("manifest",), [(name,) for name in shipped_manifests()])


def show(
    config: str,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value", show_default=False)] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Print the resolved settings of a config."""
    from segsuite.settings import as_yaml
    from segsuite.verbs.runs import load_settings

    settings = load_settings(config, overrides or ())[1]
    if as_json:
        print_json(settings.model_dump(mode="json"))
    else:
        typer.echo(as_yaml(settings), nl=False)


def copy(config: str, folder: Path, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Copy a config to edit it."""
    from segsuite.errors import OutputError
    from segsuite.files import make_folder
    from segsuite.shipped import find_config

    source = find_config(config)
    target = make_folder(folder) / source.name
    if target.exists():
        raise OutputError(f"{target} must not exist yet, got a file. Choose another folder or delete it.")
    shutil.copyfile(source, target)
    say(f"{target}: edit it, then `segsuite train {target}`")


def doctor(
    model: Annotated[Path | None, typer.Option("--model", help="Also: what runs this model here, and how fast.")] = None,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show versions, devices, memory, disk, and test the geometry of this installation."""
    from segsuite.engines.doctor import examine

    found: dict[str, Any] = examine(Path())
    if model is not None:
        from segsuite.verbs.accelerating import show_backends

        found["backends"] = show_backends(model, threads=workers)
    if as_json:
        print_json(found)
    else:
        print_table(("what", "found"), [(key, value) for key, value in found["machine"].items()])
        print_table(("package", "version"), list(found["versions"]["packages"].items()))
        rows = [(test["name"], "ok" if not test["problem"] else test["problem"]) for test in found["tests"]]
        print_table(("self-test", "result"), rows)
        if model is not None:
            _print_backends(found["backends"], model)
    if any(test["problem"] for test in found["tests"]):
        raise typer.Exit(2)


def _print_backends(rows: list[dict[str, Any]], model: Path) -> None:
    def text(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    shown = [
        (
            row["backend"],
            row["judged"],
            text(row["dice_lost"], "z.4f"),
            text(row["worst_dice_lost"], ".4f"),
            text(row["hd95_share"], "+z.2%"),
            text(row["ms"], ".0f"),
            "runs here" if row["chosen"] else "",
        )
        for row in rows
    ]
    print_table(("backend", "judged", "Dice lost", "most by one", "HD95 more", "ms a pass", ""), shown, title=str(model))
