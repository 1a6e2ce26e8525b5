// Uploads at URLs that their clients chose: what those who make them, send them and ask for them agree on.

/** The length of each as a whole, in bytes. */
export const length = 10 * 2 ** 20;

export const nameOf = (number) => `upload-${number}`;

export const pathOf = (number) => `/upload/${nameOf(number)}`;

/** The name in a path; undefined in any other path. */
export const nameIn = (path) => /^\/upload\/(upload-\d+)$/.exec(path)?.[1];
