import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { get, token, type Gateway } from "./api";
import { useStats } from "./stats";
import { Configuration } from "./pages/configuration";
import { Overview } from "./pages/overview";
import { Plugins } from "./pages/plugins";
import { Requests } from "./pages/requests";
import { Routes } from "./pages/routes";
import { System } from "./pages/system";
import { Upstreams } from "./pages/upstreams";
import { Badge, useLooking } from "./show";
import "./style.css";

const PAGES = [
  { path: "", name: "Overview", page: Overview },
  { path: "routes", name: "Routes", page: Routes },
  { path: "upstreams", name: "Upstreams", page: Upstreams },
  { path: "plugins", name: "Plugins", page: Plugins },
  { path: "requests", name: "Requests", page: Requests },
  { path: "configuration", name: "Configuration", page: Configuration },
  { path: "system", name: "System", page: System },
] as const;

const here = () => location.hash.replace(/^#\/?/, "").split("?")[0] ?? "";

function App() {
  const [path, go] = useState(here());
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const follow = () => {
      go(here());
      // So that a screen reader is where the new page is.
      main.current?.focus();
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const gateway = useLooking<Gateway>((signal) => get("/gateway", signal));
  const stats = useStats();
  const current = PAGES.find((page) => page.path === path) ?? PAGES[0];
  useEffect(() => {
    document.title = `${current.name} · Gateway`;
  }, [current]);
  const shut = gateway.error && [401, 403].includes(gateway.error.status);
  const Page = current.page;
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        To the content
      </a>
      <header>
        <h1>Gateway</h1>
        <nav aria-label="Pages">
          {PAGES.map((page) => (
            <a key={page.path} href={`#/${page.path}`} aria-current={page === current ? "page" : undefined}>
              {page.name}
            </a>
          ))}
        </nav>
        <p class="standing" role="status">
          {shut ? (
            <Badge kind="warn">token required</Badge>
          ) : gateway.error ? (
            <Badge kind="bad">not responding</Badge>
          ) : gateway.value?.ready === false ? (
            <Badge kind="warn">draining</Badge>
          ) : gateway.value ? (
            <Badge kind="good">serving</Badge>
          ) : null}
          {gateway.value ? <span class="note">{gateway.value.version}</span> : null}
        </p>
      </header>
      <main id="main" tabIndex={-1} ref={main}>
        <h2>{current.name}</h2>
        {shut ? <Door message={gateway.error!.message} enter={gateway.again} /> : <Page stats={stats} gateway={gateway.value} />}
      </main>
    </>
  );
}

/** Who is not let in by the address or a certificate has a token. */
function Door({ message, enter }: { message: string; enter: () => void }) {
  const [value, set] = useState("");
  const submit = (event: Event) => {
    event.preventDefault();
    token.set(value);
    enter();
  };
  return (
    <form class="door" onSubmit={submit}>
      <p role="alert">{message}</p>
      <label>
        Token
        <input type="password" autocomplete="off" value={value} onInput={(event) => set(event.currentTarget.value)} />
      </label>
      <button type="submit">Enter</button>
      <p class="note">It is kept in this tab until it is closed.</p>
    </form>
  );
}

render(<App />, document.getElementById("app")!);
