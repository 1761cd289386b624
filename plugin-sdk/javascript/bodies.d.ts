// Whole bodies: `imports: [bodies]` in plugin.yaml. The gateway buffers them then, up to the route's limit.
import type { Request, Response } from "gateway-plugin";

export function readRequest(request: Request): Uint8Array;
export function readRequestText(request: Request): string;
export function replaceRequest(request: Request, body: string | Uint8Array): void;
export function readResponse(response: Response): Uint8Array;
export function readResponseText(response: Response): string;
export function replaceResponse(response: Response, body: string | Uint8Array): void;
