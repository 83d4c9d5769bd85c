"""`python -m bench`: every figure, one after the other."""

from bench import bench_memory, bench_metrics, bench_parse, bench_query, bench_redis, bench_size

for module in (bench_parse, bench_redis, bench_query, bench_metrics, bench_memory, bench_size):
    module.main()
