import { useEffect, useRef, useState } from "preact/hooks";

import { ask, get, Refusal, type InForce, type Judgement, type Misfit, type Revision } from "../api";
import { Badge, Table, Trouble, bytes, date, useLooking } from "../show";

type Present = { text: string; tag: string };

async function present(): Promise<Present> {
  const response = await ask("/config");
  return { text: await response.text(), tag: response.headers.get("etag") ?? "" };
}

export function Configuration() {
  const [base, setBase] = useState<Present>();
  const [text, setText] = useState("");
  const [judgement, judge] = useState<Judgement>();
  const [problems, setProblems] = useState<Misfit[]>([]);
  const [message, say] = useState<{ good: boolean; text: string }>();
  const [error, setError] = useState<Refusal>();
  const revisions = useLooking<Revision[]>((signal) => get("/config/revisions", signal));
  const changed = base !== undefined && text !== base.text;

  const load = async () => {
    try {
      const now = await present();
      setBase(now);
      setText(now.text);
      setProblems([]);
      setError(undefined);
    } catch (error) {
      setError(refusal(error));
    }
  };
  useEffect(() => void load(), []);

  // Checked a moment after the last change.
  useEffect(() => {
    judge(undefined);
    if (!changed) return setProblems([]);
    const over = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const answer = await ask("/config/validate", { method: "POST", body: text, signal: over.signal });
        const judged: Judgement = await answer.json();
        judge(judged);
        setProblems(judged.problems);
      } catch (error) {
        if (over.signal.aborted) return;
        const why = refusal(error);
        // A reader sees the configuration, and is told that checking another one needs more.
        if (why.status === 403) say({ good: false, text: `Not checked: ${why.message}.` });
        else setError(why);
      }
    }, 400);
    return () => {
      over.abort();
      clearTimeout(timer);
    };
  }, [text, base]);

  const applied = async (target: string, init: RequestInit) => {
    say(undefined);
    setError(undefined);
    try {
      const answer: InForce = await (await ask(target, init)).json();
      const written = answer.written ? "and in the file" : `but not in the file: ${answer.not_written}`;
      say({ good: true, text: `Revision ${answer.revision} is active, ${written}.` });
      await load();
      revisions.again();
    } catch (error) {
      const why = refusal(error);
      setProblems(why.problems);
      say({ good: false, text: `Not applied: ${why.message}.` });
    }
  };
  const apply = () => applied("/config", { method: "PUT", body: text, headers: { "if-match": base?.tag ?? "" } });
  const back = (id: number) => applied(`/config/revisions/${id}/activate`, { method: "POST" });

  return (
    <>
      <Trouble error={error} />
      <Editor text={text} problems={problems} edit={setText} />
      <div class="row">
        <button type="button" class="main" disabled={!changed || judgement?.valid === false} onClick={apply}>
          Apply
        </button>
        <button type="button" disabled={!changed} onClick={load}>
          Discard changes
        </button>
        <p role="status" class="verdict">
          {message ? (
            <Badge kind={message.good ? "good" : "bad"}>{message.text}</Badge>
          ) : base === undefined ? (
            "Loading …"
          ) : !changed ? (
            "This is the active configuration."
          ) : judgement === undefined ? (
            "Checking …"
          ) : judgement.valid ? (
            <Badge kind="good">The configuration is valid.</Badge>
          ) : (
            <Badge kind="bad">{judgement.problems.length === 1 ? "1 problem" : `${judgement.problems.length} problems`}</Badge>
          )}
        </p>
      </div>
      {judgement?.warnings.length ? (
        <ul>
          {judgement.warnings.map((warning) => (
            <li key={warning.message}>
              {warning.line === null ? "" : `line ${warning.line}: `}
              {warning.message}
            </li>
          ))}
        </ul>
      ) : null}
      <h3>Revisions</h3>
      <Table caption="Revisions since the start" heads={["Revision", "Since", "By", "Size", "", "Difference"]}>
        {revisions.value?.map((revision) => (
          <tr key={revision.id}>
            <th scope="row">
              {revision.id} {revision.active ? <Badge kind="good">active</Badge> : null}
            </th>
            <td>{date(revision.at)}</td>
            <td>
              {revision.operator ?? { start: "the start", reload: "a reload" }[revision.origin] ?? revision.origin}
              {revision.rolled_back_to ? `, rollback to ${revision.rolled_back_to}` : ""}
            </td>
            <td class="number">{bytes(revision.bytes)}</td>
            <td>
              {revision.active ? null : (
                <button type="button" class="small" onClick={() => back(revision.id)}>
                  Roll back to {revision.id}
                </button>
              )}
            </td>
            <td>
              <Difference id={revision.id} />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}

function refusal(error: unknown) {
  return error instanceof Refusal ? error : new Refusal(0, String(error));
}

/** Text with numbered lines, those with problems marked, and the problems beside it. */
function Editor({ text, problems, edit }: { text: string; problems: Misfit[]; edit: (text: string) => void }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const numbers = useRef<HTMLDivElement>(null);
  const lines = text.split("\n").length;
  const wrong = new Set(problems.map((problem) => problem.line));
  const show = ({ line, column }: Misfit) => {
    if (!area.current || line === null) return;
    const before = text.split("\n").slice(0, line - 1);
    const at = before.reduce((sum, one) => sum + one.length + 1, 0) + (column ?? 1) - 1;
    area.current.focus();
    area.current.setSelectionRange(at, at);
    area.current.scrollTop = (line - 5) * 20;
  };
  return (
    <div class="editor">
      <div class="numbers" aria-hidden="true" ref={numbers}>
        {Array.from({ length: lines }, (_, line) => (
          <span key={line} class={wrong.has(line + 1) ? "wrong" : ""}>
            {line + 1}
          </span>
        ))}
      </div>
      <textarea
        ref={area}
        aria-label="Configuration in YAML"
        aria-describedby="problems"
        aria-invalid={problems.length > 0}
        spellcheck={false}
        wrap="off"
        value={text}
        onInput={(event) => edit(event.currentTarget.value)}
        onScroll={(event) => numbers.current && (numbers.current.scrollTop = event.currentTarget.scrollTop)}
      />
      <ul id="problems" class="problems" aria-label="Problems" aria-live="polite">
        {problems.map((problem, place) => (
          <li key={place}>
            <button type="button" onClick={() => show(problem)}>
              {problem.line === null ? "whole" : `line ${problem.line}`}
            </button>{" "}
            {problem.message}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** Fetched when it is opened. */
function Difference({ id }: { id: number }) {
  const [text, set] = useState<string>();
  const open = async (event: Event) => {
    if (!(event.currentTarget as HTMLDetailsElement).open || text !== undefined) return;
    try {
      set(await (await ask(`/config/revisions/${id}/diff`)).text());
    } catch (error) {
      set(refusal(error).message);
    }
  };
  const kind = (line: string) => (line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : "");
  return (
    <details onToggle={open}>
      <summary>to the previous revision</summary>
      <pre class="diff">
        {text?.split("\n").map((line, place) => (
          <span key={place} class={kind(line)}>
            {line}
            {"\n"}
          </span>
        ))}
      </pre>
    </details>
  );
}
