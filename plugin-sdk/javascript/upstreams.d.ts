// Choosing where a request goes, for canaries by user, tenants or models: `imports: [upstreams]`.
import type { Request } from "./index.js";

/**
 * In the request phase: sends the request to this upstream of the configuration in place of the route's. The operator grants it by
 * name. The route stays the same. The last selection counts, also that of a later plugin.
 *
 * Throws a `GatewayError` whose `code` is `denied`, `unavailable` or `other`.
 */
export function select(request: Request, name: string): void;
