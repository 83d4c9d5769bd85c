"""Tables and plots of saved results: `python -m bench.report`.

It draws bench/results/*.svg, and writes the tables into bench/README.md between the marks that name
their results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import end_to_end, latency, peers, profile
from bench.results import RESULTS, load
from bench.rounds import ROLES
from bench.svg import bars, lines
from bench.verdicts.tables import VERDICT_TABLES
from bench.verdicts.tables import format_table as format_rows_of_verdicts

README = Path(__file__).parent / "README.md"
PARAMETERS = ("lines_per_post", "packets", "dynos", "workers", "history_days")
PLOTTED = ("end_to_end", "grow_lines_per_post", "latency", "peers")
_CPU = "CPU seconds per million lines"

Rows = Sequence[dict[str, Any]]


def main() -> None:
    """Draw the plots and write the tables."""
    text = README.read_text()
    formatters: dict[str, Callable[[Any], str]] = {
        "end_to_end": end_to_end.format_table,
        "busy": end_to_end.format_table,
        "end_to_end_asgi": end_to_end.format_table,
        "latency": latency.format_table,
        "peers": peers.format_table,
        "profile": profile.format_table,
        "profile_100_apps": profile.format_table,
        **{f"grow_{name}": end_to_end.format_table for name in PARAMETERS},
        **dict.fromkeys(VERDICT_TABLES, format_rows_of_verdicts),
    }
    for name, format_rows in formatters.items():
        result = load(name)
        if not result:
            continue
        section = (
            f"{format_rows(result['rows'])}\n\n{describe_configuration(result['configuration'])}"
        )
        text = replace_section(text, name, section)
        if name in PLOTTED:
            (RESULTS / f"{name}.svg").write_text(draw(name, result["rows"]))
    README.write_text(text)


def replace_section(text: str, name: str, section: str) -> str:
    """The text with a new section between the marks of this name."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{section}\n\n{match[2]}", text)


def describe_configuration(configuration: Mapping[str, Any]) -> str:
    """The versions in one line under a table; the JSON has the whole configuration."""
    if seed := configuration.get("seed"):
        return f"Python {configuration['python']}; seeds: {seed}."
    names = ("python", "uvicorn", "uvloop", "httptools", "redis-server", "rsyslog", "mtail")
    versions = [f"{name} {configuration[name]}" for name in names if configuration.get(name)]
    return (
        f"{configuration['cpus']} × {configuration['cpu']}, {', '.join(versions)}; "
        f"{configuration['rounds']} rounds."
    )


def draw(name: str, rows: Rows) -> str:
    """The plot of one result, as SVG."""
    if name == "peers":
        bars_of_rows = [(row["name"], {"": row["cpu_s"]}, _peer_label(row)) for row in rows]
        return bars("Dynometer and other tools", bars_of_rows, unit=_CPU)
    if name == "latency":
        waits = {
            percentile: [(100 * row["share"], row[f"{percentile}_ms"]) for row in rows]
            for percentile in ("p50", "p99")
        }
        return lines("Latency of a POST", waits, x_name="% of saturation", unit="ms")
    if name == "end_to_end":
        bars_of_rows = [
            (
                f"{row['apps']:,} app{'s' * (row['apps'] > 1)}",
                {role: row[role] for role in ROLES if row[role]},
                f"{row['total']:.2f}, the floor × {row['ratio']:.1f}",
            )
            for row in rows
        ]
        return bars("A million lines, end to end", bars_of_rows, unit=_CPU)
    parameter = name.removeprefix("grow_")
    costs = {
        label: [(row[parameter], row[key]) for row in rows if row[parameter]]
        for label, key in (("all", "total"), ("floor", "floor"))
    }
    x_name = parameter.replace("_", " ")
    return lines(f"How cost grows with {x_name}", costs, x_name=x_name, unit=_CPU)


def _peer_label(row: Mapping[str, Any]) -> str:
    wrong = row["statuses_wrong"]
    return f"{row['cpu_s']:.2f}" + (f", {wrong:,} counted wrong" if wrong else "")


if __name__ == "__main__":
    main()
