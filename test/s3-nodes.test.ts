import { expect, test } from 'vitest';
import { runNodes } from './support/s3-nodes-run.ts';

// `npm run test:s3-nodes` does the same with more uploads, and on real servers.

test('three processes over one bucket, killed throughout: every upload ends once, and nothing is left', async () => {
  const outcome = await runNodes({ seed: 1, uploads: 3, nodes: 3, clients: 3 });
  expect(outcome.wrong).toEqual([]);
  expect(outcome.equal).toBe(3);
  expect(outcome.kills).toBeGreaterThan(0);
}, 90_000);
