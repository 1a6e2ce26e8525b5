import { randomBytes } from 'node:crypto';
import type { Range } from '../../src/intervals.ts';

// Where everything of an upload is, below the store's prefix:
//
//     ID/record/VERSION            versions of the record
//     ID/fragment/LIFE/START-END-AT-BY
//                                  bytes that were held when a request ended, or memory did
//     ID/content                   the content, while it is made and after
//     ID/discarded                 its content is of no use any more
//     resumable-http-probe-BY      for a moment, while a process finds out what the bucket can do
//
// LIFE tells an upload from another that has had the same id before, whose last fragments may come late.

export type Place =
  | { readonly kind: 'record'; readonly version: number }
  | ({ readonly kind: 'fragment'; readonly life: string; readonly at: number } & Range)
  | { readonly kind: 'content' | 'discarded' };

const probePrefix = 'resumable-http-probe-';
const probe = /^resumable-http-probe-[\w-]{12}$/;

const digits = 16;
const padded = (number: number): string => String(number).padStart(digits, '0');

export class Keys {
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
  }

  folder(id: string): string {
    return `${this.prefix}${id}/`;
  }

  record(id: string, version: number): string {
    return `${this.folder(id)}record/${padded(version)}`;
  }

  fragment(
    { id, life }: { readonly id: string; readonly life: string },
    { start, end }: Range,
    at: number,
  ): string {
    const by = randomBytes(9).toString('base64url');
    return `${this.folder(id)}fragment/${life}/${padded(start)}-${padded(end)}-${padded(at)}-${by}`;
  }

  content(id: string): string {
    return `${this.folder(id)}content`;
  }

  discarded(id: string): string {
    return `${this.folder(id)}discarded`;
  }

  /** Of an object that is there only to be tried on. */
  probe(): string {
    return `${this.prefix}${probePrefix}${randomBytes(9).toString('base64url')}`;
  }

  isProbe(key: string): boolean {
    return key.startsWith(this.prefix) && probe.test(key.slice(this.prefix.length));
  }

  /** The upload whose folder a key is in. Undefined where that is none of ours. */
  idOf(key: string): string | undefined {
    if (!key.startsWith(this.prefix)) return undefined;
    return /^([\w-]{16,64})\//.exec(key.slice(this.prefix.length))?.[1];
  }

  /** Undefined for a key that is none of ours. */
  place(id: string, key: string): Place | undefined {
    const rest = key.slice(this.folder(id).length);
    if (rest === 'content' || rest === 'discarded') return { kind: rest };
    const record = /^record\/(\d{16})$/.exec(rest);
    if (record !== null) return { kind: 'record', version: Number(record[1]) };
    const fragment = /^fragment\/([\w-]+)\/(\d{16})-(\d{16})-(\d{16})-[\w-]+$/.exec(rest);
    if (fragment === null) return undefined;
    const [, life = '', ...numbers] = fragment;
    const [start, end, at] = numbers.map(Number) as [number, number, number];
    return { kind: 'fragment', life, start, end, at };
  }
}
