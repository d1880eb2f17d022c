"""The figures of `benchmarks.actors`: what each must reach and what it aims at."""

from benchmarks.figures import cost, ratio

FIGURES = {
    figure.key: figure
    for figure in (
        ratio("tell_ratio", "tell / asyncio.Queue.put_nowait + consumer", 0.70, 1.10),
        ratio("ask_ratio", "ask, no deadline / Queue + Future", 0.75, 0.95),
        ratio("ask_deadline_ratio", "ask, default deadline / Queue + Future", 0.60, 0.80),
        ratio("ask64_ratio", "64 concurrent askers / the same", 0.60, 0.90),
        ratio("pykka_ratio", "ask / pykka's", 3, 5),
        ratio("xoscar_ratio", "ask / xoscar's", 3, 5),
        cost("idle_bytes", "RSS of an actor at rest", 2_500, 1_200),
        cost("passivated_bytes", "RSS of a passivated actor", 600, 300),
        cost("spawn_us", "supervised spawn, CPU us", 25, 10),
        cost("restart_p50_us", "crash to first reply, us", 150, 60),
        cost("restart_p99_us", "the same, 99th percentile", 1_000, 300),
        cost("one_for_all_100_ms", "100 siblings restarted, ms", 10, 3),
        ratio("durable_tells_per_s", "tells committed to disk a second", 5_000, 20_000),
    )
}
