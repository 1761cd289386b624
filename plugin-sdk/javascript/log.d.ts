// To the gateway's log: `imports: [log]`.
type Emit = (message: string, fields?: Record<string, unknown>) => void;
export const trace: Emit;
export const debug: Emit;
export const info: Emit;
export const warn: Emit;
export const error: Emit;
