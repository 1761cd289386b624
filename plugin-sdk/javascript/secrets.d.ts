// Secrets that are granted by name: `imports: [secrets]`. Throws if one is not granted or missing.
export function get(name: string): Uint8Array;
export function getText(name: string): string;
