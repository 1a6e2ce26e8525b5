/** Bytes that a seed fixes, so that no two offsets are easily confused. */
export const seededContent = (length: number, seed = 1): Uint8Array => {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
};
