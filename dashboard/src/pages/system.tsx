import { useState } from "preact/hooks";

import { get, send, Refusal, type Certificate, type Change } from "../api";
import { Badge, Card, Table, Trouble, date, useLooking, whole } from "../show";
import type { PageProps } from "../stats";

export function System({ gateway }: PageProps) {
  const certificates = useLooking<Certificate[]>((signal) => get("/certificates", signal), 30_000);
  const changes = useLooking<Change[]>((signal) => get("/audit", signal), 5000);
  return (
    <>
      <div class="cards">
        <Card title="Version">{gateway?.version ?? "–"}</Card>
        <Card title="Started">{gateway ? date(gateway.started) : "–"}</Card>
        <Card title="Workers">{gateway ? whole(gateway.workers) : "–"}</Card>
      </div>
      <LogLevel />
      <h3>Certificates</h3>
      <Trouble error={certificates.error} />
      {certificates.value?.length === 0 ? <p>No listener has any.</p> : null}
      {certificates.value?.length ? (
        <Table caption="Certificates" heads={["Names", "Expires", "Days left", "Issuer", "Listeners"]}>
          {certificates.value.map((certificate) => (
            <tr key={certificate.fingerprint}>
              <th scope="row" title={`SHA-256 ${certificate.fingerprint}`}>
                {certificate.names.join(", ") || certificate.subject}
              </th>
              <td>{date(certificate.not_after)}</td>
              <td class="number">
                <Badge kind={certificate.days_left < 7 ? "bad" : certificate.days_left < 21 ? "warn" : "good"}>{certificate.days_left}</Badge>
              </td>
              <td>{certificate.issuer}</td>
              <td>{certificate.listeners.join(", ")}</td>
            </tr>
          ))}
        </Table>
      ) : null}
      <h3>Audit log</h3>
      <Table caption="Audit log" heads={["Time", "Operator", "Request", "Status"]}>
        {changes.value?.map((change, place) => (
          <tr key={place}>
            <td>{date(change.at)}</td>
            <td>{change.operator}</td>
            <td>
              {change.method} <code>{change.target}</code>
            </td>
            <td>
              <Badge kind={change.status < 400 ? "good" : "bad"}>{change.status}</Badge>
            </td>
          </tr>
        ))}
        {changes.value?.length === 0 ? (
          <tr>
            <td colSpan={4}>None since the start.</td>
          </tr>
        ) : null}
      </Table>
    </>
  );
}

function LogLevel() {
  const level = useLooking<{ level: string }>((signal) => get("/log-level", signal), 10_000);
  const [typed, type] = useState<string>();
  const [refusal, refuse] = useState<Refusal>();
  const submit = async (event: Event) => {
    event.preventDefault();
    refuse(undefined);
    try {
      await send("PUT", "/log-level", { level: typed ?? level.value?.level });
      type(undefined);
    } catch (error) {
      refuse(error instanceof Refusal ? error : new Refusal(0, String(error)));
    }
    level.again();
  };
  return (
    <form class="row" onSubmit={submit}>
      <label>
        Level of the log
        <input value={typed ?? level.value?.level ?? ""} onInput={(event) => type(event.currentTarget.value)} />
      </label>
      <button type="submit" disabled={typed === undefined}>
        Change
      </button>
      <Trouble error={refusal} />
    </form>
  );
}
