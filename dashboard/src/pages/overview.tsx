import { percentile } from "../rates";
import { Card, Chart, Table, rate, share, span, whole } from "../show";
import type { PageProps } from "../stats";

export function Overview({ stats, gateway }: PageProps) {
  const { last, lately } = stats;
  const bounds = last?.bounds ?? [];
  const over = (value: (one: (typeof stats.rates)[number]) => number | undefined) => stats.rates.map(value);
  const busiest = [...(lately?.routes ?? [])].filter(([, route]) => route.requests > 0);
  busiest.sort(([, a], [, b]) => b.requests - a.requests);
  const failures = Object.entries(last?.failures ?? {}).sort(([, a], [, b]) => b - a);
  return (
    <>
      <div class="cards">
        <Card title="Requests" note="per second">
          {rate(lately?.requests ?? 0)}
        </Card>
        <Card title="Errors" note="5xx, or no response">
          {share(lately?.errors ?? 0, lately?.requests ?? 0)}
        </Card>
        <Card title="p50">{span(lately && percentile(lately.duration, bounds, 0.5))}</Card>
        <Card title="p99">{span(lately && percentile(lately.duration, bounds, 0.99))}</Card>
        <Card title="Connections" note="of clients">
          {whole(last?.connections ?? 0)}
        </Card>
        <Card title="Configuration" note="active revision">
          {gateway ? gateway.revision : "–"}
        </Card>
      </div>
      <Chart
        title="Requests per second"
        unit={rate}
        lines={[
          { name: "all", class: "first", values: over((one) => one.requests) },
          { name: "errors", class: "bad", values: over((one) => one.errors) },
        ]}
      />
      <Chart
        title="Latency"
        unit={span}
        lines={[
          { name: "p50", class: "first", values: over((one) => percentile(one.duration, bounds, 0.5)) },
          { name: "p95", class: "second", values: over((one) => percentile(one.duration, bounds, 0.95)) },
          { name: "p99", class: "third", values: over((one) => percentile(one.duration, bounds, 0.99)) },
        ]}
      />
      <h3>Busiest routes</h3>
      <Table caption="Busiest routes in the last ten seconds" heads={["Route", "Requests/s", "Errors", "p50", "p95", "p99"]}>
        {busiest.slice(0, 10).map(([name, route]) => (
          <tr key={name}>
            <th scope="row">{name || "(no route)"}</th>
            <td class="number">{rate(route.requests)}</td>
            <td class="number">{share(route.errors, route.requests)}</td>
            {[0.5, 0.95, 0.99].map((part) => (
              <td key={part} class="number">
                {span(percentile(route.duration, bounds, part))}
              </td>
            ))}
          </tr>
        ))}
        {busiest.length === 0 ? (
          <tr>
            <td colSpan={6}>No requests in the last ten seconds.</td>
          </tr>
        ) : null}
      </Table>
      {failures.length ? (
        <>
          <h3>Failures since the start, by reason</h3>
          <ul class="tags">
            {failures.map(([reason, count]) => (
              <li key={reason}>
                {reason} <b>{whole(count)}</b>
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </>
  );
}
