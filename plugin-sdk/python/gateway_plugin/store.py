"""State that all instances share, in buckets that are granted by name: `imports: [store]`."""

from dataclasses import dataclass

from wit_world.imports import store as _store

from ._http import call, plain, raw


@dataclass
class Verdict:
    allowed: bool
    remaining: int
    reset_after_ms: int
    retry_after_ms: int


@dataclass(frozen=True)
class Bucket:
    name: str

    def get(self, key: str) -> bytes | None:
        return call(self.name, lambda: _store.get(plain(self.name), plain(key)))

    def set(self, key: str, value: str | bytes, *, ttl_ms: int | None = None) -> None:
        """Without `ttl_ms` it stays until deleted or displaced."""
        call(self.name, lambda: _store.set(plain(self.name), plain(key), raw(value), ttl_ms))

    def delete(self, key: str) -> None:
        call(self.name, lambda: _store.delete(plain(self.name), plain(key)))

    def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        """Adds to a decimal number, from 0 where there is none, and returns the sum."""
        return call(self.name, lambda: _store.increment(plain(self.name), plain(key), by, ttl_ms))

    def take(self, key: str, *, limit: int, period_ms: int, burst: int | None = None, cost: int = 1) -> Verdict:
        """One atomic step of the generic cell rate algorithm."""
        quota = _store.Quota(limit, period_ms, limit if burst is None else burst)
        verdict = call(self.name, lambda: _store.take(plain(self.name), plain(key), quota, cost))
        return Verdict(verdict.allowed, verdict.remaining, verdict.reset_after_ms, verdict.retry_after_ms)
