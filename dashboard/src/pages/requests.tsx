import { useEffect, useState } from "preact/hooks";

import { tail, Refusal, type Seen } from "../api";
import { Badge, Table, Trouble, span, time } from "../show";

/** Rows that are shown; the oldest go. */
const ROWS = 200;
const FIELDS = [
  ["route", "Route"],
  ["upstream", "Upstream"],
  ["method", "Method"],
  ["status", "Status or 5xx"],
  ["path", "Path begins with"],
] as const;

export function Requests() {
  const [wanted, want] = useState<Record<string, string>>({});
  const [failed, onlyFailed] = useState(false);
  const [paused, pause] = useState(false);
  const [rows, setRows] = useState<Seen[]>([]);
  const [missed, setMissed] = useState(0);
  const [error, setError] = useState<Refusal>();
  const query = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value !== ""));
  if (failed) query.set("failed", "true");
  const asked = query.size ? `?${query}` : "";
  useEffect(() => {
    if (paused) return;
    const over = new AbortController();
    let waiting: Seen[] = [];
    // Many may come at once, and nobody reads faster than this.
    const drawing = setInterval(() => {
      if (waiting.length === 0) return;
      const fresh = waiting.reverse();
      waiting = [];
      setRows((old) => [...fresh, ...old].slice(0, ROWS));
    }, 200);
    const watch = async () => {
      while (!over.signal.aborted) {
        try {
          setError(undefined);
          await tail(
            asked,
            over.signal,
            (seen) => {
              waiting.push(seen);
              if (waiting.length > ROWS) waiting.shift();
            },
            (count) => setMissed((before) => before + count),
          );
        } catch (error) {
          if (over.signal.aborted) return;
          setError(error instanceof Refusal ? error : new Refusal(0, String(error)));
          // What was asked for does not become better by itself.
          if (error instanceof Refusal && error.status === 400) return;
        }
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    };
    // Not for each letter that is typed.
    const begin = setTimeout(watch, 300);
    return () => {
      over.abort();
      clearTimeout(begin);
      clearInterval(drawing);
    };
  }, [asked, paused]);
  return (
    <>
      <form class="row" onSubmit={(event) => event.preventDefault()}>
        {FIELDS.map(([name, label]) => (
          <label key={name}>
            {label}
            <input value={wanted[name] ?? ""} onInput={(event) => want({ ...wanted, [name]: event.currentTarget.value })} />
          </label>
        ))}
        <label class="check">
          <input type="checkbox" checked={failed} onChange={(event) => onlyFailed(event.currentTarget.checked)} />
          only failures of the gateway
        </label>
        <button type="button" onClick={() => pause(!paused)}>
          {paused ? "Resume" : "Pause"}
        </button>
        <button type="button" onClick={() => setRows([])}>
          Clear
        </button>
      </form>
      <Trouble error={error} />
      {missed ? <p class="note">{missed} were not shown: too many per second.</p> : null}
      <Table caption="Requests as they end" heads={["Time", "Request", "Route", "Status", "Duration", "Upstream", "Plugins", "Client"]}>
        {rows.map((row) => (
          <tr key={row.request_id}>
            <td>{time(row.at)}</td>
            <td title={`request ${row.request_id}`}>
              {row.method} <code>{row.path}</code>
            </td>
            <td>{row.route ?? "–"}</td>
            <td>
              <Badge kind={kind(row.status)}>{row.status ?? "left"}</Badge> {row.failure ?? ""}
            </td>
            <td class="number">{span(row.duration / 1e6)}</td>
            <td class="number">{row.upstream ? `${row.upstream} ${span((row.upstream_duration ?? 0) / 1e6)}` : "–"}</td>
            <td class="number">{span(row.plugins_duration / 1e6)}</td>
            <td>{row.client}</td>
          </tr>
        ))}
        {rows.length === 0 ? (
          <tr>
            <td colSpan={8}>{paused ? "Paused." : "Waiting for requests."}</td>
          </tr>
        ) : null}
      </Table>
    </>
  );
}

function kind(status?: number) {
  if (status === undefined || status >= 500) return "bad";
  return status >= 400 ? "warn" : "good";
}
