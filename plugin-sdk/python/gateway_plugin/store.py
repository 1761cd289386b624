"""State that all instances share, in buckets that the operator grants by name: `imports: [store]`.

If the gateway refuses an operation, `GatewayError` is raised with the code `denied`, `too-large`, `unavailable` or `other`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from componentize_py_types import Err
from wit_world.imports import store as _store

from . import _arguments as arguments
from ._http import GatewayError, call, refused


@dataclass
class Verdict:
    #: Whether the units were available, and were taken.
    allowed: bool
    #: Units that are available at once, after this step.
    remaining: int
    #: The time until the whole burst is available.
    reset_after_ms: int
    #: The time until this step would be allowed: 0 if it was, 2^64 - 1 if it costs more than the burst.
    retry_after_ms: int


@dataclass(frozen=True)
class Step:
    """One of several steps that are taken together."""

    #: Within the group.
    key: str
    #: Units that come back in each period.
    limit: int
    period_ms: int
    #: Units that can be taken at once; `limit` if it is left out.
    burst: int | None = None
    #: `steady` counts as `take`. With `sliding`, units come back when they are one period old, and `burst` is ignored.
    counting: Literal["steady", "sliding"] = "steady"
    #: 0 only asks.
    cost: int = 1


@dataclass(frozen=True)
class Get:
    """An operation of a batch, as `Bucket.get`."""

    key: str


@dataclass(frozen=True)
class Set:
    """An operation of a batch, as `Bucket.set`."""

    key: str
    value: str | bytes
    ttl_ms: int | None = None


@dataclass(frozen=True)
class Delete:
    """An operation of a batch, as `Bucket.delete`."""

    key: str


@dataclass(frozen=True)
class Increment:
    """An operation of a batch, as `Bucket.increment`."""

    key: str
    by: int = 1
    ttl_ms: int | None = None


@dataclass(frozen=True)
class CompareAndSwap:
    """An operation of a batch, as `Bucket.compare_and_swap`."""

    key: str
    expected: str | bytes | None
    value: str | bytes | None
    ttl_ms: int | None = None


@dataclass(frozen=True)
class SetTtl:
    """An operation of a batch, as `Bucket.set_ttl`."""

    key: str
    ttl_ms: int | None = None


Operation = Get | Set | Delete | Increment | CompareAndSwap | SetTtl


@dataclass(frozen=True)
class Swap:
    """What `compare_and_swap` did."""

    #: Whether the key had the expected value, and has the new one.
    swapped: bool
    #: If nothing was changed: the present value, or `None` if there is none.
    present: bytes | None = None


@dataclass(frozen=True)
class Acquisition:
    """What `acquire` did."""

    #: `None` if `limit` others hold the key.
    lease: str | None
    #: The holders of the key after this step.
    holders: int


@dataclass(frozen=True)
class Bucket:
    name: str

    def get(self, key: str) -> bytes | None:
        return call(self.name, _store.get, self._bucket(), arguments.text("key", key))

    def set(self, key: str, value: str | bytes, *, ttl_ms: int | None = None) -> None:
        """Without `ttl_ms` the entry stays until it is deleted or evicted."""
        given = (arguments.text("key", key), arguments.data("value", value), arguments.millis("ttl_ms", ttl_ms))
        call(self.name, _store.set, self._bucket(), *given)

    def delete(self, key: str) -> None:
        """It is no error if there is none."""
        call(self.name, _store.delete, self._bucket(), arguments.text("key", key))

    def increment(self, key: str, by: int = 1, *, ttl_ms: int | None = None) -> int:
        """Adds to a decimal number, from 0 if there is none, and returns the sum. `ttl_ms` counts from the creation."""
        given = (arguments.text("key", key), _addend(by), arguments.millis("ttl_ms", ttl_ms))
        return call(self.name, _store.increment, self._bucket(), *given)

    def compare_and_swap(self, key: str, expected: str | bytes | None, value: str | bytes | None, *, ttl_ms: int | None = None) -> Swap:
        """Sets the value in one atomic step if the present value is `expected`.

        With `expected` `None` there must be no value; with `value` `None` it is deleted. If the call fails with `unavailable`, the step
        may have been made.
        """
        given = (arguments.text("key", key), _optional("expected", expected), _optional("value", value), arguments.millis("ttl_ms", ttl_ms))
        return _swap(call(self.name, _store.compare_and_swap, self._bucket(), *given))

    def set_ttl(self, key: str, ttl_ms: int | None) -> bool:
        """Gives a value another TTL, counted from now; with `None` it stays until it is deleted or evicted.

        Returns whether there is a value.
        """
        given = (arguments.text("key", key), arguments.millis("ttl_ms", ttl_ms))
        return call(self.name, _store.set_ttl, self._bucket(), *given)

    def acquire(self, key: str, *, limit: int, ttl_ms: int, scope: Literal["shared", "local"] = "shared") -> Acquisition:
        """Becomes one of at most `limit` holders of a key, with a lease of 1 second to 1 hour.

        In a call that has a request, the gateway renews the lease and releases it when the exchange ends. In other calls, such as those of
        timers, the plugin does, or its TTL ends it.
        """
        given = (arguments.text("key", key), arguments.integer("limit", limit), _ttl(ttl_ms), _scope(scope))
        acquired = call(self.name, _store.acquire, self._bucket(), *given)
        return Acquisition(acquired.lease, acquired.holders)

    def renew(self, key: str, lease: str, ttl_ms: int) -> bool:
        """Gives a lease a TTL, counted from now. Returns whether it is still held."""
        given = (arguments.text("key", key), arguments.text("lease", lease), _ttl(ttl_ms))
        return call(self.name, _store.renew, self._bucket(), *given)

    def release(self, key: str, lease: str) -> None:
        """Releases a lease before its exchange or its TTL ends. It is no error if it is not held any more."""
        call(self.name, _store.release, self._bucket(), arguments.text("key", key), arguments.text("lease", lease))

    def batch(self, operations: Iterable[Operation]) -> list[Any]:
        """Executes up to 64 independent operations, and returns their results in the same order.

        A result is what the method of the same name returns, or a `GatewayError` if the operation failed. The operations are neither
        atomic nor ordered. If the bucket is in Redis, all of them are sent before the first result is awaited.
        """
        given = [_operation(operation) for operation in operations]
        return [_result(self.name, result) for result in call(self.name, _store.batch, self._bucket(), given)]

    def take(self, key: str, *, limit: int, period_ms: int, burst: int | None = None, cost: int = 1) -> Verdict:
        """Takes units of a quota in one atomic step (generic cell rate algorithm). A step that is refused takes nothing."""
        given = (arguments.text("key", key), _quota(limit, period_ms, burst), arguments.integer("cost", cost))
        return _verdict(call(self.name, _store.take, self._bucket(), *given))

    def take_all(self, group: str, steps: Iterable[Step], *, scope: Literal["shared", "local"] = "shared") -> list[Verdict]:
        """Takes up to 16 steps together, all of them or none.

        If one is refused, nothing is taken, and the verdicts of the others say what they would have been. Steps of one group, such as a
        client, are stored together. With the scope `local`, the counts are those in the memory of this gateway, for use while the bucket
        cannot be reached.
        """
        given = (arguments.text("group", group), [_step(step) for step in steps], _scope(scope))
        return [_verdict(verdict) for verdict in call(self.name, _store.take_all, self._bucket(), *given)]

    def _bucket(self) -> str:
        return arguments.text("name", self.name)


def _scope(scope: str) -> Any:
    return _store.Scope[arguments.one_of("scope", scope, ("shared", "local")).upper()]


def _ttl(ttl_ms: int) -> int:
    return arguments.integer("ttl_ms", ttl_ms, most=arguments.MAX_U64)


def _optional(parameter: str, value: str | bytes | None) -> bytes | None:
    return None if value is None else arguments.data(parameter, value)


def _swap(result: Any) -> Swap:
    if isinstance(result, _store.SwapResult_Swapped):
        return Swap(True)
    return Swap(False, result.value)


def _addend(by: int) -> int:
    return arguments.integer("by", by, arguments.MIN_S64, arguments.MAX_S64)


def _operation(given: Operation) -> Any:
    if isinstance(given, Get):
        return _store.Operation_Get(arguments.text("key", given.key))
    if isinstance(given, Delete):
        return _store.Operation_Delete(arguments.text("key", given.key))
    if isinstance(given, Set):
        value, ttl_ms = arguments.data("value", given.value), arguments.millis("ttl_ms", given.ttl_ms)
        return _store.Operation_Set(_store.Entry(arguments.text("key", given.key), value, ttl_ms))
    if isinstance(given, Increment):
        ttl_ms = arguments.millis("ttl_ms", given.ttl_ms)
        return _store.Operation_Increment(_store.Addition(arguments.text("key", given.key), _addend(given.by), ttl_ms))
    if isinstance(given, CompareAndSwap):
        expected, value = _optional("expected", given.expected), _optional("value", given.value)
        ttl_ms = arguments.millis("ttl_ms", given.ttl_ms)
        return _store.Operation_CompareAndSwap(_store.Swap(arguments.text("key", given.key), expected, value, ttl_ms))
    if isinstance(given, SetTtl):
        return _store.Operation_SetTtl(_store.Expiry(arguments.text("key", given.key), arguments.millis("ttl_ms", given.ttl_ms)))
    raise TypeError(f"each operation must be a Get, Set, Delete, Increment, CompareAndSwap or SetTtl, not {type(given).__name__}")


def _result(bucket: str, result: Any) -> bytes | int | bool | Swap | None | GatewayError:
    if isinstance(result, Err):
        return refused(bucket, result.value)
    if isinstance(result.value, _store.OperationResult_Swap):
        return _swap(result.value.value)
    return getattr(result.value, "value", None)


def _step(step: Step) -> Any:
    if not isinstance(step, Step):
        raise TypeError(f"each step must be a Step, not {type(step).__name__}")
    counting = _store.Counting[arguments.one_of("counting", step.counting, ("steady", "sliding")).upper()]
    quota = _quota(step.limit, step.period_ms, step.burst)
    return _store.Step(arguments.text("key", step.key), quota, counting, arguments.integer("cost", step.cost))


def _quota(limit: int, period_ms: int, burst: int | None) -> Any:
    units = arguments.integer("limit", limit)
    period = arguments.integer("period_ms", period_ms, most=arguments.MAX_U64)
    return _store.Quota(units, period, units if burst is None else arguments.integer("burst", burst))


def _verdict(verdict: Any) -> Verdict:
    return Verdict(verdict.allowed, verdict.remaining, verdict.reset_after_ms, verdict.retry_after_ms)
