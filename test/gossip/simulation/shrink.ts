import type { Plan, Step } from "./plan.js";

/**
 * Makes a plan that fails smaller, while it still fails: with fewer steps, then with fewer processes. Stops after
 * `limitMs`. Returns the smallest plan that `fails`.
 */
export async function shrink(
  plan: Plan,
  fails: (plan: Plan) => Promise<boolean>,
  limitMs: number,
): Promise<Plan> {
  const endMs = performance.now() + limitMs;
  let smallest = plan;
  const tries = async (smaller: Plan): Promise<boolean> => {
    if (performance.now() > endMs || !(await fails(smaller))) return false;
    smallest = smaller;
    return true;
  };
  await removeSteps(plan, tries, () => smallest);
  await removeProcesses(tries, () => smallest);
  await removeSteps(plan, tries, () => smallest);
  return smallest;
}

/** Removes halves of the steps, then quarters, and so on down to single ones. */
async function removeSteps(
  plan: Plan,
  tries: (plan: Plan) => Promise<boolean>,
  smallest: () => Plan,
): Promise<void> {
  for (let size = Math.ceil(plan.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < smallest().steps.length; ) {
      const { steps } = smallest();
      const fewer = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (!(await tries({ ...smallest(), steps: fewer }))) at += size;
    }
  }
}

/** Removes the last members that no step names, foreign members and servers. */
async function removeProcesses(tries: (plan: Plan) => Promise<boolean>, smallest: () => Plan): Promise<void> {
  for (let servers = smallest().servers - 1; servers >= 1; servers--) {
    const steps = smallest().steps.filter((step) => !("server" in step) || step.server < servers);
    if (!(await tries({ ...smallest(), servers, steps }))) break;
  }
  for (let members = smallest().members + smallest().foreignMembers - 1; members >= 1; members--) {
    const foreignMembers = Math.max(0, smallest().foreignMembers - 1);
    const steps = smallest().steps.filter((step) => membersOf(step).every((member) => member < members));
    if (!(await tries({ ...smallest(), members: members - foreignMembers, foreignMembers, steps }))) break;
  }
}

const membersOf = (step: Step): number[] =>
  "member" in step ? [step.member] : step.type === "partition" ? step.members : [];
