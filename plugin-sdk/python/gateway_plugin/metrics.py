"""The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`."""

from wit_world.imports import metrics as _metrics

from ._http import plain


def add(counter: str, by: int = 1, **labels: object) -> None:
    _metrics.add(plain(counter), by, [(plain(name), plain(value)) for name, value in labels.items()])


def set_gauge(gauge: str, value: float, **labels: object) -> None:
    """Each series has one value in the gateway: the last that any instance set."""
    _metrics.set_gauge(plain(gauge), value, [(plain(name), plain(value)) for name, value in labels.items()])


def add_to_gauge(gauge: str, by: float, **labels: object) -> None:
    """Adds, or subtracts with a negative number; the first addition counts from 0."""
    _metrics.add_to_gauge(plain(gauge), by, [(plain(name), plain(value)) for name, value in labels.items()])


def observe(histogram: str, value: float, **labels: object) -> None:
    _metrics.observe(plain(histogram), value, [(plain(name), plain(value)) for name, value in labels.items()])
