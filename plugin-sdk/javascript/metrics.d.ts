// The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`.
type Labels = Record<string, string | number | boolean>;

export function add(counter: string, by?: number, labels?: Labels): void;
/** Each series has one value in the gateway: the last that any instance set. */
export function setGauge(gauge: string, value: number, labels?: Labels): void;
/** Adds, or subtracts with a negative number; the first addition counts from 0. */
export function addToGauge(gauge: string, by: number, labels?: Labels): void;
export function observe(histogram: string, value: number, labels?: Labels): void;
