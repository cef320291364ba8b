import type { Fairlead, GossipMap } from "fairlead";
import { useEffect, useState } from "react";

/** The current entries of a gossip map, and the map once it is open. */
export function useGossipMap<V>(fl: Fairlead, name: string) {
  const [map, setMap] = useState<GossipMap<V>>();
  const [entries, setEntries] = useState<[string, V][]>([]);
  useEffect(() => {
    const unmounted = new AbortController();
    const follow = async () => {
      const opened = await fl.openGossipMap<V>(name, { signal: unmounted.signal });
      const changes = opened.changes();
      setMap(opened);
      setEntries([...opened]);
      for await (const _ of changes) setEntries([...opened]);
    };
    follow().catch((error: unknown) => {
      if (!unmounted.signal.aborted) throw error;
    });
    return () => unmounted.abort();
  }, [fl, name]);
  return { map, entries };
}

/** The current value of a setting; `fallback` until it is loaded, and if it is not set. */
export function useSetting(fl: Fairlead, key: string, fallback: string): string {
  const [value, setValue] = useState(fallback);
  useEffect(() => {
    const unmounted = new AbortController();
    const follow = async () => {
      const config = await fl
        .configuration()
        .open({ keys: [key], fallback: { [key]: fallback }, signal: unmounted.signal });
      setValue(config.current[key] ?? fallback);
      for await (const _ of config.changes()) setValue(config.current[key] ?? fallback);
    };
    follow().catch((error: unknown) => {
      if (!unmounted.signal.aborted) throw error;
    });
    return () => unmounted.abort();
  }, [fl, key, fallback]);
  return value;
}
