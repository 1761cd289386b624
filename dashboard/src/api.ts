// The admin API (`/api/v1/openapi.json` describes it), as far as the pages use it.

export type Counts = Record<string, number>;
export type Durations = { count: number; seconds: number; buckets: number[] };

export type Stats = {
  at: number;
  bounds: number[];
  connections: number;
  failures: Counts;
  routes: { route: string; requests: Counts; duration: Durations }[];
  plugins: CallStats[];
  upstreams: { upstream: string; requests: Counts; duration: Durations; connections: number }[];
};

export type CallStats = {
  plugin: string;
  route: string;
  calls: Counts;
  nanoseconds: Counts;
  local_replies: number;
  failures: Counts;
};

export type Pair = { name: string; value: string };
export type Match = { hosts: string[]; path: string; methods: string[]; headers: Pair[]; query: Pair[] };
export type Action = { kind: string; upstreams: { upstream: string; weight: number }[]; status?: number };
export type Route = { name: string; about?: string; match: Match; plugins: string[]; action: Action };

export type Endpoint = {
  url: string;
  address: string;
  health: "healthy" | "ejected" | "unhealthy";
  drained: boolean;
  weight: number;
  configured_weight: number;
  in_flight: number;
  requests: number;
  failures: number;
};
export type Upstream = {
  name: string;
  protocol: string;
  circuit_open?: boolean;
  requests: Counts;
  connections: number;
  endpoints: Endpoint[];
};

export type Plugin = {
  name: string;
  component: string;
  version: string;
  description: string;
  digest: string;
  bytes: number;
  phases: string[];
  calls_on_fibers: boolean;
  imports: string[];
  grants: Record<string, string[]>;
  isolation: string;
  instances: number;
  instances_created: number;
  memory_bytes: number;
  calls: CallStats[];
};
export type Trap = { at: number; plugin: string; route: string; kind: string; detail: string; backtrace: string };

export type Misfit = { line: number | null; column: number | null; message: string };
export type Judgement = { valid: boolean; problems: Misfit[]; warnings: Misfit[] };
export type InForce = { revision: number; written: boolean; not_written?: string; warnings: Misfit[] };
export type Revision = {
  id: number;
  at: number;
  origin: string;
  operator?: string;
  rolled_back_to?: number;
  bytes: number;
  active: boolean;
};

export type Seen = {
  at: number;
  request_id: string;
  client: string;
  method: string;
  host: string;
  path: string;
  route?: string;
  status?: number;
  failure?: string;
  upstream?: string;
  duration: number;
  upstream_duration?: number;
  plugins_duration: number;
};

export type Considered = { route: string; match: Match; answers: boolean; verdict: string };
export type Explained = {
  target: string;
  route?: string;
  status?: number;
  reason?: string;
  plugins: string[];
  action?: Action;
  considered: Considered[];
};

export type Gateway = {
  version: string;
  ready: boolean;
  started: number;
  workers: number;
  revision: number;
  connections: number;
};
export type Certificate = {
  listeners: string[];
  subject: string;
  issuer: string;
  names: string[];
  fingerprint: string;
  not_after: number;
  days_left: number;
};
export type Change = { at: number; operator: string; method: string; target: string; status: number };

/** Why the API said no (RFC 9457). */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: Misfit[] = [],
  ) {
    super(message);
  }
}

// Of this tab alone, and gone with it.
const KEY = "gateway-token";

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value: string) => sessionStorage.setItem(KEY, value),
};

export async function ask(target: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (token.get()) headers.set("authorization", `Bearer ${token.get()}`);
  let response: Response;
  try {
    response = await fetch(`/api/v1${target}`, { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Refusal(0, "The gateway does not answer.");
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new Refusal(response.status, problem.detail ?? `HTTP status ${response.status}`, problem.problems ?? []);
}

export async function get<T>(target: string, signal?: AbortSignal): Promise<T> {
  return (await ask(target, { signal })).json();
}

export async function send<T>(method: string, target: string, body: unknown): Promise<T> {
  const headers = { "content-type": "application/json" };
  return (await ask(target, { method, headers, body: JSON.stringify(body) })).json();
}

/** Requests as they end, until the signal says that it is enough. `EventSource` cannot send a token. */
export async function tail(query: string, signal: AbortSignal, seen: (one: Seen) => void, missed: (count: number) => void) {
  const response = await ask(`/tail${query}`, { signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const field = (name: string) =>
        event
          .split("\n")
          .find((line) => line.startsWith(`${name}: `))
          ?.slice(name.length + 2);
      const data = field("data");
      if (!data) continue;
      if (field("event") === "missed") missed(Number(data));
      else seen(JSON.parse(data));
    }
  }
}
