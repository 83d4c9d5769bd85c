"""The command `dynometer`: one table of subcommands, each in a module imported when asked for.

A command's module has `add_arguments(parser)`, if it takes any, and a function that gets the
parsed `arguments` and the `settings` and returns the exit code:

    0    done
    1    it ran, and something could not be done
    2    a mistake in what was asked or configured: one line on stderr says what to do
    130  interrupted (Ctrl-C)
    141  whoever read the output went away (`… | head`)
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.config import Settings
from app.support.about import version
from app.support.errors import UserError

EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Command(NamedTuple):
    """A subcommand: `module` has `function(arguments, settings) -> int`, called by these names."""

    name: str
    help: str
    module: str
    function: str = "run"


COMMANDS = (
    Command(
        "serve", "run the service: drain, API, /metrics and pages", "app.service.serve", "serve"
    ),
    Command("fold", "only fold what other processes received", "app.cli.fold"),
    Command("syslog", "only take syslog drains, for a store that others serve", "app.cli.syslog"),
    Command("report", "print what a log file says; needs no service", "app.cli.report"),
    Command("replay", "send a log file or a live tail to a service", "app.cli.replay"),
    Command(
        "simulate", "send believable traffic to a service and check its answers", "app.cli.simulate"
    ),
    Command("drains", "add, list, rotate or remove the drains that may send", "app.cli.drains"),
    Command("tokens", "add, list or remove tokens that may read", "app.cli.tokens"),
    Command("compare", "whether two stores hold the same", "app.cli.compare"),
    Command("kafka", "make the topics of DYNOMETER_KAFKA", "app.cli.kafka"),
    Command("alerts", "who is told of what: rules, channels, mutes, history", "app.cli.alerts"),
    Command(
        "prometheus-config", "print what goes into prometheus.yml", "app.cli.prometheus_config"
    ),
    Command("doctor", "look for what is wrong, and say what to do about it", "app.cli.doctor"),
    Command("size", "what a load needs: workers, shards, memory, partitions", "app.cli.size"),
    Command("config", "print what is set, and where that comes from", "app.cli.config"),
    Command("version", "print the version", "app.cli.main", "print_version"),
)
_BY_NAME = {command.name: command for command in COMMANDS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. A mistake is one line on stderr, no traceback."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # What is still buffered would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except UserError as error:
        print(f"dynometer: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    return code


def _run(argv: list[str]) -> int:
    command = _BY_NAME.get(argv[0]) if argv else None
    if command is None:
        parser = _overview()
        if not argv:
            parser.print_help()
            return 0
        parser.parse_args(argv)  # prints help, or what is wrong, and exits
    else:
        module = importlib.import_module(command.module)
        parser = argparse.ArgumentParser(
            prog=f"dynometer {command.name}", description=_sentence(command.help)
        )
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
        arguments = parser.parse_args(argv[1:])
        function: Callable[..., int] = getattr(module, command.function)
        return function(arguments=arguments, settings=Settings.from_environ(os.environ))
    return EXIT_MISTAKE


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dynometer",
        description="Turns the log stream of Heroku apps into metrics.",
        epilog="'dynometer COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"dynometer {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        commands.add_parser(command.name, help=command.help)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def print_version(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command `dynometer version`."""
    print(f"dynometer {version()}")
    return 0
