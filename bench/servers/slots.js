// Where the ranges of an upload lie that consists of nothing but gaps.

const slots = 2 ** 17;
/** Half of each slot is written, so that no two ranges ever touch. */
const slotBytes = 1024;
export const rangeBytes = slotBytes / 2;

/** Of such an upload as a whole, in bytes. */
export const length = slots * slotBytes;

/**
 * Where range number `n` begins: each lies anywhere among those before it, as ranges do that come in no order. An odd
 * factor makes every slot come once.
 * @param {number} n
 */
export const startOf = (n) => ((n * 40_507) % slots) * slotBytes;
