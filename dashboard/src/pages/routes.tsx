import { useState } from "preact/hooks";

import { get, send, Refusal, type Action, type Explained, type Match, type Route } from "../api";
import { percentile } from "../rates";
import { Badge, Table, Trouble, rate, share, span, useLooking } from "../show";
import type { PageProps } from "../stats";

function where(match: Match): string {
  const methods = match.methods.length ? `${match.methods.join(", ")} ` : "";
  const hosts = match.hosts.length ? match.hosts.join(", ") : "";
  const conditions = [
    ...match.headers.map(({ name, value }) => `${name}: ${value}`),
    ...match.query.map(({ name, value }) => `?${name}=${value}`),
  ];
  return `${methods}${hosts}${match.path}${conditions.length ? ` with ${conditions.join(", ")}` : ""}`;
}

function whereTo(action: Action): string {
  if (action.status !== undefined) return `${action.kind} ${action.status}`;
  if (action.kind === "split") return action.upstreams.map(({ upstream, weight }) => `${upstream} (${weight})`).join(", ");
  return action.upstreams.map(({ upstream }) => upstream).join(", ");
}

export function Routes({ stats }: PageProps) {
  const { value, error } = useLooking<Route[]>((signal) => get("/routes", signal), 5000);
  const [filter, set] = useState("");
  const bounds = stats.last?.bounds ?? [];
  const wanted = filter.toLowerCase();
  const shown = (value ?? []).filter((route) =>
    [route.name, where(route.match), whereTo(route.action), ...route.plugins].some((text) => text.toLowerCase().includes(wanted)),
  );
  return (
    <>
      <Trouble error={error} />
      <Explain />
      <label class="filter">
        Show routes with
        <input type="search" value={filter} onInput={(event) => set(event.currentTarget.value)} />
      </label>
      <p class="note" role="status">
        {shown.length} of {value?.length ?? 0}
        {shown.length > 200 ? ", the first 200 of them shown" : ""}
      </p>
      <Table caption="Routes" heads={["Route", "Matches", "Plugins", "To", "Requests/s", "Errors", "p95"]}>
        {shown.slice(0, 200).map((route, place) => {
          const lately = stats.lately?.routes.get(route.name);
          return (
            <tr key={`${route.name} ${place}`}>
              <th scope="row">
                {route.name}
                {route.about ? <span class="note"> {route.about}</span> : null}
              </th>
              <td>
                <code>{where(route.match)}</code>
              </td>
              <td>{route.plugins.join(" → ") || "–"}</td>
              <td>{whereTo(route.action)}</td>
              <td class="number">{rate(lately?.requests ?? 0)}</td>
              <td class="number">{share(lately?.errors ?? 0, lately?.requests ?? 0)}</td>
              <td class="number">{span(lately && percentile(lately.duration, bounds, 0.95))}</td>
            </tr>
          );
        })}
      </Table>
    </>
  );
}

/** Which route a request would take, and why. */
function Explain() {
  const [method, setMethod] = useState("GET");
  const [url, setUrl] = useState("");
  const [fields, setFields] = useState("");
  const [told, tell] = useState<{ explained?: Explained; error?: Refusal }>({});
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      const headers = fields.split("\n").filter((line) => line.trim() !== "");
      tell({ explained: await send<Explained>("POST", "/explain", { method, url, headers }) });
    } catch (error) {
      tell({ error: error instanceof Refusal ? error : new Refusal(0, String(error)) });
    }
  };
  const { explained, error } = told;
  return (
    <details class="card">
      <summary>Explain a request</summary>
      <form class="row" onSubmit={submit}>
        <label>
          Method
          <input size={8} value={method} onInput={(event) => setMethod(event.currentTarget.value)} />
        </label>
        <label class="wide">
          URL or path
          <input required placeholder="http://api.example.com/users/7" value={url} onInput={(event) => setUrl(event.currentTarget.value)} />
        </label>
        <label class="wide">
          Fields, one a line
          <textarea rows={1} placeholder="x-version: 2" value={fields} onInput={(event) => setFields(event.currentTarget.value)} />
        </label>
        <button type="submit">Explain</button>
      </form>
      <Trouble error={error} />
      {explained ? (
        <div role="status">
          <p>
            <code>{explained.target}</code>{" "}
            {explained.route !== undefined ? (
              <>
                is answered by <b>{explained.route}</b>
                {explained.plugins.length ? ` through ${explained.plugins.join(" → ")}` : ""}
                {explained.action ? `, to ${whereTo(explained.action)}` : ""}.
              </>
            ) : (
              <>
                is answered by no route: <b>{explained.status}</b>, {explained.reason}.
              </>
            )}
          </p>
          <ol>
            {explained.considered.map((one, place) => (
              <li key={place}>
                <Badge kind={one.answers ? "good" : "plain"}>{one.route}</Badge> <code>{where(one.match)}</code> {one.verdict}
              </li>
            ))}
          </ol>
        </div>
      ) : null}
    </details>
  );
}
