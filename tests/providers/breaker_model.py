"""The circuit breaker written for obviousness: what happened since its last change is kept and recounted."""

from repertory.providers.breaker import BreakerSettings


class BreakerModel:
    def __init__(self, settings: BreakerSettings) -> None:
        self.rules, self.forced, self.era, self.until = settings, "", 0, 0.0
        self.enter("closed")

    def enter(self, state: str) -> None:
        self.state, self.era, self.log = state, self.era + 1, list[tuple[float, str]]()
        if state == "closed":
            self.failed_probes = 0

    def count(self, kind: str) -> int:
        return [what for _, what in self.log].count(kind)

    def window(self, now: float) -> list[str]:
        outcomes = [(at, what) for at, what in self.log if what not in ("out", "back")]
        return [what for at, what in outcomes[-self.rules.window_calls :] if at > now - self.rules.window_seconds]

    def admit(self, now: float) -> int | None:
        if self.forced == "open" or (self.state == "open" and now < self.until):
            return None
        if self.state == "open":
            self.enter("half_open")
        if self.state == "half_open" and self.count("out") - self.count("back") >= self.rules.probes:
            return None
        self.log.append((now, "out"))
        return self.era

    def settle(self, permit: int, now: float, kind: str, wish: float = 0.0) -> None:
        """``kind`` is back (no outcome), well, or some of refused, failed and slow."""
        if permit != self.era or self.forced:
            return
        self.log.append((now, kind))
        probing = self.state == "half_open"
        if probing and self.count("well") == self.rules.probes:
            self.enter("closed")
        elif kind not in ("well", "back") and (probing or "refused" in kind or self.too_many(now)):
            self.failed_probes += probing
            interval = min(self.rules.open_seconds * 2**self.failed_probes, self.rules.open_seconds_cap)
            self.until = now + max(interval, wish)
            self.enter("open")

    def too_many(self, now: float) -> bool:
        window = self.window(now)
        limits = {"failed": self.rules.failure_rate, "slow": self.rules.slow_rate}
        return len(window) >= self.rules.minimum_volume and any(
            sum(word in kind for kind in window) / len(window) >= limit for word, limit in limits.items()
        )

    def force(self, forced: str) -> None:
        if forced != self.forced:
            self.forced = forced
            self.enter("open" if forced == "open" else "closed")

    def hasten(self, now: float) -> None:
        self.until = min(now, self.until)

    def restart(self, now: float) -> None:
        if self.state == "half_open":
            self.until = now
        self.enter("closed" if self.state == "closed" else "open")
