// To the gateway's log: `imports: [log]`.
type Emit = (message: string, fields?: Record<string, unknown>) => void;
export const trace: Emit;
export const debug: Emit;
export const info: Emit;
export const warn: Emit;
export const error: Emit;

// `console` writes there too, once this module is imported.
declare global {
  interface Console {
    trace(...values: unknown[]): void;
    debug(...values: unknown[]): void;
    log(...values: unknown[]): void;
    info(...values: unknown[]): void;
    warn(...values: unknown[]): void;
    error(...values: unknown[]): void;
  }
  var console: Console;
}
