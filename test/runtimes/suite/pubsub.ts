import { text } from "fairlead";
import type { Case } from "./case.js";
import { equal, until, wait } from "./expect.js";

export const pubsub: Case[] = [
  {
    name: "subscribe() gets the events in order, decoded by their media type",
    needs: ["streams", "duplex"],
    async run({ fl, id }) {
      const got: unknown[] = [];
      const onOpen = async () => {
        await fl.pubsub().publish(id, { n: 1 });
        await fl.pubsub().publish(id, "two");
        await fl.pubsub().publish(id, new Uint8Array([3]));
      };
      for await (const { data, contentType } of fl.pubsub().subscribe(id, { group: id, onOpen })) {
        got.push(`${contentType} ${data instanceof Uint8Array ? data.join() : JSON.stringify(data)}`);
        if (got.length === 3) break;
      }
      const expected = ['application/json {"n":1}', 'text/plain "two"', "application/octet-stream 3"];
      equal(got.join(), expected.join(), "the events");
    },
  },
  {
    name: "an event that is given back comes again, one that fails too often goes to the dead letters",
    needs: ["streams", "duplex"],
    async run({ fl, id }) {
      const options = { group: id, deadLetterTopic: `${id}-dead` };
      const letters: string[] = [];
      const ended = new AbortController();
      let isOpen = false;
      const dead = (async () => {
        const onOpen = () => {
          isOpen = true;
        };
        for await (const letter of fl.pubsub().subscribe<string>(`${id}-dead`, { group: id, onOpen })) {
          letters.push(`${letter.data} ${letter.metadata["deadLetterReason"] !== undefined}`);
          letter.ack();
          break;
        }
      })();
      await until(() => isOpen);
      let deliveries = 0;
      let isPublished: Promise<void> | undefined;
      const onOpen = () => {
        isPublished = fl.pubsub().publish(id, "pear");
      };
      const trying = (async () => {
        const events = fl.pubsub().subscribe(id, { ...options, onOpen, manual: true, signal: ended.signal });
        for await (const event of events) {
          deliveries++;
          event.retry();
        }
      })();
      await dead;
      await isPublished;
      ended.abort();
      await trying.catch(() => {});
      equal(letters.join(), "pear true", "the dead letter");
      equal(deliveries, 3, "deliveries before that");
    },
  },
  {
    name: "pubsub.serve(): the server calls AppCallback through the tunnel",
    needs: ["serve"],
    async run({ id, another }) {
      const app = another(id);
      const got: string[] = [];
      const handler = ({ data }: { data: string }) => {
        got.push(data);
        return got.length === 1 ? ("retry" as const) : ("success" as const);
      };
      const serving = await app.pubsub.serve<Record<string, string>>({ [id]: { handler, codec: text() } });
      await serving.ready;
      // The group begins when the server has asked what the app wants: what comes before is for nobody.
      for (; got.length < 2; await wait(50)) await another().pubsub().publish(id, "pear");
      equal(got[0], "pear", "the event");
      equal(got[1], "pear", "the event again, after `retry`");
      await serving.close();
    },
  },
];
