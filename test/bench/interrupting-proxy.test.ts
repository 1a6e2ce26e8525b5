import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { type CutSchedule, everyBytes, randomTime, uncut } from '../../bench/lib/cut-schedules.ts';
import { type InterruptingProxy, interruptingProxy } from '../../bench/lib/interrupting-proxy.ts';
import { Line } from '../../bench/lib/line.ts';
import { seededRandom } from '../../bench/lib/random.ts';

/** One connection as the server saw it. */
class Seen {
  readonly socket: Socket;
  readonly chunks: Buffer[] = [];
  ended = false;
  error: NodeJS.ErrnoException | undefined;
  readonly closed: Promise<unknown>;

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('data', (chunk: Buffer) => this.chunks.push(chunk));
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error) => {
      this.error = error;
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Ground {
  readonly proxy: InterruptingProxy;
  readonly seen: readonly Seen[];
  /** A new connection to the proxy, and the server's end of it. */
  connected(): Promise<[client: Seen, server: Seen]>;
}

/** A server that only listens, behind a proxy. */
const ground = async (schedule: CutSchedule, line?: Line): Promise<Ground> => {
  const seen: Seen[] = [];
  let arrived: ((connection: Seen) => void) | undefined;
  const server = createServer((socket) => {
    const connection = new Seen(socket);
    seen.push(connection);
    arrived?.(connection);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUps.push(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const { socket } of seen) socket.destroy();
    await closed;
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const proxy = await interruptingProxy({ target: address.port, schedule, random: seededRandom(1), line });
  cleanUps.push(() => proxy.close());
  const connected = async (): Promise<[Seen, Seen]> => {
    const accepted = new Promise<Seen>((resolve) => {
      arrived = resolve;
    });
    const client = new Seen(connect({ port: proxy.port, host: '127.0.0.1' }));
    cleanUps.push(async () => client.socket.destroy());
    return [client, await accepted];
  };
  return { proxy, seen, connected };
};

const head = (track: string, length: number): string =>
  `POST / HTTP/1.1\r\nX-Track: ${track}\r\nContent-Length: ${length}\r\n\r\n`;

/** A request of exactly that many bytes. */
const request = (track: string, total: number): Buffer => {
  const bytes = Buffer.alloc(total);
  seededRandom(2).fill(bytes);
  const text = head(track, total - head(track, total).length);
  // The number of digits may be that of the total.
  const fitted = head(track, total - text.length);
  bytes.write(fitted, 'latin1');
  return bytes;
};

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Resolves when the server's end has so many bytes. */
const received = async (connection: Seen, bytes: number): Promise<void> => {
  while (connection.bytes.length < bytes) await once(connection.socket, 'data');
};

/** Long enough for anything that is wrong to arrive over loopback. */
const quietMs = 100;

describe('the proxy that interrupts', () => {
  test('passes everything on, both ways, where nothing is cut, and tells heads from bodies', async () => {
    const { proxy, connected } = await ground(uncut);
    const [client, server] = await connected();
    const sent = request('1 0', 3_000_000);
    client.socket.write(sent);
    await received(server, sent.length);
    expect(sha256(server.bytes)).toBe(sha256(sent));
    server.socket.end('answer');
    await client.closed;
    expect(client.bytes.toString()).toBe('answer');
    const headBytes = sent.indexOf('\r\n\r\n') + 4;
    expect(proxy.stats).toMatchObject({
      connections: 1,
      requests: 1,
      headBytes,
      cuts: { rst: 0, fin: 0, stall: 0 },
    });
    expect(proxy.stats.bodyBytes).toBe(sent.length - headBytes);
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('fin: delivers exactly the bytes up to the cut, in order, and then ends both', async () => {
    const cutAt = 1_000_003;
    const { proxy, connected } = await ground(everyBytes(cutAt, 'fin'));
    const [client, server] = await connected();
    const sent = request('1 0', 2_500_000);
    client.socket.write(sent);
    await Promise.all([client.closed, server.closed]);
    expect(sha256(server.bytes)).toBe(sha256(sent.subarray(0, cutAt)));
    expect([server.ended, server.error]).toEqual([true, undefined]);
    expect([client.ended, client.error]).toEqual([true, undefined]);
    expect(proxy.stats.cuts).toEqual({ rst: 0, fin: 1, stall: 0 });
    expect(proxy.stats.headBytes + proxy.stats.bodyBytes).toBe(cutAt);
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('rst: resets both, and the server has a part of what came before the cut', async () => {
    const cutAt = 500_000;
    const { proxy, connected } = await ground(everyBytes(cutAt, 'rst'));
    const [client, server] = await connected();
    const sent = request('1 0', 1_000_000);
    client.socket.write(sent);
    await Promise.all([client.closed, server.closed]);
    expect(server.error?.code).toBe('ECONNRESET');
    expect(['ECONNRESET', 'EPIPE']).toContain(client.error?.code);
    const got = server.bytes;
    expect(got.length).toBeLessThanOrEqual(cutAt);
    expect(sha256(got)).toBe(sha256(sent.subarray(0, got.length)));
    expect(proxy.stats.cuts).toEqual({ rst: 1, fin: 0, stall: 0 });
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('stall: passes nothing more, either way, and tells neither end', async () => {
    const cutAt = 300_000;
    const { proxy, connected } = await ground(everyBytes(cutAt, 'stall'));
    const [client, server] = await connected();
    client.socket.write(request('1 0', 600_000));
    await received(server, cutAt);
    server.socket.write('answer');
    await sleep(quietMs);
    expect(server.bytes.length).toBe(cutAt);
    expect(client.bytes.length).toBe(0);
    for (const { socket, ended, error } of [client, server]) {
      expect([socket.destroyed, ended, error]).toEqual([false, false, undefined]);
    }
    expect(proxy.stats.cuts).toEqual({ rst: 0, fin: 0, stall: 1 });
    // Its client gives it up and comes back: the server's end hears nothing of that either.
    client.socket.destroy();
    const [again, far] = await connected();
    again.socket.write(head('1 0', 0));
    await received(far, head('1 0', 0).length);
    await sleep(quietMs);
    expect([server.socket.destroyed, server.ended, server.error]).toEqual([false, false, undefined]);
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('cuts each connection by its own bytes, whatever passes over others', async () => {
    const cutAt = 200_000;
    const { proxy, seen, connected } = await ground(everyBytes(cutAt, 'fin'));
    const pairs = [await connected(), await connected(), await connected()];
    for (const [i, [client]] of pairs.entries()) client.socket.write(request(`${i} 0`, cutAt + 1));
    await Promise.all(pairs.flatMap(([client, server]) => [client.closed, server.closed]));
    expect(seen.map(({ bytes }) => bytes.length)).toEqual([cutAt, cutAt, cutAt]);
    expect(proxy.stats.cuts.fin).toBe(3);
  });

  test('cuts by age too, an idle connection as well', async () => {
    const { proxy, connected } = await ground(randomTime(20, 'rst'));
    const [client, server] = await connected();
    await Promise.all([client.closed, server.closed]);
    expect(server.error?.code).toBe('ECONNRESET');
    expect(proxy.stats.cuts.rst).toBe(1);
  });

  test('measures from a cut to the first new byte of that track, not to one that passes again', async () => {
    const cutAt = 100_000;
    const { proxy, connected } = await ground(everyBytes(cutAt, 'fin'));
    const [client, server] = await connected();
    client.socket.write(request('1 0', 2 * cutAt));
    await Promise.all([client.closed, server.closed]);
    const passed = proxy.stats.bodyBytes;
    // The same bytes again, then another track's: neither is an end of the wait.
    for (const repeated of ['1 0', '2 500000']) {
      const [next, far] = await connected();
      next.socket.write(request(repeated, 1_000));
      await received(far, 1_000);
    }
    expect(proxy.stats.resumeMs).toEqual([]);
    await sleep(quietMs);
    const [again, far] = await connected();
    again.socket.write(request(`1 ${passed}`, 1_000));
    await received(far, 1_000);
    expect(proxy.stats.resumeMs).toHaveLength(1);
    expect(proxy.stats.resumeMs[0]).toBeGreaterThanOrEqual(quietMs - 1);
  });

  test('… and to the first byte of a body that the server had asked for, wherever it begins', async () => {
    const cutAt = 100_000;
    const { proxy, connected } = await ground(everyBytes(cutAt, 'fin'));
    const [client, server] = await connected();
    client.socket.write(request('1 0', 2 * cutAt));
    await Promise.all([client.closed, server.closed]);
    const [again, far] = await connected();
    again.socket.write(request('1 20 asked', 1_000));
    await received(far, 1_000);
    expect(proxy.stats.resumeMs).toHaveLength(1);
  });

  test('makes all connections share one line, and gets every byte through it', async () => {
    const { proxy, connected } = await ground(uncut, new Line(20 * 2 ** 20));
    const pairs = [await connected(), await connected()];
    const before = performance.now();
    const bodies = await Promise.all(
      pairs.map(async ([client, server], i) => {
        const sent = request(`${i} 0`, 2 ** 20);
        client.socket.write(sent);
        await received(server, sent.length);
        return [sha256(server.bytes), sha256(sent)];
      }),
    );
    // 2 MiB at 20 MiB/s; the last chunk is not waited for. Twice as many bytes a second would take 50 ms.
    expect(performance.now() - before).toBeGreaterThan(80);
    for (const [arrived, sent] of bodies) expect(arrived).toBe(sent);
    expect(proxy.stats.requests).toBe(2);
  });

  test('a line carries nothing while nobody uses it, and each byte waits for those before', () => {
    const line = new Line(1_000_000);
    expect(line.take(5_000, 100)).toBe(5);
    expect(line.take(5_000, 100)).toBe(10);
    expect(line.take(1_000, 109)).toBe(2);
    expect(line.take(1_000, 500)).toBe(1);
  });

  test('says which connections the server broke off by itself, within a body', async () => {
    const { proxy, connected } = await ground(uncut);
    const [client, server] = await connected();
    client.socket.write(request('1 0', 50_000).subarray(0, 40_000));
    await received(server, 40_000);
    server.socket.destroy();
    await client.closed;
    expect(proxy.stats.brokenOff).toEqual(['after 40000 bytes: closed']);
  });

  test('and neither those whose client has left, nor those that it has replaced', async () => {
    const { proxy, connected } = await ground(uncut);
    const [left, leftBehind] = await connected();
    left.socket.write(request('1 0', 50_000).subarray(0, 40_000));
    await received(leftBehind, 40_000);
    left.socket.destroy();
    await leftBehind.closed;
    const [older, olderEnd] = await connected();
    older.socket.write(request('2 0', 50_000).subarray(0, 40_000));
    await received(olderEnd, 40_000);
    const [newer, newerEnd] = await connected();
    newer.socket.write(head('2 0', 0));
    await received(newerEnd, head('2 0', 0).length);
    olderEnd.socket.destroy();
    await older.closed;
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('nor those that it closes itself at its end, whichever of their sides is gone first', async () => {
    const { proxy, connected } = await ground(uncut);
    const [client, server] = await connected();
    server.socket.pause();
    // More than the buffers between them hold: both sides of the proxy are busy.
    client.socket.write(request('1 0', 50_000_000));
    await sleep(quietMs);
    await proxy.close();
    expect(proxy.stats.brokenOff).toEqual([]);
  });

  test('says so when nobody listens behind it', async () => {
    const nobody = createServer().listen(0, '127.0.0.1');
    await once(nobody, 'listening');
    const address = nobody.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    nobody.close();
    await once(nobody, 'close');
    const proxy = await interruptingProxy({ target: address.port, schedule: uncut, random: seededRandom(1) });
    cleanUps.push(() => proxy.close());
    const client = new Seen(connect({ port: proxy.port, host: '127.0.0.1' }));
    await client.closed;
    expect(proxy.stats.brokenOff).toHaveLength(1);
    expect(proxy.stats.brokenOff[0]).toContain('ECONNREFUSED');
  });
});
