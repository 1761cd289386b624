"""The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`."""

from wit_world.imports import metrics as _metrics

from ._http import plain


def add(counter: str, by: int = 1, **labels: object) -> None:
    _metrics.add(plain(counter), by, [(plain(name), plain(value)) for name, value in labels.items()])


def observe(histogram: str, value: float, **labels: object) -> None:
    _metrics.observe(plain(histogram), value, [(plain(name), plain(value)) for name, value in labels.items()])
