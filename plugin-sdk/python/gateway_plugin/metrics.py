"""The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`."""

from wit_world.imports import metrics as _metrics


def add(counter: str, by: int = 1, **labels: object) -> None:
    _metrics.add(counter, by, [(name, str(value)) for name, value in labels.items()])


def observe(histogram: str, value: float, **labels: object) -> None:
    _metrics.observe(histogram, value, [(name, str(value)) for name, value in labels.items()])
