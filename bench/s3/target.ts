import { startMoto, startRadosgw } from '../../test/s3-servers/start.ts';
import { givenTarget, type S3Target } from '../../test/s3-servers/targets.ts';

const say = (line: string): void => void process.stderr.write(`s3: ${line}\n`);

/** A server to measure on, and what a reader of the figures must know of it. */
export interface Ground {
  readonly target: S3Target;
  readonly description: string;
}

const start = async (signal: AbortSignal) => {
  try {
    const server = await startRadosgw({ say, signal });
    return { server, note: 'started for this run, on the same machine, everything in memory' };
  } catch (error) {
    signal.throwIfAborted();
    say(`radosgw cannot be had: ${error instanceof Error ? error.message : error}`);
    const server = await startMoto({ say, signal });
    return { server, note: 'a mock in Python that bounds whatever it serves; radosgw could not be had' };
  }
};

/** Runs `use` with the server that S3_ENDPOINT names, or with one that is started for it and stopped after it. */
export const withGround = async <T>(use: (ground: Ground) => Promise<T>): Promise<T> => {
  const given = givenTarget();
  if (given !== undefined)
    return use({ target: given, description: `${given.name}, as S3_ENDPOINT names it` });
  const interruption = new AbortController();
  const abort = (): void => interruption.abort(new Error('interrupted'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, abort);
  const { server, note } = await start(interruption.signal);
  try {
    const result = await use({ target: server, description: `${server.name} ${server.version}, ${note}` });
    const [how] = server.ended;
    if (how !== undefined) throw new Error(`${how} while it was measured`);
    return result;
  } catch (error) {
    if (server.ended.length > 0) say(await server.lastWords());
    throw error;
  } finally {
    await server.stop();
  }
};
