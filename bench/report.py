"""Tables and plots of what was kept: `python -m bench.report` draws bench/results/*.svg and puts
the tables into bench/README.md, between the marks that name their results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import end_to_end, latency, peers, profile
from bench.results import RESULTS, kept
from bench.rounds import ROLES
from bench.svg import bars, lines

README = Path(__file__).parent / "README.md"
GROWN = ("lines_per_post", "apps", "dynos", "workers", "history_days")
PLOTTED = ("end_to_end", "grow_lines_per_post", "grow_apps", "latency", "peers")
_CPU = "CPU seconds per million lines"

Rows = Sequence[dict[str, Any]]


def main() -> None:
    """Draw and write."""
    text = README.read_text()
    shown: dict[str, Callable[[Any], str]] = {
        "end_to_end": end_to_end.shown,
        "latency": latency.shown,
        "peers": peers.shown,
        "profile": profile.shown,
        "profile_100_apps": profile.shown,
        **{f"grow_{name}": end_to_end.shown for name in GROWN},
    }
    for name, show in shown.items():
        result = kept(name)
        if not result:
            continue
        written = f"{show(result['rows'])}\n\n{configured(result['configuration'])}"
        text = between_marks(text, name, written)
        if name in PLOTTED:
            (RESULTS / f"{name}.svg").write_text(drawn(name, result["rows"]))
    README.write_text(text)


def between_marks(text: str, name: str, written: str) -> str:
    """The text with what stands between this name's marks replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{written}\n\n{found[2]}", text)


def configured(configuration: Mapping[str, Any]) -> str:
    """One line under a table; the whole is in the JSON."""
    names = ("python", "uvicorn", "uvloop", "httptools", "redis-server", "rsyslog", "mtail")
    versions = [f"{name} {configuration[name]}" for name in names if configuration.get(name)]
    return (
        f"{configuration['cpus']} × {configuration['cpu']}, {', '.join(versions)}; "
        f"{configuration['rounds']} rounds."
    )


def drawn(name: str, rows: Rows) -> str:
    """The plot of one result."""
    if name == "peers":
        found = [(each["name"], {"": each["cpu_s"]}, _said_of_peer(each)) for each in rows]
        return bars("Dynometer and others", found, unit=_CPU)
    if name == "latency":
        waits = {
            which: [(100 * each["share"], each[f"{which}_ms"]) for each in rows]
            for which in ("p50", "p99")
        }
        return lines("How long a POST waits", waits, x_name="% of saturation", unit="ms")
    if name == "end_to_end":
        floor = rows[0]["floor"]
        found = [("uvicorn that does nothing", {"floor": floor}, f"{floor:.2f}")]
        found += [
            (
                f"{each['apps']} app{'s' * (each['apps'] > 1)}",
                {role: each[role] for role in ROLES if each[role]},
                f"{each['total']:.2f}, the floor × {each['ratio']:.1f}",
            )
            for each in rows
        ]
        return bars("A million lines, end to end", found, unit=_CPU)
    thing = name.removeprefix("grow_")
    costs = {
        label: [(each[thing], each[key]) for each in rows if each[thing]]
        for label, key in (("all", "total"), ("floor", "floor"))
    }
    x_name = thing.replace("_", " ")
    return lines(f"How cost grows with {x_name}", costs, x_name=x_name, unit=_CPU)


def _said_of_peer(row: Mapping[str, Any]) -> str:
    wrong = row["statuses_wrong"]
    return f"{row['cpu_s']:.2f}" + (f", {wrong:,} counted wrong" if wrong else "")


if __name__ == "__main__":
    main()
