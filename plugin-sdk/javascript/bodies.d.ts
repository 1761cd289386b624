// Replaces whole bodies: `imports: [bodies]` in plugin.yaml. A body is read by `onRequestBody` and `onResponseBody`.
import type { HeaderInit, Request, Response } from "gateway-plugin";

/** In the request phase. */
export function replaceRequest(request: Request, body: string | Uint8Array, trailers?: HeaderInit): void;
/** In the response phase. */
export function replaceResponse(response: Response, body: string | Uint8Array, trailers?: HeaderInit): void;
