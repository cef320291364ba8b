import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { LazyHeaders } from "../../src/rpc/lazy-headers.js";

const RAW = {
  ":method": "POST",
  ":path": "/x",
  "content-type": "application/proto",
  "x-many": ["one", "two"],
  "x-none": undefined,
  "set-cookie": ["a=1", "b=2"],
  host: "localhost",
};

/** What plain Headers with the same content say. */
function plain(): Headers {
  const headers = new Headers({ "content-type": "application/proto", host: "localhost" });
  for (const value of ["one", "two"]) headers.append("x-many", value);
  for (const value of ["a=1", "b=2"]) headers.append("set-cookie", value);
  return headers;
}

/** Each way to fill the headers. */
const FILLS: Record<string, (headers: Headers) => void> = {
  "as they came": () => {},
  "once iterated over": (headers) => void [...headers],
  "after forEach()": (headers) => headers.forEach(() => {}),
  "after a set() and a delete()": (headers) => {
    headers.set("x-new", "1");
    headers.delete("x-new");
  },
  "after getSetCookie()": (headers) => void headers.getSetCookie(),
};

for (const [name, fill] of Object.entries(FILLS)) {
  describe(name, () => {
    const open = () => {
      const headers = new LazyHeaders(RAW);
      fill(headers);
      return headers;
    };

    test("get() and has() of any spelling, with repeated headers joined", () => {
      const headers = open();
      for (const each of [
        "content-type",
        "Content-Type",
        "x-many",
        "X-MANY",
        "set-cookie",
        "host",
        "x-none",
        "x-other",
      ]) {
        assert.equal(headers.get(each), plain().get(each), each);
        assert.equal(headers.has(each), plain().has(each), each);
      }
    });

    test("names of an object's own methods are no headers", () => {
      const headers = open();
      for (const each of ["constructor", "toString", "valueOf", "__proto__"]) {
        assert.equal(headers.get(each), null, each);
        assert.equal(headers.has(each), false, each);
      }
    });

    test("HTTP/2's pseudo-headers are invisible", () => {
      const headers = open();
      const seen: string[] = [];
      headers.forEach((_value, key) => void seen.push(key));
      for (const key of [...seen, ...headers.keys(), ...[...headers].map(([key]) => key)])
        assert.ok(!key.startsWith(":"), key);
      // Headers refuses such a name, which cannot be there.
      const value = (() => {
        try {
          return headers.get(":path");
        } catch {
          return null;
        }
      })();
      assert.equal(value, null);
    });

    test("entries(), keys(), values(), forEach(), getSetCookie() and a loop are those of Headers", () => {
      assert.deepEqual([...open()], [...plain()]);
      assert.deepEqual([...open().entries()], [...plain().entries()]);
      assert.deepEqual([...open().keys()], [...plain().keys()]);
      assert.deepEqual([...open().values()], [...plain().values()]);
      assert.deepEqual(open().getSetCookie(), plain().getSetCookie());
      const collect = (headers: Headers) => {
        const all: unknown[] = [];
        headers.forEach((value, key, parent) => void all.push([key, value, parent === headers]));
        return all;
      };
      assert.deepEqual(collect(open()), collect(plain()));
    });

    test("set(), append() and delete() change what it came with", () => {
      const changed = (headers: Headers) => {
        headers.append("x-many", "three");
        headers.set("Content-Type", "text/plain");
        headers.delete("HOST");
        headers.append("x-new", "1");
        return [...headers, headers.get("x-many"), headers.has("host"), headers.get("x-new")];
      };
      assert.deepEqual(changed(open()), changed(plain()));
    });

    test("new Headers() copies it, and a copy goes its own way", () => {
      const headers = open();
      const copy = new Headers(headers);
      assert.deepEqual([...copy], [...plain()]);
      copy.set("host", "other");
      assert.equal(headers.get("host"), "localhost");
      assert.deepEqual([...new Request("http://x", { headers: open() }).headers], [...plain()]);
    });

    test("what it came from is not changed", () => {
      const headers = open();
      headers.set("host", "other");
      assert.equal(RAW.host, "localhost");
    });

    test("its size is that of HTTP/2's header list: names, values and 32 bytes each", () => {
      // Two values of a header count as one with a comma in between.
      const joined: [string, string][] = [
        ["content-type", "application/proto"],
        ["x-many", "one, two"],
        ["host", "localhost"],
      ];
      const size = (all: readonly (readonly [string, string])[]) =>
        all.reduce((sum, [key, value]) => sum + key.length + value.length + 32, 0);
      const { "set-cookie": _, ...raw } = RAW;
      const headers = new LazyHeaders(raw);
      fill(headers);
      assert.equal(LazyHeaders.sizeOf(headers), size(joined));
    });
  });
}

test("it is read as it came: nothing is copied before it is changed or iterated over", () => {
  const raw: Record<string, string> = { "x-a": "1" };
  const headers = new LazyHeaders(raw);
  assert.equal(headers.get("x-a"), "1");
  raw["x-a"] = "2";
  assert.equal(headers.get("x-a"), "2");
  void [...headers];
  raw["x-a"] = "3";
  assert.equal(headers.get("x-a"), "2");
});

describe("from a list", () => {
  const LISTS: Record<string, [name: string, value: string][]> = {
    "in another order": [
      ["x-b", "2"],
      ["x-a", "1"],
    ],
    "repeated, between others": [
      ["x-a", "1"],
      ["x-b", "2"],
      ["x-a", "3"],
    ],
    cookies: [
      ["set-cookie", "a=1"],
      ["x-a", "1"],
      ["set-cookie", "b=2"],
    ],
    "with names of an object's own": [
      ["constructor", "1"],
      ["__proto__", "2"],
      ["tostring", "3"],
    ],
  };

  test.each(Object.entries(LISTS))("%s: they are as in real Headers", (_, list) => {
    const [lazy, real] = [LazyHeaders.from(list), new Headers(list)];
    for (const headers of [lazy, real]) headers.set("x-later", "9");
    for (const name of ["x-a", "x-b", "set-cookie", "constructor", "__proto__", "toString", "x-later"])
      assert.equal(lazy.get(name), real.get(name), name);
    const seen: [string, string][] = [];
    lazy.forEach((value, name) => void seen.push([name, value]));
    assert.deepEqual(seen, [...real]);
    assert.deepEqual([...lazy], [...real]);
  });

  test("without one there are none", () => {
    assert.deepEqual([...LazyHeaders.from()], []);
  });
});
