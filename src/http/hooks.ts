import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { RemovalReason } from '../engine.ts';
import { UploadError } from '../errors.ts';
import type { Range } from '../intervals.ts';
import type { StoredUpload } from '../store.ts';
import type { AnswerHead } from './answer.ts';

// What an application may have a say in. All hooks are awaited. One that throws is a failure of the request at hand
// (`authorize`, `onCreate`) or is reported (`onError`), and costs no byte that is stored.

/** What a running service knows of an upload. */
export interface UploadStatus {
  /** Names the content; is not the secret with which the upload could be resumed. */
  readonly id: string;
  readonly state: 'open' | 'claimed' | 'finished';
  /** Of the whole, in bytes. */
  readonly length: number | undefined;
  readonly received: readonly Range[];
  readonly metadata: Readonly<Record<string, string>>;
  /** How often the handler was entered. */
  readonly attempt: number;
}

/**
 * A request is not to be served: its status (401, 403, 404, …), alone or with header fields and a body; by default
 * an `application/problem+json`. A 404 looks as that of an upload that never was.
 */
export type Refusal =
  | number
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    };

/** What the application lays down for a new upload. */
export interface UploadTerms {
  /** Added to what `ResumableOptions.metadata` says. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** In the place of `ResumableOptions.expiresAfterMs`, while the upload is open. */
  readonly expiresAfterMs?: number;
  /** Below `ResumableOptions.maxLength`, in bytes. */
  readonly maxLength?: number;
}

type Awaitable<T> = T | Promise<T>;

export interface Hooks {
  /**
   * Whether a request may have to do with uploads at all, and with this one: called before anything is revealed
   * or stored, for every request that is no pass-through, queries too. `upload` is undefined where there is none.
   * A refusal is the answer.
   */
  readonly authorize?: (
    req: IncomingMessage,
    upload: UploadStatus | undefined,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook that returns nothing allows everything
  ) => Awaitable<Refusal | undefined | void>;
  /**
   * An upload is about to be made. A refusal is the answer, and nothing is; terms are kept with it. Two requests that
   * begin one name at the same moment may both come here.
   */
  readonly onCreate?: (
    req: IncomingMessage,
    upload: { readonly id: string; readonly length: number | undefined },
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook that returns nothing changes nothing
  ) => Awaitable<{ readonly refuse: Refusal } | UploadTerms | undefined | void>;
  /**
   * More of an upload has become safe while its body is still coming. Not called again before it is done; what came
   * meanwhile is told at once. What the end of a request makes safe, the next one tells, or `onComplete`.
   */
  readonly onCheckpoint?: (upload: UploadStatus) => unknown;
  /**
   * The handler's answer is stored, and about to be sent: called once, by the process that stored it. A crash in
   * between loses the call, so work that must not be lost belongs into the handler.
   */
  readonly onComplete?: (upload: UploadStatus, answer: { readonly status: number }) => unknown;
  /** An upload is no more, without having been complete. */
  readonly onAbort?: (upload: UploadStatus, reason: RemovalReason) => unknown;
}

export const statusOf = ({ record, received }: Pick<StoredUpload, 'record' | 'received'>): UploadStatus => {
  const { id, state, length, metadata, attempt } = record;
  return { id, state: state === 'removed' ? 'open' : state, length, received, metadata, attempt };
};

/** Throws `invalid_argument` for a term that is none. */
export const checkedTerms = <T extends UploadTerms>(terms: T): T => {
  for (const name of ['expiresAfterMs', 'maxLength'] as const) {
    const value = terms[name];
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) continue;
    throw new UploadError('invalid_argument', `${name} must be a safe integer`, { actual: value });
  }
  return terms;
};

/** The response that a refusal is; `unknown` is that of an upload that never was. */
export const refusalHead = (refusal: Refusal, unknown: AnswerHead): AnswerHead => {
  const { status, headers, body } =
    typeof refusal === 'number' ? ({ status: refusal } as Exclude<Refusal, number>) : refusal;
  if (!Number.isInteger(status) || status < 400 || status > 599) {
    throw new UploadError('invalid_argument', 'a refusal has a status of 4xx or 5xx', { actual: status });
  }
  if (status === 404 && body === undefined) return { ...unknown, headers: merged(unknown.headers, headers) };
  const reason = STATUS_CODES[status] ?? 'Refused';
  const text = body ?? JSON.stringify({ type: 'about:blank', title: reason, status, code: 'refused' });
  const fields = {
    'Content-Type': body === undefined ? 'application/problem+json' : 'text/plain; charset=utf-8',
    'Cache-Control': 'no-store',
    'Content-Length': String(Buffer.byteLength(text)),
  };
  return { status, reason, headers: merged(fields, headers), body: text };
};

/** Our fields, and the application's: in their place, however it writes their names. But the length is known here. */
const merged = (ours: AnswerHead['headers'], theirs: Readonly<Record<string, string>> = {}) => {
  const said = new Map(Object.entries(theirs).map(([name, value]) => [name.toLowerCase(), [name, value]]));
  said.delete('content-length');
  const kept = Object.entries(ours).filter(([name]) => !said.has(name.toLowerCase()));
  return Object.fromEntries([...kept, ...said.values()]) as AnswerHead['headers'];
};

/** Calls `hook` once at a time: what is asked for meanwhile is one more call, with what is true then. */
export const oneAtATime = (
  hook: () => Promise<void>,
): { (): void; readonly settled: () => Promise<void> } => {
  let running: Promise<void> | undefined;
  let again = false;
  const call = (): void => {
    if (running !== undefined) again = true;
    else {
      running = hook().finally(() => {
        running = undefined;
        if (again) {
          again = false;
          call();
        }
      });
    }
  };
  const settled = async (): Promise<void> => {
    while (running !== undefined) await running;
  };
  return Object.assign(call, { settled });
};
