import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askFor } from '../../bench/lib/ask.ts';
import { Child } from '../../bench/lib/child.ts';

const MiB = 2 ** 20;
const KiB = 1024;

describe('a client whose connections stand still', () => {
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => sockets.push(socket));
  const client = new Child(new URL('../../bench/servers/interrupted-client.js', import.meta.url), []);
  const stallMs = 200;
  let facts: { readonly sentBytes: number; readonly stalls: ReadonlyArray<readonly [number, number]> };

  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const uploads = { first: 0, uploads: 1, concurrency: 1, size: 64 * MiB }; // more than any system takes
    const times = { stallMs, answerMs: 10_000, limitMs: 3 * stallMs };
    facts = await askFor(client, 'upload', { protocol: 'restart', port, ...uploads, ...times }, 20_000);
  });

  afterAll(async () => {
    await client.stop();
    const closed = once(server, 'close');
    server.close();
    await closed;
  });

  test('has stood still since the system took its last slice', () => {
    expect(facts.stalls.length).toBeGreaterThan(0);
    // A timer may be early by less than the millisecond that it counts in.
    for (const [from, to] of facts.stalls) expect(to - from).toBeGreaterThan(stallMs - 1);
  });

  test('has not sent what it cast off', async () => {
    let arrived = 0;
    for (const socket of sockets) {
      for await (const chunk of socket) arrived += (chunk as Buffer).length;
    }
    expect(facts.sentBytes).toBeGreaterThan(256 * KiB);
    expect(facts.sentBytes).toBeLessThanOrEqual(arrived);
  });
});
