import { setTimeout as sleep } from 'node:timers/promises';

const firstWaitMs = 25;
const longestWaitMs = 800;

/**
 * Asks again for a second and a half, until there is something: some servers (moto) take a multipart upload away a moment
 * before the object is there that it becomes.
 */
export const patiently = async <T>(ask: () => Promise<T | undefined>): Promise<T | undefined> => {
  for (let waitMs = firstWaitMs; ; waitMs *= 2) {
    const answer = await ask();
    if (answer !== undefined || waitMs > longestWaitMs) return answer;
    await sleep(waitMs);
  }
};
