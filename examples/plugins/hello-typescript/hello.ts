// Lets in who has a key, and tells the upstream who it is.
import { ConfigProblem, plugin, problem } from "gateway-plugin";

export const { lifecycle, requestFilter } = plugin({
  name: "hello",
  version: "0.1.0",
  description: "Lets in who has a key, and tells the upstream who it is",
  config: {
    type: "object",
    additionalProperties: false,
    required: ["keys"],
    properties: {
      keys: {
        description: "The clients' names by their keys, as they send them in `x-api-key`.",
        type: "object",
        additionalProperties: { type: "string" },
      },
    },
  },
  // `keys` has the type that its schema says.
  create({ keys }) {
    if (Object.keys(keys).length === 0) throw new ConfigProblem("/keys", "needs at least one key");
    const clients = new Map(Object.entries(keys));
    return {
      onRequest(request) {
        const client = clients.get(request.headers.get("x-api-key") ?? "");
        if (client === undefined) return problem(401, "unknown API key");
        request.headers.set("x-client", client);
      },
    };
  },
});
