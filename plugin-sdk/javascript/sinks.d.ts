// Lines to sinks that are granted by name: `imports: [sinks]`. Throws `dropped` when the sink's buffer is full.
export function write(sink: string, line: string | Uint8Array): void;
