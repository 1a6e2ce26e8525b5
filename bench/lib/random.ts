/** A source of numbers that a seed fixes: what failed once can be run again. */
export interface Random {
  /** In [0, 2^32). */
  uint32(): number;
  /** An integer in [0, limit). */
  below(limit: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
  /** Overwrites `bytes`; nothing repeats within 16 GiB. */
  fill(bytes: Uint8Array): void;
}

/**
 * Mulberry32: 32 bits of state, good enough to choose with and quick enough to fill files. Not for secrets.
 */
export const seededRandom = (seed: number): Random => {
  let state = seed >>> 0;
  const uint32 = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  // 53 bits, so that a limit beyond 2^32 (an offset in a large file) is reached too.
  const below = (limit: number): number =>
    Math.floor(((uint32() >>> 5) * 2 ** 26 + (uint32() >>> 6)) * 2 ** -53 * limit);
  return {
    uint32,
    below,
    pick: (from) => from[below(from.length)] ?? from[0],
    fill: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const whole = bytes.length & ~3;
      for (let i = 0; i < whole; i += 4) view.setUint32(i, uint32(), true);
      for (let i = whole; i < bytes.length; i++) bytes[i] = uint32();
    },
  };
};

export const randomSeed = (): number => Math.floor(Math.random() * 2 ** 32);
