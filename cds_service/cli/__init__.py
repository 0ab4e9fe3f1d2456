"""``scanhook``: one command for each thing a person does with it.

Exit codes: 0 everything went as asked; 1 the work was done and the answer is bad (a study did not
end as it should, a check failed); 2 the command was used wrongly; 3 something needed is not there
(settings, queue, archive, files), with a sentence on the standard error that says what to do.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

from cds_service.errors import sentence_of

EXIT_BAD_ANSWER = 1
EXIT_NOT_THERE = 3

_COMMANDS = {
    "analyse": "Analyse a folder of DICOM files, without any server.",
    "backfill": "Analyse the studies of past days, behind everything that is urgent.",
    "build": "Train, calibrate and package a model (needs the [build] extra).",
    "conformance": "Examine any CDS Hooks service from outside.",
    "demo": "A demo EHR, a demo archive and scanhook on this machine.",
    "feedback": "Accepted and overridden cards by model version; let cards come back.",
    "doctor": "Try everything that is configured, one line each, with what to do.",
    "jobs": "Studies in the queue, ended and failed; put one back.",
    "keys": "Make and show keys and secrets.",
    "models": "List, show, check and switch the model packages; clear a fallback.",
    "poll": "Ask archives and FHIR servers that tell nobody what is new.",
    "register": "Write everything that an EHR's vendor asks for into one folder.",
    "recall": "Take back what one version of a model has written.",
    "sandbox": "The demo EHR and demo archive alone, for any CDS service.",
    "serve": "Answer CDS Hooks (the web process).",
    "subscribe": "Ask FHIR servers and archives to tell us of new studies.",
    "worker": "Take studies from the queue (the worker process).",
}


class Commands(click.Group):
    """Loads a command's module when it is asked for, so that ``--help`` is immediate."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, as ``--help`` shows them."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"cds_service.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of ``--help``, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="scanhook")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings as a TOML file (also SCANHOOK_CONFIG).",
)
@click.pass_context
def group(context: click.Context, config: Path | None) -> None:
    """Imaging AI inside the EHR: a CDS Hook in, cards and FHIR out, with the evidence."""
    context.obj = config


class NotThere(click.ClickException):
    """Something needed is missing; the sentence says what to do."""

    exit_code = EXIT_NOT_THERE


def main() -> None:
    """Run the command line: our own errors and the system's become one sentence."""
    try:
        group(prog_name="scanhook", standalone_mode=True)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        from cds_service.cli.output import printable  # rich is slow to load, and rarely needed

        click.echo(f"scanhook: {printable(sentence)}", err=True)
        sys.exit(EXIT_NOT_THERE)
