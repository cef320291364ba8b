import { Code } from "@connectrpc/connect";
import { utf8 } from "../../lib/utf8.js";
import type { DeclareCase } from "../case.js";
import { equal, ok } from "../expect.js";
import { expectMalformed, expectRefusal } from "../expect-refusal.js";
import { eventText, type PubsubCalls } from "./calls.js";

const CLOUD_EVENT = "application/cloudevents+json";

/** Cases of the contents of events. */
export function eventCases(on: DeclareCase<PubsubCalls>): void {
  eventShapeCases(on);
  eventBytesCases(on);
  envelopeCases(on);
  malformedEnvelopeCases(on);
}

function eventShapeCases(on: DeclareCase<PubsubCalls>): void {
  on("PublishEvent", "an event arrives as a CloudEvent 1.0, as the Go server shapes it", async (at) => {
    const stream = await at.subscribe();
    await at.publish("t", "hello");
    const event = await stream.next();
    const { source, type, specVersion, dataContentType, topic, pubsubName } = event;
    equal([source, type, specVersion], ["runtime", "com.runtime.event.sent", "1.0"]);
    equal([dataContentType, topic, pubsubName], ["text/plain", at.own("t"), at.pubsubName]);
    equal(eventText(event), "hello");
  });

  on("PublishEvent", "every event has an id of its own", async (at) => {
    const stream = await at.subscribe();
    for (let i = 0; i < 5; i++) await at.publish("t", "same");
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push((await stream.next()).id);
    equal(new Set(ids).size, 5);
    ok(
      ids.every((id) => id.length >= 8),
      `ids: ${ids}`,
    );
  });

  on("PublishEvent", "the metadata of a publish comes with the event", async (at) => {
    const stream = await at.subscribe();
    await at.publish("t", "x", { metadata: { tenant: "a", trace: "b" } });
    const { metadata } = await stream.next();
    equal([metadata["tenant"], metadata["trace"]], ["a", "b"]);
  });

  on("PublishEvent", "a publish that nobody has subscribed to is OK", async (at) => {
    await at.publish("nobody", "x");
  });

  on("PublishEvent", "events come in publish order", async (at) => {
    const stream = await at.subscribe();
    for (let n = 0; n < 25; n++) await at.publish("t", String(n));
    const seen = [];
    for (let n = 0; n < 25; n++) seen.push(await stream.text());
    equal(
      seen,
      Array.from({ length: 25 }, (_, n) => String(n)),
    );
  });

  on("PublishEvent", "topics are apart, and their names exact", async (at) => {
    const streams = [await at.subscribe({ topic: "t" }), await at.subscribe({ topic: "T" })];
    await at.publish("T", "upper");
    await at.publish("t/x", "below");
    equal(await streams[1]?.text(), "upper");
    await streams[0]?.quiet();
  });

  on(["PublishEvent", "second client"], "a subscriber receives what another client publishes", async (at) => {
    const stream = await at.subscribe({}, await at.second());
    await at.publish("t", "from here");
    equal(await stream.text(), "from here");
  });
}

function eventBytesCases(on: DeclareCase<PubsubCalls>): void {
  const contents: [description: string, data: Uint8Array, contentType: string][] = [
    ["a JSON number with many digits", utf8("0.1234567890123"), "application/json"],
    [
      "JSON with its spaces, and a number beyond float64",
      utf8('{ "b": 12345678901234567890, "a": 1e400 }'),
      "application/json; charset=utf-8",
    ],
    ["what is called JSON and is none", utf8("{not json"), "application/json"],
    ["no bytes at all", new Uint8Array(), "application/json"],
    ["bytes that are no UTF-8", Uint8Array.of(0xff, 0x00, 0xc3), "text/plain"],
    ["a picture", Uint8Array.of(1, 2, 3), "image/png"],
    ["octets", Uint8Array.from({ length: 256 }, (_, i) => i), "application/octet-stream"],
    ["JSON of another media type", utf8("<>&"), "application/foo+json"],
    ["XML", utf8("<a>ж</a>"), "application/xml"],
    ["a type of no one's", Uint8Array.of(0, 127, 128), "application/x-any"],
  ];
  for (const [description, data, dataContentType] of contents) {
    on("PublishEvent", `bytes arrive as they were sent: ${description}`, async (at) => {
      const stream = await at.subscribe();
      await at.publish("t", data, { dataContentType });
      const event = await stream.next();
      equal([event.data, event.dataContentType], [data, dataContentType]);
    });
  }

  on("PublishEvent", "an event may have 1 MiB", async (at) => {
    const stream = await at.subscribe();
    const data = new Uint8Array(1024 ** 2).fill(7);
    await at.publish("t", data, { dataContentType: "application/octet-stream" });
    equal((await stream.next()).data, data);
  });
}

function envelopeCases(on: DeclareCase<PubsubCalls>): void {
  on(
    "PublishEvent",
    "an envelope of the publisher's own keeps its attributes and the text of its data",
    async (at) => {
      const stream = await at.subscribe();
      const data = '{ "b" : 12345678901234567890.10, "a":[1e400,"}\\"]{,:"] }';
      const envelope = `
      { "id":"e1", "source":"/shop", "type":"order.placed", "specversion":"1.0", "subject":"s",
        "time":"2020-01-02T03:04:05Z", "sequence":7, "nothing":null, "datacontenttype":"application/vnd.x+json",
        "topic":"forged", "pubsubname":"forged", "data" : ${data} }`;
      await at.publish("t", envelope, {
        dataContentType: "Application/CloudEvents+JSON; charset=utf-8",
        metadata: { tenant: "a" },
      });
      const event = await stream.next();
      equal(eventText(event), data);
      const { id, source, type, specVersion, dataContentType, topic, pubsubName, metadata } = event;
      equal([id, source, type, specVersion], ["e1", "/shop", "order.placed", "1.0"]);
      equal([dataContentType, topic, pubsubName], ["application/vnd.x+json", at.own("t"), at.pubsubName]);
      const { subject, time, sequence, tenant } = metadata;
      equal([subject, time, sequence, tenant], ["s", "2020-01-02T03:04:05Z", "7", "a"]);
      equal([metadata["topic"], metadata["pubsubname"]], [undefined, undefined], "what was forged");
    },
  );

  const partial: [envelope: string, data: Uint8Array, type: string][] = [
    ['{"specversion":"1.0"}', utf8(""), ""],
    ['{"specversion":"1.0","data":null,"id":null}', utf8("null"), "application/json"],
    ['{"specversion":"1.0","data":"x\\u00e9","datacontenttype":"text/plain"}', utf8("xé"), "text/plain"],
    ['{"specversion":"1.0","data":"x"}', utf8('"x"'), "application/json"],
    ['{"specversion":"1.0","data":{"a":1},"datacontenttype":"text/plain"}', utf8('{"a":1}'), "text/plain"],
    [
      '{"specversion":"1.0","data_base64":"AP+A","datacontenttype":"image/png"}',
      Uint8Array.of(0, 255, 128),
      "image/png",
    ],
  ];
  for (const [envelope, data, type] of partial) {
    on("PublishEvent", `what an envelope leaves out is filled in: ${envelope}`, async (at) => {
      const stream = await at.subscribe();
      await at.publish("t", envelope, { dataContentType: CLOUD_EVENT });
      const event = await stream.next();
      equal([event.data, event.dataContentType], [data, type]);
      ok(event.id.length >= 8, `it has an id: "${event.id}"`);
      equal([event.source, event.type, event.specVersion], ["runtime", "com.runtime.event.sent", "1.0"]);
    });
  }
}

function malformedEnvelopeCases(on: DeclareCase<PubsubCalls>): void {
  const malformed: [description: string, data: string | Uint8Array][] = [
    ["nothing", ""],
    ["null", "null"],
    ["an array", "[]"],
    ["a number", "1"],
    ["a text", '"{}"'],
    ["half an object", "{"],
    ["an id that is no text", '{"specversion":"1.0","id":1}'],
    ["an id with a line break", '{"specversion":"1.0","id":"a\\nb"}'],
    ["a content type with a line break", '{"specversion":"1.0","datacontenttype":"a/b\\r\\nc: d"}'],
    ["a content type that is not ASCII", '{"specversion":"1.0","datacontenttype":"\\u00fc"}'],
    ["an envelope without specversion", '{"id":"1","source":"/a","type":"t"}'],
    ["an envelope of another specversion", '{"specversion":"0.3"}'],
    ["a specversion that is a number", '{"specversion":1.0}'],
    ["base64 that is none", '{"specversion":"1.0","data_base64":"*"}'],
    ["base64 that is no text", '{"specversion":"1.0","data_base64":1}'],
    ["data twice", '{"specversion":"1.0","data":1,"data_base64":"AA=="}'],
    ["no UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ];
  on("PublishEvent", "a content type that is no media type is invalid_argument", async (at) => {
    for (const dataContentType of ["text/plain\r\nx: 1", "a\nb", "\0", "ü", "x".repeat(256)]) {
      await expectMalformed(at.publish("t", "x", { dataContentType }), "data_content_type");
    }
  });

  for (const [description, data] of malformed) {
    on("PublishEvent", `${description} is no CloudEvent, and invalid_argument`, async (at) => {
      const stream = await at.subscribe();
      const call = at.publish("t", data, { dataContentType: CLOUD_EVENT });
      const error = await expectRefusal(call, Code.InvalidArgument);
      ok(error.rawMessage.startsWith("data"), `the field is named: ${error.rawMessage}`);
      await stream.quiet();
    });
  }
}
