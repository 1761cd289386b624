// The gateway's metrics: `imports: [metrics]`. Names get the prefix `gateway_plugin_`.
export function add(counter: string, by?: number, labels?: Record<string, unknown>): void;
export function observe(histogram: string, value: number, labels?: Record<string, unknown>): void;
