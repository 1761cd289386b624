// One look at the numbers each second, for all pages.

import { useEffect, useState } from "preact/hooks";

import { get, type Gateway, type Stats } from "./api";
import { rates, type Rates } from "./rates";

/** Looks that are kept: five minutes. */
const KEPT = 300;

export type Looks = { last?: Stats; rates: Rates[]; /** Of the last ten seconds. */ lately?: Rates };
export type PageProps = { stats: Looks; gateway?: Gateway };

export function useStats(): Looks {
  const [looks, set] = useState<Looks>({ rates: [] });
  useEffect(() => {
    const over = new AbortController();
    const seen: Stats[] = [];
    const look = async () => {
      try {
        const now = await get<Stats>("/stats", over.signal);
        const before = seen.at(-1);
        // A gateway that has begun anew counts from nothing.
        if (before && now.routes.some((route, at) => route.duration.count < (before.routes[at]?.duration.count ?? 0))) {
          seen.length = 0;
        }
        seen.push(now);
        if (seen.length > 11) seen.shift();
        set((old) => ({
          last: now,
          rates: before ? [...old.rates, rates(now, before)].slice(-KEPT) : old.rates,
          lately: seen.length > 1 ? rates(now, seen[0]!) : undefined,
        }));
      } catch {
        // The page says elsewhere that there is no answer.
      }
      if (!over.signal.aborted) timer = window.setTimeout(look, 1000);
    };
    let timer = 0;
    look();
    return () => {
      over.abort();
      clearTimeout(timer);
    };
  }, []);
  return looks;
}
