import { createHash } from 'node:crypto';
import { content } from '../support/requests.ts';
import type { Digested } from '../support/service.ts';

// What the table uploads: a title and a film, in whatever form the parser of a route reads.

export type Form = 'multipart' | 'json' | 'urlencoded' | 'bytes';

export interface Message {
  readonly type: string;
  readonly body: Buffer;
  /** What a parser is to have seen of it. */
  readonly seen: Digested;
}

/** Over what a parser found, in the order of the message. */
export class Sum {
  readonly #sum = createHash('sha256');
  #size = 0;

  add(...parts: readonly (string | Uint8Array)[]): this {
    for (const part of parts) {
      this.#sum.update(part);
      this.#size += Buffer.byteLength(part);
    }
    return this;
  }

  /** To be asked for once. */
  get digested(): Digested {
    return { size: this.#size, sha256: this.#sum.digest('hex') };
  }
}

export const sumOf = (...parts: readonly (string | Uint8Array)[]): Digested =>
  new Sum().add(...parts).digested;

const boundary = '----film-4f1c9d';

const multipart = (title: string, film: Uint8Array): Buffer =>
  Buffer.concat([
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\n${title}\r\n`),
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="film"; filename="film.mp4"\r\n`),
    Buffer.from('Content-Type: video/mp4\r\n\r\n'),
    film,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);

/** All films are cut from this one: to make each anew would take longer than to upload it. */
const reel = content(1_000_000);

/** A message of about this length, up to 700,000 bytes; another one for each `take`, up to 1000. */
export const compose = (form: Form, length: number, take: number): Message => {
  const title = `Ça tourne, n° ${take}`;
  const film = reel.subarray(take * 300, take * 300 + length);
  const text = film.subarray(0, Math.floor(length * 0.75)).toString('base64'); // with what urlencoded has to escape
  switch (form) {
    case 'multipart':
      return {
        type: `multipart/form-data; boundary=${boundary}`,
        body: multipart(title, film),
        seen: sumOf(title, film),
      };
    case 'json':
      return {
        type: 'application/json',
        body: Buffer.from(JSON.stringify({ title, text })),
        seen: sumOf(title, text),
      };
    case 'urlencoded':
      return {
        type: 'application/x-www-form-urlencoded',
        body: Buffer.from(new URLSearchParams({ title, text }).toString()),
        seen: sumOf(title, text),
      };
    case 'bytes':
      return { type: 'application/octet-stream', body: film, seen: sumOf(film) };
  }
};
