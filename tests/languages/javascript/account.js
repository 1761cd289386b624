// A counter, a call, a chosen upstream and a changed body, in straight-line code.
import { plugin, readBody, Reply } from "gateway-plugin";
import { replaceRequest } from "gateway-plugin/bodies";
import { send } from "gateway-plugin/http-client";
import { Bucket } from "gateway-plugin/store";
import { select } from "gateway-plugin/upstreams";

const visits = new Bucket("visits");

function fail() {
  throw new RangeError("as it was told", { cause: new Error("behind it") });
}

export const { lifecycle, activePhases, catalogue, requestFilter, requestBodyFilter, responseFilter } = plugin({
  name: "account",
  version: "0.1.0",
  create: () => ({
    activePhases: () => ["request"],
    endpoints: () => [{ method: "GET", path: "/served/{id}", about: "serve" }],
    openapi: () => ({ openapi: "3.1.0", info: { title: "account", version: "1" }, paths: { "/served/{id}": { get: { responses: {} } } } }),
    onRequest(request) {
      if (request.path === "/fail") fail();
      if (request.path.startsWith("/served/")) return Reply.json(200, { route: request.route, id: request.pathParameter("id") });
      return readBody();
    },
    onRequestBody(request, body) {
      const count = visits.increment("account");
      const user = send({ upstream: "users", target: "/u" });
      select(request, "other");
      replaceRequest(request, JSON.stringify({ count, status: user.status, text: body.text() }));
    },
    onResponse(request, response) {
      response.headers.set("x-inactive", "called");
    },
  }),
});
