import { askFor } from '../lib/ask.ts';
import { Child } from '../lib/child.ts';
import type { ServerVariant } from '../s3-variants.ts';

const timeoutMs = 600_000;

interface Answer {
  readonly status: number;
  readonly body: string;
}

interface Uploaded {
  readonly elapsedMs: number;
  readonly answers: readonly Answer[];
}

/** A server that fails fast must not look like one that is fast. */
const assertComplete = ({ status, body }: Answer, size: number): void => {
  if (status === 200 && body === String(size)) return;
  throw new Error(`expected 200 and "${size}", got ${status} and ${JSON.stringify(body)}`);
};

/** The load, in a process of its own: speaks to servers of one kind. */
export class Client {
  readonly #child = new Child(new URL('../servers/s3-client.js', import.meta.url), []);
  readonly #protocol: ServerVariant['protocol'];

  constructor({ protocol }: ServerVariant) {
    this.#protocol = protocol;
  }

  /** So many uploads at once. Resolves with the milliseconds until all had their answers, if those were right. */
  async upload(port: number, size: number, uploads = 1): Promise<number> {
    const { elapsedMs, answers } = await this.#ask<Uploaded>('upload', { port, size, uploads });
    for (const answer of answers) assertComplete(answer, size);
    return elapsedMs;
  }

  /** Begins an upload and resets its connection after `bytes` of it. Resolves with its path. */
  cut(port: number, size: number, bytes: number): Promise<string> {
    return this.#ask('cut', { port, size, bytes });
  }

  /** Resolves with how many bytes a server says it has of the upload. */
  ask(port: number, path: string, size: number): Promise<number> {
    return this.#ask('ask', { port, path, size });
  }

  /** Sends the bytes from `start` on, and resolves when the upload is complete. */
  async resume(port: number, path: string, size: number, start: number): Promise<void> {
    assertComplete(await this.#ask<Answer>('resume', { port, path, size, start }), size);
  }

  stop(): Promise<void> {
    return this.#child.stop();
  }

  #ask<T>(name: string, question: object): Promise<T> {
    return askFor<T>(this.#child, name, { ...question, protocol: this.#protocol }, timeoutMs);
  }
}
