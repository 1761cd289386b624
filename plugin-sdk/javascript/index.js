import { integer, kindOf, list, object, oneOf } from "./arguments.js";
import { begin } from "./random.js";
import { Body, bodyError, chunkOf, passed } from "./body.js";
import { ConfigProblem, configurationOf, schemaText } from "./config.js";
import { decision, finished, late, problem, responseDecision } from "./decision.js";
import { described, GatewayError } from "./errors.js";
import { messageOf, messageResult } from "./messages.js";
import { endPhase } from "./phase.js";
import { Request, Response } from "./request.js";
import { octets, plain } from "./text.js";

export { Body, ConfigProblem, GatewayError, Request, Response };
export { problem, readBody, Reply, streamBody, streamMessages } from "./decision.js";

/** The handlers of a plugin: what the module exports for each, and the export of plugin.yaml. */
const PHASES = {
  onRequest: ["requestFilter", "request-filter"],
  onRequestBody: ["requestBodyFilter", "request-body-filter"],
  onRequestChunk: ["requestStream", "request-stream"],
  onResponse: ["responseFilter", "response-filter"],
  onResponseBody: ["responseBodyFilter", "response-body-filter"],
  onResponseChunk: ["responseStream", "response-stream"],
  onMessage: ["messageFilter", "message-filter"],
  onComplete: ["observer", "observer"],
  activePhases: ["activePhases", "active-phases"],
  endpoints: ["catalogue", "catalogue"],
  onTimer: ["timers", "timers"],
};
/** The phases that `activePhases` can name. */
const ACTIVE = ["request", "response", "completion"];
/** What is called beside or in place of a handler, and so needs its export. */
const IN_PLACE_OF = {
  onRequestBodyError: "onRequestBody",
  onResponseBodyError: "onResponseBody",
  openapi: "endpoints",
  timers: "onTimer",
  onTimer: "timers",
};

/** Comments of the language, which may mention anything. */
const COMMENTS = /\/\*[^]*?\*\/|\/\/.*/g;

/**
 * Refuses a plugin whose handlers are `async` or generators when it is built, as far as the text of `create` shows it. `checked` refuses
 * all of them when the plugin is configured.
 */
function refuseLate(create) {
  const isLate = (value) => /Async|Generator/.test(Object.prototype.toString.call(value));
  if (isLate(create)) throw late("create");
  const text = Function.prototype.toString.call(create).replace(COMMENTS, "");
  for (const handler of [...Object.keys(PHASES), ...Object.keys(IN_PLACE_OF)]) {
    const method = new RegExp(`(\\basync\\s*\\*?\\s*|\\*\\s*)${handler}\\s*\\(`);
    const value = new RegExp(`\\b${handler}\\s*:\\s*(async\\b|function\\s*\\*)`);
    if (method.test(text) || value.test(text)) throw late(handler);
  }
}

/** What `create` has made; handlers that would never be called are problems with the plugin, before it serves. */
function checked(made, exported) {
  finished("create", made);
  if (typeof made !== "object" || made === null) throw new TypeError(`create must return an object of handlers, not ${kindOf(made)}`);
  for (const handler of [...Object.keys(PHASES), ...Object.keys(IN_PLACE_OF)]) {
    const kind = Object.prototype.toString.call(made?.[handler]);
    if (/Async|Generator/.test(kind)) throw late(handler);
  }
  const wrong = [];
  for (const [handler, [name, phase]] of Object.entries(PHASES)) {
    const isDefined = made?.[handler] != null;
    if (isDefined === exported.has(name)) continue;
    wrong.push(
      new ConfigProblem(
        "",
        isDefined
          ? `${handler} is defined, but the module does not export ${name}: plugin.yaml needs the export ${phase}, and the module \`export const { ${name}, … } = plugin(…)\``
          : `the module exports ${name}, but ${handler} is not defined`,
      ),
    );
  }
  for (const [handler, other] of Object.entries(IN_PLACE_OF)) {
    if (made?.[handler] != null && made[other] == null) wrong.push(new ConfigProblem("", `${handler} is defined, but ${other} is not`));
  }
  if (wrong.length > 0) throw wrong;
  return made;
}

/** The rule for a request body that could not be read, in the SDKs of all languages. */
function unread(error) {
  if (error.code === "too-large") return problem(413, `the request body is larger than ${error.limit} bytes`);
  if (error.code === "interrupted" || error.code === "invalid") return problem(400, "the request body is incomplete or invalid");
  throw error;
}

/** What `gateway plugin build` finds in the component, whose memory holds what ran when it was built. It compares plugin.yaml with it. */
const marks = [];

function mark(name) {
  const [, phase] = Object.values(PHASES).find(([exported]) => exported === name);
  marks.push(["gateway-plugin", "exports", `${phase};`].join(" "));
}

/** The handles are the plugin's own (`owned-handles` in plugin.yaml), and good for one phase. */
function dropped(...handles) {
  for (const handle of handles) handle?.[Symbol.dispose]?.();
}

/** Runs a handler; what it throws is the plugin's failure. */
function run(handles, made) {
  try {
    return made();
  } catch (error) {
    throw plain(described(error));
  } finally {
    endPhase();
    dropped(...handles);
  }
}

/** What is wrong with the configuration: the message alone if the plugin says so, and else where the exception comes from. */
function problemOf(error) {
  if (error instanceof ConfigProblem) return { pointer: plain(error.pointer), message: plain(error.message) };
  return { pointer: "", message: plain(described(error)) };
}

/** Makes what a component exports of a plugin. */
export function plugin({ name, version, description = "", config: schema, create }) {
  if (typeof create !== "function") throw new TypeError(`create must be a function, not ${kindOf(create)}`);
  refuseLate(create);
  const [about, configSchema] = [[name, version, description].map((text) => plain(text, "name, version and description")), schemaText(schema)];
  let made = {};
  /** What the module takes of what is returned here, and so exports. */
  const exported = new Set();
  const lifecycle = {
    describe: () => ({ name: about[0], version: about[1], description: about[2], configSchema }),
    configure(json) {
      try {
        begin();
        made = checked(create(configurationOf(schema, json)), exported);
      } catch (error) {
        throw [error].flat().map(problemOf);
      } finally {
        endPhase();
      }
    },
  };
  const chunkResult = (handler, chunk) => passed(handler, chunk, finished(handler, made[handler](chunkOf(chunk))));
  const requestFilter = {
    onRequest: (request) => run([request], () => decision("onRequest", made.onRequest(new Request(request)), false)),
  };
  const requestBodyFilter = {
    onRequestBody: (request, result) =>
      run([request], () => {
        const error = bodyError(result);
        const lent = new Request(request);
        if (error === undefined) return decision("onRequestBody", made.onRequestBody(lent, new Body(result)), true);
        const returned = made.onRequestBodyError ? made.onRequestBodyError(lent, error) : unread(error);
        return decision("onRequestBodyError", returned, true);
      }),
  };
  const requestStream = {
    onRequestChunk: (chunk) => run([], () => chunkResult("onRequestChunk", chunk)),
  };
  const responseFilter = {
    onResponse: (request, response) =>
      run([request, response], () => responseDecision("onResponse", made.onResponse(new Request(request), new Response(response)), false)),
  };
  const responseBodyFilter = {
    onResponseBody: (request, response, result) =>
      run([request, response], () => {
        const error = bodyError(result);
        const lent = [new Request(request), new Response(response)];
        if (error === undefined) return responseDecision("onResponseBody", made.onResponseBody(...lent, new Body(result)), true);
        if (!made.onResponseBodyError) throw error;
        return responseDecision("onResponseBodyError", made.onResponseBodyError(...lent, error), true);
      }),
  };
  const responseStream = {
    onResponseChunk: (chunk) => run([], () => chunkResult("onResponseChunk", chunk)),
  };
  const messageFilter = {
    onMessage: (sender, message, state) =>
      run([], () => messageResult("onMessage", finished("onMessage", made.onMessage(messageOf(message), sender, octets(state))))),
  };
  const observer = {
    onComplete(request, response, outcome) {
      const { requestBytes, responseBytes, durationUs, upstreamUs, pluginsUs } = outcome;
      try {
        const returned = made.onComplete(new Request(request), response == null ? undefined : new Response(response), {
          status: outcome.status ?? undefined,
          failure: outcome.failure ?? undefined,
          upstream: outcome.upstream ?? undefined,
          requestBytes: Number(requestBytes),
          responseBytes: Number(responseBytes),
          durationUs: Number(durationUs),
          upstreamUs: upstreamUs == null ? undefined : Number(upstreamUs),
          pluginsUs: Number(pluginsUs),
          requestStreamState: outcome.requestStreamState == null ? undefined : octets(outcome.requestStreamState),
          responseStreamState: outcome.responseStreamState == null ? undefined : octets(outcome.responseStreamState),
          messageState: outcome.messageState == null ? undefined : octets(outcome.messageState),
        });
        finished("onComplete", returned);
      } catch (error) {
        // This phase has no result, so the engine traps with this message.
        throw new Error(plain(described(error)));
      } finally {
        endPhase();
        dropped(request, response);
      }
    },
  };
  const activePhases = {
    phases() {
      const active = list("the result of activePhases", made.activePhases()).map((phase) => oneOf("each active phase", phase, ACTIVE));
      return Object.fromEntries(ACTIVE.map((phase) => [phase, active.includes(phase)]));
    },
  };
  const catalogue = {
    endpoints: () =>
      list("the result of endpoints", made.endpoints()).map((endpoint) => {
        const { method = "", path, about = "" } = object("each endpoint", endpoint);
        return { method: plain(method, "method"), path: plain(path, "path"), about: plain(about, "about") };
      }),
    openapi() {
      const document = made.openapi?.();
      return document === undefined ? "" : JSON.stringify(object("the result of openapi", document));
    },
  };
  const timers = {
    timers: () =>
      list("the result of timers", made.timers()).map((timer) => {
        const { name, intervalMs } = object("each timer", timer);
        return { name: plain(name, "name"), intervalMs: integer("intervalMs", intervalMs) };
      }),
    onTimer: (name) =>
      run([], () => {
        finished("onTimer", made.onTimer(name));
      }),
  };
  const all = { activePhases, catalogue, timers, requestFilter, requestBodyFilter, requestStream, responseFilter, responseBodyFilter, responseStream, messageFilter, observer };
  const taken = Object.entries(all).map(([name, phase]) => {
    const get = () => {
      exported.add(name);
      mark(name);
      return phase;
    };
    return [name, { enumerable: true, get }];
  });
  return Object.defineProperties({ lifecycle }, Object.fromEntries(taken));
}
