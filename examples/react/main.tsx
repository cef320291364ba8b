import { createClient } from "fairlead";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useGossipMap, useSetting } from "./hooks";

const fl = createClient(import.meta.env["VITE_FAIRLEAD_URL"] ?? "http://localhost:34904");

/** Everyone who has signed in on any copy of this page, and a theme that they share. */
function Guests() {
  const [name, setName] = useState("");
  const { map, entries } = useGossipMap<string>(fl, "guests");
  const theme = useSetting(fl, "theme", "light");
  const other = theme === "dark" ? "light" : "dark";

  // A write is local and immediate, also offline. The map sends it to the others.
  const signIn = () => map?.set(name, new Date().toLocaleTimeString());

  return (
    <main data-theme={theme}>
      <h1>Guests</h1>
      <p>
        <label>
          I am <input value={name} onChange={({ target }) => setName(target.value)} />
        </label>{" "}
        <button type="button" disabled={!map || name === ""} onClick={signIn}>
          sign in
        </button>
      </p>
      <p>
        <button type="button" onClick={() => void fl.configuration().save({ theme: other })}>
          {other} theme for all
        </button>
      </p>
      <ul>
        {entries.map(([who, at]) => (
          <li key={who}>
            {who}, at {at}
          </li>
        ))}
      </ul>
    </main>
  );
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <Guests />
    </StrictMode>,
  );
