"""The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`."""

from wit_world.imports import metrics as _metrics

from . import _arguments as arguments


def add(counter: str, by: int = 1, **labels: object) -> None:
    _metrics.add(arguments.text("counter", counter), arguments.integer("by", by, most=arguments.MAX_U64), arguments.labels(labels))


def set_gauge(gauge: str, value: float, **labels: object) -> None:
    """Each series has one value in the gateway: the last that any instance set."""
    _metrics.set_gauge(arguments.text("gauge", gauge), arguments.number("value", value), arguments.labels(labels))


def add_to_gauge(gauge: str, by: float, **labels: object) -> None:
    """Adds, or subtracts with a negative number; the first addition counts from 0."""
    _metrics.add_to_gauge(arguments.text("gauge", gauge), arguments.number("by", by), arguments.labels(labels))


def observe(histogram: str, value: float, **labels: object) -> None:
    _metrics.observe(arguments.text("histogram", histogram), arguments.number("value", value), arguments.labels(labels))
