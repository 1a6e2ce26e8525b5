import { connect, createServer, type Socket } from 'node:net';
import type { ConnectionCut, CutSchedule } from './cut-schedules.ts';
import type { CutMeans } from './cutting-proxy.ts';
import type { Line } from './line.ts';
import { listenOnLoopback } from './loopback.ts';
import type { Random } from './random.ts';
import { type BodyPart, RequestMeter } from './request-meter.ts';

export interface InterruptingProxyOptions {
  /** The server's port on 127.0.0.1. */
  readonly target: number;
  readonly schedule: CutSchedule;
  readonly random: Random;
  /** What clients send shares this; by default there is no limit but the machine's. */
  readonly line?: Line | undefined;
}

export interface InterruptionStats {
  readonly connections: number;
  readonly cuts: Readonly<Record<CutMeans, number>>;
  /** Whose heads have passed. */
  readonly requests: number;
  /** Passed on to the server, though a reset may have thrown it away on its way. */
  readonly headBytes: number;
  readonly bodyBytes: number;
  /** Connections that the server did not accept, or broke off by itself in the middle of a request's body: why. */
  readonly brokenOff: readonly string[];
  /**
   * From each cut to the first byte after it, of the same track, that is new to the server: the first of a body that
   * the server had asked for, or one beyond all that had passed before. A cut that no byte follows has none.
   */
  readonly resumeMs: readonly number[];
}

export interface InterruptingProxy {
  readonly port: number;
  readonly stats: InterruptionStats;
  /** Resolves when every connection is closed. */
  close(): Promise<void>;
}

/** A timer is no finer: what a line would hold back for less waits with what follows it. */
const shortestWaitMs = 1;

/** What is known of those requests that say in `X-Track` that they belong together. */
interface Track {
  /** The end of what has passed. */
  highest: number;
  /** Since when it waits for a new byte to pass. */
  cutAt: number | undefined;
  /** The client's end of its newest connection: it has given up the ones before. */
  newest: Socket | undefined;
  /** Ends of connections that have stalled. */
  readonly stalled: Set<Socket>;
}

/**
 * A TCP proxy on a free port of 127.0.0.1 that cuts each connection by a schedule of its own, and counts what it
 * passes on. `rst` resets both ends: what is on its way is lost. `fin` delivers what had come until then, and ends
 * both. `stall` passes nothing more and tells neither end.
 */
export const interruptingProxy = async (options: InterruptingProxyOptions): Promise<InterruptingProxy> => {
  const { target, schedule, random, line } = options;
  const counts = {
    connections: 0,
    requests: 0,
    headBytes: 0,
    bodyBytes: 0,
    cuts: { rst: 0, fin: 0, stall: 0 },
  };
  const stats = { ...counts, resumeMs: [] as number[], brokenOff: [] as string[] };
  const tracks = new Map<string, Track>();
  const sockets = new Set<Socket>();

  const trackOf = (name: string): Track => {
    const known = tracks.get(name);
    if (known !== undefined) return known;
    const fresh: Track = { highest: 0, cutAt: undefined, newest: undefined, stalled: new Set() };
    tracks.set(name, fresh);
    return fresh;
  };

  const onBody = ({ track: name, end, asked }: BodyPart): void => {
    if (name === undefined) return;
    const track = trackOf(name);
    if (end <= track.highest && !asked) return;
    track.highest = Math.max(track.highest, end);
    if (track.cutAt === undefined) return;
    stats.resumeMs.push(performance.now() - track.cutAt);
    track.cutAt = undefined;
  };

  const serve = (client: Socket): void => {
    stats.connections++;
    const plan = schedule(random);
    const upstream = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true });
    const meter = new RequestMeter(onBody);
    let room = plan !== undefined && 'afterBytes' in plan ? plan.afterBytes : Number.POSITIVE_INFINITY;
    let timer: NodeJS.Timeout | undefined;
    let lineTimer: NodeJS.Timeout | undefined;
    let open = true;
    let failure: string | undefined;

    const cut = ({ means }: ConnectionCut): void => {
      open = false;
      stats.cuts[means]++;
      const track = meter.track === undefined ? undefined : trackOf(meter.track);
      if (track !== undefined) track.cutAt ??= performance.now();
      for (const socket of [client, upstream]) {
        if (means === 'rst') socket.resetAndDestroy();
        // Closing a socket with unread bytes would reset it: what still comes is read, and thrown away.
        else if (means === 'fin') socket.resume().end();
      }
      if (means !== 'stall') return;
      track?.stalled.add(client.pause());
      upstream.resume();
    };
    if (plan !== undefined && 'afterMs' in plan) timer = setTimeout(() => open && cut(plan), plan.afterMs);

    /** The server has ended its side: kept, if it has so left a client that was still sending. */
    const onServerGone = (hadError: boolean): void => {
      const newest = meter.track === undefined ? undefined : trackOf(meter.track).newest;
      const hasLeft = client.readableEnded || client.destroyed;
      if (hasLeft || (newest !== undefined && newest !== client)) return;
      if (!hadError && !meter.inBody) return;
      stats.brokenOff.push(`after ${meter.headBytes + meter.bodyBytes} bytes: ${failure ?? 'closed'}`);
    };

    const forward = (from: Socket, to: Socket, chunk: Uint8Array): void => {
      if (!to.writable || to.write(chunk)) return;
      from.pause();
      to.once('drain', () => open && !(from === client && lineTimer) && from.resume());
    };
    /** Holds the client back until the line has room again. */
    const pace = (ms: number): void => {
      if (ms < shortestWaitMs) return;
      client.pause();
      lineTimer = setTimeout(() => {
        lineTimer = undefined;
        if (open && !upstream.writableNeedDrain) client.resume();
      }, ms);
    };
    const count = (part: Uint8Array): void => {
      const { requests, headBytes, bodyBytes } = meter;
      meter.push(part);
      stats.requests += meter.requests - requests;
      stats.headBytes += meter.headBytes - headBytes;
      stats.bodyBytes += meter.bodyBytes - bodyBytes;
      if (meter.requests === requests || meter.track === undefined) return;
      const track = trackOf(meter.track);
      track.newest = client;
      // A paused socket doesn't see its peer go.
      for (const socket of track.stalled) socket.destroy();
      track.stalled.clear();
    };

    client.on('data', (chunk: Buffer) => {
      if (!open) return;
      const part = chunk.subarray(0, room);
      room -= part.length;
      count(part);
      forward(client, upstream, part);
      if (room === 0 && plan !== undefined) cut(plan);
      else if (line !== undefined) pace(line.take(part.length));
    });
    upstream.on('data', (chunk: Buffer) => {
      if (open) forward(upstream, client, chunk);
    });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      // Lost connections are the point; 'close' follows.
      from.on('error', (error) => {
        if (from === upstream) failure = error.message;
      });
      from.on('end', () => {
        if (!open) return from.destroy();
        if (from === upstream) onServerGone(false);
        to.end();
      });
      from.on('close', (hadError) => {
        sockets.delete(from);
        clearTimeout(timer);
        clearTimeout(lineTimer);
        if (!open) return;
        open = false;
        if (from === upstream && !upstream.readableEnded) onServerGone(hadError);
        if (hadError) to.destroy();
        else to.destroySoon();
      });
    }
  };

  const server = createServer({ allowHalfOpen: true }, serve);
  const port = await listenOnLoopback(server);

  return {
    port,
    stats,
    close: async () => {
      // Not `once` of node:events: a last error of a socket is nobody's.
      const ends = [server, ...sockets].map((end) => new Promise((resolve) => end.once('close', resolve)));
      server.close();
      for (const socket of sockets) socket.destroy();
      await Promise.all(ends);
    },
  };
};
