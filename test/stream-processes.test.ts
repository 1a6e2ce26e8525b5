import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../bench/lib/random.ts';
import { closeClients } from './support/raw-client.ts';
import {
  ask,
  content,
  handshake,
  type Name,
  open,
  part,
  query,
  type Reply,
  send,
  sha256,
  untilStored,
} from './support/requests.ts';
import { StreamTrack } from './support/stream-track.ts';
import { type Answer, StreamServer } from './support/streaming.ts';

const whole = content(3_000_000);
const { byteLength: length } = whole;
const third = 1_000_000;

const answerOf = ({ body }: Reply): Answer => JSON.parse(body.toString()) as Answer;

describe.each(['fs', 'sqlite'] as const)('two processes stream over one store (%s)', (store) => {
  let directory = '';
  let servers: StreamServer[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'streaming-'));
  });
  afterEach(closeClients);
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.kill()));
    await rm(directory, { recursive: true, force: true });
  });

  /** Two that know of nothing yet; those that no test has killed serve again. */
  const start = async (): Promise<readonly [StreamServer, StreamServer]> => {
    servers = servers.filter((server) => !server.wasKilled);
    for (const server of servers) server.forget();
    await Promise.allSettled(Array.from({ length: 2 - servers.length }, more));
    const [a, b] = servers;
    if (a === undefined || b === undefined) throw new Error('a server did not start');
    return [a, b];
  };

  const more = async (): Promise<StreamServer> => {
    const server = await StreamServer.start(store, directory);
    servers.push(server);
    return server;
  };

  /** The client of `a` has sent so much, `a`'s handler has read it, and the client is cut. */
  const begunAt = async (a: StreamServer, name: Name, range = part(0, length, length)): Promise<void> => {
    const client = await open(a, {
      ...name,
      headers: { 'Content-Range': range },
      ...(!range.includes('*') && { length }),
      body: whole.subarray(0, third),
    });
    await a.untilRead(third);
    client.reset();
    await client.closed;
  };

  const expectAnswered = (reply: Reply, attempt: number): void => {
    expect(reply.status).toBe(201);
    expect(answerOf(reply)).toMatchObject({ attempt, size: length, sha256: sha256(whole) });
  };

  test('the client of one goes on at the other: the handler that has begun gets all bytes, and both have its answer', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length);
    await begunAt(a, name);
    expect((await query(b, name)).headers.range).toBe(`bytes=0-${third - 1}`);
    const part2 = await send(b, name, whole, [third, 2 * third]);
    expect([part2.status, part2.headers.range]).toEqual([308, `bytes=0-${2 * third - 1}`]);
    const last = await send(b, name, whole, [2 * third, length]);
    // The whole is there, and somebody else is at work on it.
    expect([last.status, last.body.byteLength]).toEqual([503, 0]);
    expect(last.headers['retry-after']).toMatch(/^[1-9]\d*$/);
    const since = performance.now();
    const answer = await query(a, name);
    expect(performance.now() - since).toBeLessThan(4000); // nobody sends to it: it looks for what others bring
    expectAnswered(answer, 1);
    for (const again of [await query(b, name), await send(b, name, whole), await query(a, name)]) {
      expect([again.status, again.body]).toEqual([201, answer.body]);
    }
    expect([a.entered.length, b.entered.length]).toEqual([1, 0]);
    expect([a.failures, b.failures]).toEqual([[], []]);
  });

  test('the other also brings the end of what had no length', async () => {
    const [a, b] = await start();
    const name = await handshake(a, '*');
    await begunAt(a, name, 'bytes 0-*/*');
    const rest = { ...name, headers: { 'Content-Range': `bytes ${third}-*/*` } };
    const last = await ask(b, { ...rest, body: whole.subarray(third), chunk: 65_536 });
    expect(last.status).toBe(503);
    const answer = await query(a, name);
    expectAnswered(answer, 1);
    expect((await query(b, name)).body).toEqual(answer.body);
    expect([a.entered.length, b.entered.length]).toEqual([1, 0]);
  });

  test('… and keeps no room for an answer that is not its to give', async () => {
    const [a, b] = await start();
    const kept: number[] = [];
    for (let n = 0; n < 3; n++) {
      const name = await handshake(a, '*');
      await begunAt(a, name, 'bytes 0-*/*');
      const rest = { ...name, headers: { 'Content-Range': `bytes ${third}-*/*` } };
      await ask(b, { ...rest, body: whole.subarray(third) });
      expectAnswered(await query(a, name), 1);
      const files = await readdir(directory, { recursive: true });
      kept.push(files.filter((path) => path.includes('staging/')).length);
      a.forget();
    }
    expect(kept[2]).toBe(kept[0]);
  });

  test('both bring their parts at the same time', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length);
    const first = send(a, name, whole, [0, 2 * third]);
    const second = send(b, name, whole, [2 * third, length]);
    expect([308, 201, 503]).toContain((await second).status);
    expect([308, 201, 503]).toContain((await first).status);
    await expect.poll(async () => (await query(b, name)).status, { timeout: 10_000 }).toBe(201);
    expectAnswered(await query(a, name), 1);
    expect([...a.entered, ...b.entered].map(({ attempt }) => attempt)).toEqual([1]);
  });

  test('kill -9 of the one whose handler has begun: the client goes on at the other, where attempt 2 has the whole', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length);
    await begunAt(a, name);
    await a.kill();
    // What the dead handler had read is stored: nothing of it has to be sent again.
    expect((await query(b, name)).headers.range).toBe(`bytes=0-${third - 1}`);
    const part2 = await send(b, name, whole, [third, 2 * third]);
    expect([part2.status, part2.headers.range]).toEqual([308, `bytes=0-${2 * third - 1}`]);
    expect(b.entered).toEqual([]); // it is entered again when all bytes are there
    expectAnswered(await send(b, name, whole, [2 * third, length]), 2);
    expect(a.entered).toMatchObject([{ attempt: 1 }]);
    expect(a.entered[0]?.stored).toBeLessThan(length);
    expect(b.entered).toMatchObject([{ attempt: 2, stored: length }]);
    expect(b.failures).toEqual([]);
  });

  test('kill -9 of the one whose client is sending: the other process says what is stored', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length);
    const headers = { 'Content-Range': part(0, length, length) };
    const client = await open(a, { ...name, headers, length, body: whole.subarray(0, 2 * third) });
    await a.untilRead(third);
    await a.kill();
    await client.closed;
    const { range = '' } = (await query(b, name)).headers;
    const stored = Number(/^bytes=0-(\d+)$/.exec(range)?.[1]) + 1;
    expect(stored).toBeGreaterThanOrEqual(third);
    expectAnswered(await send(b, name, whole, [stored, length]), 2);
  });

  test('kill -9 of the one that only brings bytes: the handler at the other does not notice', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length);
    await begunAt(a, name);
    const headers = { 'Content-Range': part(third, length, length) };
    const client = await open(b, {
      ...name,
      headers,
      length: length - third,
      body: whole.subarray(third, 2 * third),
    });
    await untilStored(b, name, `bytes=0-${2 * third - 1}`);
    await a.untilRead(2 * third);
    await b.kill();
    await client.closed;
    expect((await query(a, name)).headers.range).toBe(`bytes=0-${2 * third - 1}`);
    expectAnswered(await send(a, name, whole, [2 * third, length]), 1);
    expect([a.entered.length, a.failures]).toEqual([1, []]);
  });

  test('kill -9 of the one that has read all and not answered yet: whoever asks the other gets attempt 2', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length, '/upload?how=hang');
    await begunAt(a, name);
    expect((await send(b, name, whole, [third, length])).status).toBe(503);
    await a.untilRead(length);
    await a.kill();
    const answer = await query(b, name);
    expectAnswered(answer, 2);
    const next = await more();
    expect((await query(next, name)).body).toEqual(answer.body);
    expect(next.entered).toEqual([]);
  });

  test('kill -9 of both: the next one runs the handler before anybody asks', async () => {
    const [a, b] = await start();
    const name = await handshake(a, length, '/upload?how=hang');
    await begunAt(a, name);
    expect((await send(b, name, whole, [third, length])).status).toBe(503);
    await a.untilRead(length);
    await Promise.all([a.kill(), b.kill()]);
    const next = await more();
    expect(next.entered).toMatchObject([{ attempt: 2, stored: length }]);
    expectAnswered(await query(next, name), 2);
    expect(next.entered).toHaveLength(1);
  });
});

// `npm run test:stream` does the same with some hundreds.
test.each(['fs', 'sqlite'] as const)(
  'random uploads, cuts and kills: each is answered by a handler that has read what was sent (%s)',
  async (store) => {
    const directory = await mkdtemp(join(tmpdir(), 'streaming-'));
    const track = await StreamTrack.open(store, directory);
    try {
      const clients = [1, 2, 3].map(async (client) => {
        const wrong: string[] = [];
        for (const run of [1, 2, 3, 4]) wrong.push(...(await track.run(seededRandom(100 * client + run))));
        return wrong;
      });
      expect((await Promise.all(clients)).flat()).toEqual([]);
      await track.close();
      expect([track.failures, await track.unanswered()]).toEqual([[], []]);
      expect(track.tally).toMatchObject({ uploads: 12, equal: 12 });
    } finally {
      await track.close();
      await rm(directory, { recursive: true, force: true });
    }
  },
);
