import { Member } from "./member.js";
import { cutOptions } from "./network.js";
import type { Step } from "./plan.js";
import type { AnyMember, World } from "./world.js";

/** Makes a step of the plan happen now. */
export function perform(world: World, step: Step): void {
  if ("member" in step) {
    const member = world.members[step.member];
    if (member) performOn(world, member, step);
    return;
  }
  const { type } = step;
  switch (type) {
    case "partition":
      world.log(`members ${step.members.join(", ")} are cut off for ${step.forMs.toFixed(0)} ms`);
      for (const index of step.members) block(world, index, step.isSilent ? "silent" : "refused", step.forMs);
      return;
    case "setClock": {
      world.log(`the clock of ${step.process} ${step.number} is set to ${step.skewMs.toFixed(0)} ms ahead`);
      const server = step.process === "server" ? world.servers[step.number] : undefined;
      if (server) server.process.skewMs = step.skewMs;
      if (step.process === "member") world.setClock(step.number, step.skewMs);
      return;
    }
    case "killServer":
      world.killServer(step.server);
      world.scheduler.after(step.forMs, () => world.startServer(step.server));
      return;
    case "interruptEngine": {
      const connection = world.servers[step.server]?.connection;
      world.log(`server ${step.server} loses the engine for ${step.forMs.toFixed(0)} ms`);
      connection?.interrupt();
      world.scheduler.after(step.forMs, () => connection?.restore());
      return;
    }
  }
}

function performOn(world: World, member: AnyMember, step: Step & { member: number }): void {
  const { index } = member;
  const conditions = world.network.conditionsOf(index);
  switch (step.type) {
    case "set":
      member.set(step.key, `${member.id}-${world.nextWrite()}`.padEnd(step.bytes, "."), step.ttlMs);
      return;
    case "delete":
      member.delete([step.key]);
      return;
    case "clear":
      member.delete([...member.keys()]);
      return;
    case "bulk": {
      const keys = Array.from({ length: step.count }, (_, i) => `k${step.from + i}`);
      if (step.operation === "delete") {
        member.delete(keys);
        return;
      }
      for (const key of keys) member.set(key, `${member.id}-${world.nextWrite()}`);
      return;
    }
    case "sync":
      if (member instanceof Member) world.sync(member).catch(() => {});
      return;
    case "cut":
      cut(world, index);
      return;
    case "delay":
      world.log(`the network of ${member.id} gets slower by ${step.byMs} ms`);
      conditions.latencyMs = [step.byMs / 2, step.byMs];
      world.scheduler.after(step.forMs, () => {
        conditions.latencyMs = world.plan.latencyMs;
      });
      return;
    case "slowReader":
      world.log(`${member.id} reads slowly, ${step.readMs} ms for each message`);
      conditions.readMs = step.readMs;
      world.scheduler.after(step.forMs, () => {
        conditions.readMs = 0;
      });
      return;
    case "killMember":
      world.killMember(index);
      world.scheduler.after(step.forMs, () => world.startMember(index));
      return;
    case "closeMember":
      void world.closeMember(index);
      world.scheduler.after(step.forMs, () => world.startMember(index));
      return;
  }
}

function block(world: World, index: number, blocked: "refused" | "silent", forMs: number): void {
  const conditions = world.network.conditionsOf(index);
  conditions.blocked = blocked;
  cut(world, index);
  world.scheduler.after(forMs, () => {
    conditions.blocked = "no";
  });
}

function cut(world: World, index: number): void {
  for (const connection of world.network.connectionsOf(({ client }) => client.index === index)) {
    const options = cutOptions(world.randomOf(`cut ${index} ${world.scheduler.nowMs}`));
    const { kept, clientMs, serverMs } = options;
    const noticed = `noticed after ${clientMs.toFixed(0)} and ${serverMs.toFixed(0)} ms`;
    world.log(`the stream of ${connection.client.id} is cut after ${kept} more messages, ${noticed}`);
    world.network.cut(connection, options);
  }
}
