import type { Fairlead, GossipMap } from "fairlead";
import { useEffect, useState } from "react";

/** The entries of a gossip map as they are now, and the map to write to once it is open. */
export function useGossipMap<V>(fl: Fairlead, name: string) {
  const [map, setMap] = useState<GossipMap<V>>();
  const [entries, setEntries] = useState<[string, V][]>([]);
  useEffect(() => {
    const left = new AbortController();
    const follow = async () => {
      const opened = await fl.openGossipMap<V>(name, { signal: left.signal });
      const changes = opened.changes();
      setMap(opened);
      setEntries([...opened]);
      for await (const _ of changes) setEntries([...opened]);
    };
    follow().catch((error: unknown) => {
      if (!left.signal.aborted) throw error;
    });
    return () => left.abort();
  }, [fl, name]);
  return { map, entries };
}

/** One setting as it is now; `fallback` until it is known, and where it has no value. */
export function useSetting(fl: Fairlead, key: string, fallback: string): string {
  const [value, setValue] = useState(fallback);
  useEffect(() => {
    const left = new AbortController();
    const follow = async () => {
      const config = await fl
        .configuration()
        .open({ keys: [key], fallback: { [key]: fallback }, signal: left.signal });
      setValue(config.current[key] ?? fallback);
      for await (const _ of config.changes()) setValue(config.current[key] ?? fallback);
    };
    follow().catch((error: unknown) => {
      if (!left.signal.aborted) throw error;
    });
    return () => left.abort();
  }, [fl, key, fallback]);
  return value;
}
