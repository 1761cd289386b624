import { useState } from "preact/hooks";

import { get, send, Refusal, type Endpoint, type Upstream } from "../api";
import { percentile } from "../rates";
import { Badge, Table, Trouble, rate, share, span, useLooking, whole } from "../show";
import type { PageProps } from "../stats";

export function Upstreams({ stats }: PageProps) {
  const { value, error, again } = useLooking<Upstream[]>((signal) => get("/upstreams", signal), 1000);
  const [refusal, refuse] = useState<Refusal>();
  const bounds = stats.last?.bounds ?? [];
  const direct = async (upstream: string, endpoint: Endpoint, direction: { drained?: boolean; weight?: number | null }) => {
    refuse(undefined);
    try {
      const target = `/upstreams/${encodeURIComponent(upstream)}/endpoints/${encodeURIComponent(endpoint.address)}`;
      await send("PATCH", target, direction);
    } catch (error) {
      refuse(error instanceof Refusal ? error : new Refusal(0, String(error)));
    }
    again();
  };
  return (
    <>
      <Trouble error={refusal ?? error} />
      {value?.length === 0 ? <p>The configuration has no upstreams.</p> : null}
      {value?.map((upstream) => {
        const lately = stats.lately?.upstreams.get(upstream.name);
        return (
          <section key={upstream.name}>
            <h3>
              {upstream.name} <Badge kind="plain">{upstream.protocol}</Badge>{" "}
              {upstream.circuit_open ? <Badge kind="bad">circuit open</Badge> : null}
            </h3>
            <p class="note">
              {rate(lately?.requests ?? 0)} requests/s, {share(lately?.errors ?? 0, lately?.requests ?? 0)} errors, 95 % within{" "}
              {span(lately && percentile(lately.duration, bounds, 0.95))}, {whole(upstream.connections)} connections
            </p>
            <Table
              caption={`Endpoints of ${upstream.name}`}
              heads={["Endpoint", "Health", "In flight", "Requests", "Failures", "Weight", "Direct"]}
            >
              {upstream.endpoints.map((endpoint) => (
                <tr key={endpoint.address} class={endpoint.health === "healthy" ? "" : "ill"}>
                  <th scope="row">
                    {endpoint.address}
                    {endpoint.url.includes(endpoint.address) ? null : <span class="note"> {endpoint.url}</span>}
                  </th>
                  <td>
                    <Health endpoint={endpoint} />
                  </td>
                  <td class="number">{whole(endpoint.in_flight)}</td>
                  <td class="number">{whole(endpoint.requests)}</td>
                  <td class="number">{whole(endpoint.failures)}</td>
                  <td>
                    <Weight endpoint={endpoint} set={(weight) => direct(upstream.name, endpoint, { weight })} />
                    {endpoint.weight === endpoint.configured_weight ? null : (
                      <button type="button" class="small" onClick={() => direct(upstream.name, endpoint, { weight: null })}>
                        reset to {endpoint.configured_weight}
                      </button>
                    )}
                  </td>
                  <td>
                    <button
                      type="button"
                      class="small"
                      aria-label={`${endpoint.drained ? "Enable" : "Drain"} ${endpoint.address}`}
                      onClick={() => direct(upstream.name, endpoint, { drained: !endpoint.drained })}
                    >
                      {endpoint.drained ? "Enable" : "Drain"}
                    </button>
                  </td>
                </tr>
              ))}
              {upstream.endpoints.length === 0 ? (
                <tr>
                  <td colSpan={7}>No endpoints: DNS lookups have returned no addresses.</td>
                </tr>
              ) : null}
            </Table>
          </section>
        );
      })}
    </>
  );
}

/** What is typed stays while the page looks again, and is sent when it is done. */
function Weight({ endpoint, set }: { endpoint: Endpoint; set: (weight: number) => void }) {
  const [typed, type] = useState<string>();
  const done = () => {
    if (typed !== undefined && Number(typed) !== endpoint.weight) set(Number(typed));
    type(undefined);
  };
  return (
    <input
      type="number"
      min={0}
      max={65535}
      aria-label={`Weight of ${endpoint.address}`}
      value={typed ?? endpoint.weight}
      onInput={(event) => type(event.currentTarget.value)}
      onBlur={done}
      onKeyDown={(event) => event.key === "Enter" && done()}
    />
  );
}

function Health({ endpoint }: { endpoint: Endpoint }) {
  const kind = { healthy: "good", ejected: "bad", unhealthy: "bad" } as const;
  return (
    <>
      <Badge kind={kind[endpoint.health]}>{endpoint.health}</Badge> {endpoint.drained ? <Badge kind="warn">drained</Badge> : null}
    </>
  );
}
