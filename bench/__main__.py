"""`python -m bench`: runs the benchmarks of CPU time and size, the long ones in a short version."""

from bench import (
    bench_compiled,
    bench_fold,
    bench_memory,
    bench_metrics,
    bench_parse,
    bench_query,
    bench_redis,
    bench_size,
    bench_turns,
)
from bench.end_to_end import Case, format_table, measure
from bench.rounds import Load

ROUNDS = 2
POSTS = 2_000
APPS = (1, 100)

print("\n### CPU seconds per million lines, end to end (short)\n")
print(
    format_table(measure([Case(Load(POSTS, apps=n, connections=n)) for n in APPS], ROUNDS)),
    flush=True,
)
for module in (
    *(bench_parse, bench_compiled, bench_redis, bench_fold, bench_query, bench_metrics),
    *(bench_memory, bench_size, bench_turns),
):
    module.main()
