// Numbers and words as people read them, and the small pieces that pages are made of.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Refusal } from "./api";

const digits = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

export const whole = (number: number) => digits.format(number);
export const rate = (perSecond: number) => (perSecond > 0 && perSecond < 0.05 ? "< 0.1" : some.format(perSecond));
export const share = (part: number, all: number) => (all > 0 ? `${some.format((part / all) * 100)} %` : "–");
export const time = (at: number) => clock.format(at * 1000);
export const date = (at: number) => day.format(at * 1000);

/** A duration in the unit that suits it. */
export function span(seconds: number | undefined): string {
  if (seconds === undefined) return "–";
  if (seconds < 0.001) return `${some.format(seconds * 1e6)} µs`;
  if (seconds < 1) return `${some.format(seconds * 1e3)} ms`;
  return `${some.format(seconds)} s`;
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  if (count < 1024 * 1024) return `${some.format(count / 1024)} KiB`;
  return `${some.format(count / 1024 / 1024)} MiB`;
}

/** Looks again and again, as long as the page is shown; what was seen last stays when the gateway does not answer. */
export function useLooking<T>(look: (signal: AbortSignal) => Promise<T>, every = 2000) {
  const [state, set] = useState<{ value?: T; error?: Refusal }>({});
  const again = useRef(() => {});
  useEffect(() => {
    const over = new AbortController();
    let timer = 0;
    const once = async () => {
      clearTimeout(timer);
      try {
        const value = await look(over.signal);
        if (!over.signal.aborted) set({ value });
      } catch (error) {
        if (over.signal.aborted) return;
        const refusal = error instanceof Refusal ? error : new Refusal(0, String(error));
        set((before) => ({ value: before.value, error: refusal }));
      }
      if (!over.signal.aborted) timer = window.setTimeout(once, every);
    };
    again.current = once;
    once();
    return () => {
      over.abort();
      clearTimeout(timer);
    };
  }, []);
  return { ...state, again: () => again.current() };
}

export function Trouble({ error }: { error?: Refusal }) {
  return error ? (
    <p class="trouble" role="alert">
      {error.message}
    </p>
  ) : null;
}

export function Table({ caption, heads, children }: { caption: string; heads: string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** Says by a word what its colour says too. */
export function Badge({ kind, children }: { kind: "good" | "warn" | "bad" | "plain"; children: ComponentChildren }) {
  return <span class={`badge ${kind}`}>{children}</span>;
}

export function Card({ title, children, note }: { title: string; children: ComponentChildren; note?: string }) {
  return (
    <section class="card">
      <h3>{title}</h3>
      <p class="figure">{children}</p>
      {note ? <p class="note">{note}</p> : null}
    </section>
  );
}

type Line = { name: string; class: string; values: (number | undefined)[] };

/** Lines over time, the newest at the right; said in words for those who do not see them. */
export function Chart({ title, lines, unit }: { title: string; lines: Line[]; unit: (value: number) => string }) {
  const [width, height] = [600, 120];
  const most = Math.max(...lines.flatMap((line) => line.values.map((value) => value ?? 0)), 1e-9);
  const count = Math.max(...lines.map((line) => line.values.length), 2);
  const path = (values: (number | undefined)[]) => {
    let drawn = "";
    values.forEach((value, place) => {
      if (value === undefined) return;
      const x = ((place + count - values.length) / (count - 1)) * width;
      const y = height - (value / most) * (height - 4);
      drawn += `${drawn === "" || values[place - 1] === undefined ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    return drawn;
  };
  const last = (line: Line) => line.values.findLast((value) => value !== undefined);
  const told = lines.map((line) => `${line.name} ${last(line) === undefined ? "none" : unit(last(line)!)}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        {lines.map((line) => (
          <span key={line.name} class={`key ${line.class}`}>
            {line.name} <b>{last(line) === undefined ? "–" : unit(last(line)!)}</b>
          </span>
        ))}
        <span class="most">up to {unit(most <= 1e-9 ? 0 : most)}</span>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${told}`}>
        {lines.map((line) => (
          <path key={line.name} class={line.class} d={path(line.values)} />
        ))}
      </svg>
    </figure>
  );
}
