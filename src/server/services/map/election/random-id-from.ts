/** A random id of 128 bits in hex, from `random`, so that a simulation can repeat it. */
export function randomIdFrom(random: () => number): string {
  const word = () =>
    Math.floor(random() * 2 ** 32)
      .toString(16)
      .padStart(8, "0");
  return word() + word() + word() + word();
}
