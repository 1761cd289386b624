import { get, type CallStats, type Plugin, type Trap } from "../api";
import { total } from "../rates";
import { Badge, Table, Trouble, bytes, date, span, useLooking, whole } from "../show";
import type { PageProps } from "../stats";

const seconds = (calls: CallStats) => total(calls.nanoseconds) / 1e9;

export function Plugins({ stats }: PageProps) {
  const plugins = useLooking<Plugin[]>((signal) => get("/plugins", signal));
  const traps = useLooking<Trap[]>((signal) => get("/plugins/traps", signal));
  return (
    <>
      <Trouble error={plugins.error} />
      <h3>Time per plugin</h3>
      <p class="note">Mean time of a request in each plugin, all phases together, since the start.</p>
      <Microseconds stats={stats} />
      <h3>Plugins</h3>
      <Table
        caption="Plugins"
        heads={["Plugin", "Component", "Phases", "Calls", "Mean", "Answered", "Failures", "Instances", "Memory", "May touch"]}
      >
        {plugins.value?.map((plugin) => {
          const all = plugin.calls;
          const calls = all.reduce((sum, one) => sum + total(one.calls), 0);
          const took = all.reduce((sum, one) => sum + seconds(one), 0);
          const failures = all.reduce((sum, one) => sum + total(one.failures), 0);
          return (
            <tr key={plugin.name}>
              <th scope="row" title={plugin.description}>
                {plugin.name} <span class="note">{plugin.version}</span>
              </th>
              <td title={`SHA-256 ${plugin.digest}`}>
                {plugin.component} <span class="note">{bytes(plugin.bytes)}</span>
              </td>
              <td>{plugin.phases.join(", ")}</td>
              <td class="number">{whole(calls)}</td>
              <td class="number">{span(calls ? took / calls : undefined)}</td>
              <td class="number">{whole(all.reduce((sum, one) => sum + one.local_replies, 0))}</td>
              <td class="number">{failures ? <Badge kind="bad">{whole(failures)}</Badge> : 0}</td>
              <td class="number">{whole(plugin.instances)}</td>
              <td class="number">{bytes(plugin.memory_bytes)}</td>
              <td>
                {Object.entries(plugin.grants)
                  .map(([kind, names]) => `${kind}: ${names.join(", ")}`)
                  .join("; ") || "nothing"}
              </td>
            </tr>
          );
        })}
      </Table>
      <h3>Recent traps</h3>
      {traps.value?.length ? (
        traps.value.map((trap, place) => (
          <details key={place} class="card">
            <summary>
              <Badge kind="bad">{trap.kind}</Badge> {trap.plugin}
              {trap.route ? ` on ${trap.route}` : ""}: {trap.detail} <span class="note">{date(trap.at)}</span>
            </summary>
            <pre>{trap.backtrace}</pre>
          </details>
        ))
      ) : (
        <p>None.</p>
      )}
    </>
  );
}

/** A bar for each route, of its plugins' shares. */
function Microseconds({ stats }: Pick<PageProps, "stats">) {
  const requests = new Map(stats.last?.routes.map((route) => [route.route, route.duration.count]));
  const routes = new Map<string, { plugin: string; mean: number }[]>();
  for (const calls of stats.last?.plugins ?? []) {
    const count = requests.get(calls.route) ?? 0;
    if (count === 0 || seconds(calls) === 0) continue;
    const bars = routes.get(calls.route) ?? [];
    bars.push({ plugin: calls.plugin, mean: seconds(calls) / count });
    routes.set(calls.route, bars);
  }
  const sum = (bars: { mean: number }[]) => bars.reduce((all, bar) => all + bar.mean, 0);
  const ordered = [...routes].sort(([, a], [, b]) => sum(b) - sum(a)).slice(0, 20);
  const most = Math.max(...ordered.map(([, bars]) => sum(bars)), 1e-9);
  const names = [...new Set(ordered.flatMap(([, bars]) => bars.map((bar) => bar.plugin)))];
  if (ordered.length === 0) return <p>No plugin has been called yet.</p>;
  return (
    <>
      <ul class="tags">
        {names.map((name, place) => (
          <li key={name} class={`key part${place % 8}`}>
            {name}
          </li>
        ))}
      </ul>
      <Table caption="Mean time in plugins by route" heads={["Route", "Time in plugins", "Together"]}>
        {ordered.map(([route, bars]) => (
          <tr key={route}>
            <th scope="row">{route || "(no route)"}</th>
            <td class="bars">
              <svg viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={bars.map((bar) => `${bar.plugin} ${span(bar.mean)}`).join(", ")}>
                {bars.map((bar, place) => {
                  const before = sum(bars.slice(0, place));
                  return (
                    <rect
                      key={bar.plugin}
                      class={`part${names.indexOf(bar.plugin) % 8}`}
                      x={(before / most) * 100}
                      width={(bar.mean / most) * 100}
                      height={10}
                    >
                      <title>{`${bar.plugin} ${span(bar.mean)}`}</title>
                    </rect>
                  );
                })}
              </svg>
              <span class="note">{bars.map((bar) => `${bar.plugin} ${span(bar.mean)}`).join(", ")}</span>
            </td>
            <td class="number">{span(sum(bars))}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}
