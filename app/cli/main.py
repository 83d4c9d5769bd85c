"""The command `dynometer`: a table of subcommands; their modules are imported on demand.

A command's module has `add_arguments(parser)`, if it takes any, and a function that gets the
parsed `arguments` and the `settings` and returns the exit code:

    0    success
    1    the command ran, but something could not be done
    2    invalid arguments or configuration; one line on stderr says how to fix it
    3-5  status: an app is not all right
    130  interrupted (Ctrl-C)
    141  the program that read the output exited early (`… | head`)
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.cli.output import print_err
from app.support.about import version
from app.support.argument_parser import Parser
from app.support.errors import UserError
from app.support.output import discard_stdout

EXIT_FAILED = 1
EXIT_INVALID = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
_SETTINGS = "app.config"  # imported on demand: loading pydantic takes longer than printing help


class Command(NamedTuple):
    """A subcommand. `module` has `function(*, arguments, settings) -> int`."""

    name: str
    help: str
    module: str
    function: str = "run"


COMMANDS = (
    Command(
        "serve", "run the service: drain, API, /metrics and pages", "app.service.serve", "serve"
    ),
    Command("fold", "fold the batches that other processes received", "app.cli.fold"),
    Command(
        "syslog",
        "receive only syslog drains, for a store that other processes serve",
        "app.cli.syslog",
    ),
    Command("report", "summarize a log; needs no service", "app.cli.report"),
    Command("replay", "send a log file or a live tail to a service", "app.cli.replay"),
    Command(
        "simulate", "send realistic traffic to a service and check its answers", "app.cli.simulate"
    ),
    Command("status", "say of each app whether it is all right", "app.cli.status"),
    Command("apps", "list the apps that sent data, and remove apps", "app.cli.apps"),
    Command("drains", "manage which apps may send", "app.cli.drains"),
    Command("tokens", "manage read tokens", "app.cli.tokens"),
    Command("custom", "read custom metrics in the output of apps, or do not", "app.cli.custom"),
    Command("restore", "write back the access to a store that lost its data", "app.cli.restore"),
    Command("compare", "compare the contents of two stores", "app.cli.compare"),
    Command("archive", "manage the archive in PostgreSQL", "app.cli.archive"),
    Command("kafka", "create the topics of DYNOMETER_KAFKA", "app.cli.kafka"),
    Command("alerts", "manage alert rules and channels", "app.cli.alerts"),
    Command(
        "prometheus-config", "print the section for prometheus.yml", "app.cli.prometheus_config"
    ),
    Command("doctor", "check an installation and say how to fix each problem", "app.cli.doctor"),
    Command("size", "estimate workers, shards, memory and partitions for a load", "app.cli.size"),
    Command("config", "print the settings in effect and where each comes from", "app.cli.config"),
    Command("version", "print the version", "app.cli.main", "print_version"),
)
_BY_NAME = {command.name: command for command in COMMANDS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. A UserError is one line on stderr, no traceback."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        except* BrokenPipeError:
            raise BrokenPipeError from None  # without the group of the task that printed
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return EXIT_BROKEN_PIPE
    except UserError as error:
        print_err(f"dynometer: {error}")
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename:
            raise
        discard_stdout()  # it cannot be written either when Python flushes it at exit
        print_err(f"dynometer: cannot write the output: {error.strerror}. Free some space there.")
        return EXIT_FAILED


def _run(argv: list[str]) -> int:
    command = _BY_NAME.get(argv[0]) if argv else None
    if command is None:
        parser = _overview()
        if not argv:
            parser.print_help()
            return 0
        parser.parse_args(argv)  # prints help or an error, and exits
    else:
        module = importlib.import_module(command.module)
        parser = Parser(prog=f"dynometer {command.name}", description=_sentence(command.help))
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
        arguments = parser.parse_args(argv[1:])
        function: Callable[..., int] = getattr(module, command.function)
        config = importlib.import_module(_SETTINGS)
        # Options named like a setting, such as PORT, take precedence, also in worker processes.
        options = vars(arguments).items()
        os.environ.update({name: value for name, value in options if name.isupper() and value})
        config.load_env_file(os.environ)
        return function(arguments=arguments, settings=config.Settings.from_environ(os.environ))
    return EXIT_INVALID


def _overview() -> argparse.ArgumentParser:
    parser = Parser(
        prog="dynometer",
        description="Turns the log stream of Heroku apps into metrics.",
        epilog="'dynometer COMMAND --help' lists the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"dynometer {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        commands.add_parser(command.name, help=command.help)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def print_version(arguments: argparse.Namespace, settings: object) -> int:
    """Print the version."""
    print(f"dynometer {version()}")
    return 0
