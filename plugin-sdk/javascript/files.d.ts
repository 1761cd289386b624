// Files that are granted by name: `imports: [files]`. Throws if one is not granted.
export function get(name: string): Uint8Array;
export function getText(name: string): string;
