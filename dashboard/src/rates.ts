// From two looks at the numbers to what happens per second, and how long it takes.

import type { Counts, Durations, Stats } from "./api";

/** What happened between two looks. */
export type Rates = {
  at: number;
  seconds: number;
  requests: number;
  errors: number;
  connections: number;
  duration: Durations;
  routes: Map<string, { requests: number; errors: number; duration: Durations }>;
  upstreams: Map<string, { requests: number; errors: number; duration: Durations }>;
};

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
export const total = (counts: Counts) => sum(Object.values(counts));

/** A class of 5xx, or no response where one was due. */
const failed = (counts: Counts) => (counts["5xx"] ?? 0) + (counts["none"] ?? 0);

const less = (now: Durations, before?: Durations): Durations => ({
  count: now.count - (before?.count ?? 0),
  seconds: now.seconds - (before?.seconds ?? 0),
  buckets: now.buckets.map((count, place) => count - (before?.buckets[place] ?? 0)),
});

const more = (a: Durations, b: Durations): Durations => ({
  count: a.count + b.count,
  seconds: a.seconds + b.seconds,
  buckets: b.buckets.map((count, place) => count + (a.buckets[place] ?? 0)),
});

export const nothing: Durations = { count: 0, seconds: 0, buckets: [] };

export function rates(now: Stats, before: Stats): Rates {
  const seconds = Math.max(now.at - before.at, 0.001);
  const between = <T extends { requests: Counts; duration: Durations }>(all: T[], old: T[], name: (one: T) => string) => {
    const known = new Map(old.map((one) => [name(one), one]));
    return new Map(
      all.map((one) => {
        const was = known.get(name(one));
        const difference = {
          requests: (total(one.requests) - (was ? total(was.requests) : 0)) / seconds,
          errors: (failed(one.requests) - (was ? failed(was.requests) : 0)) / seconds,
          duration: less(one.duration, was?.duration),
        };
        return [name(one), difference] as const;
      }),
    );
  };
  const routes = between(now.routes, before.routes, (route) => route.route);
  const all = [...routes.values()];
  return {
    at: now.at,
    seconds,
    requests: sum(all.map((route) => route.requests)),
    errors: sum(all.map((route) => route.errors)),
    connections: now.connections,
    duration: all.map((route) => route.duration).reduce(more, nothing),
    routes,
    upstreams: between(now.upstreams, before.upstreams, (upstream) => upstream.upstream),
  };
}

/** The time within which this share of them ended, in seconds; where in its bucket is guessed by the others' share. */
export function percentile(duration: Durations, bounds: number[], share: number): number | undefined {
  const wanted = duration.count * share;
  if (duration.count <= 0) return undefined;
  let below = 0;
  for (const [place, count] of duration.buckets.entries()) {
    if (below + count >= wanted && count > 0) {
      const low = place === 0 ? 0 : bounds[place - 1]!;
      const high = bounds[place] ?? low;
      return low + ((wanted - below) / count) * (high - low);
    }
    below += count;
  }
  return bounds.at(-1);
}
