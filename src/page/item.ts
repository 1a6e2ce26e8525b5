import type { UploadProgress } from '../client/progress.ts';
import type { QueueRecord } from '../client/queue-store.ts';

/**
 * `keeping`: the browser copies the file, so that it outlives the page. `queued`: others are first. `asking`: what the
 * server has is not known yet. `away`: the server does not answer. `lacking`: the file has to be chosen again.
 */
export type Phase =
  | 'keeping'
  | 'queued'
  | 'asking'
  | 'sending'
  | 'away'
  | 'processing'
  | 'paused'
  | 'lacking'
  | 'failed'
  | 'done';

/** One upload, as it is shown. */
export interface Item {
  readonly id: string;
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  readonly phase: Phase;
  /** In bytes; undefined where that is not known yet. */
  readonly sent: number | undefined;
  /** In bytes per second. */
  readonly rate: number;
  readonly etaMs: number;
  /** What was there before this page took it up, in bytes. */
  readonly pickedUpAt: number;
  /** Whether it goes on without the file being chosen again, once the page was closed. */
  readonly isKept: boolean;
  readonly problem: string;
  /** Where the content is, when it is done. */
  readonly link: string;
}

/** How those who look at the uploads have them changed. */
export interface Uploader {
  /** Resolves when what there is from before has been shown. */
  start(): Promise<void>;
  /** The same file, chosen twice, is one upload. */
  add(file: File): Promise<Added>;
  /** Whether it is the file of this upload. */
  isSame(id: string, file: File): Promise<boolean>;
  /** What the server has stays there. */
  pause(id: string): Promise<void>;
  /** Goes on with one that was paused or has failed; returns whether the file for it is there. */
  resume(id: string): Promise<boolean>;
  /** Gives it up, here and at the server; what is done stays there. */
  remove(id: string): Promise<void>;
  /** Tries at once, rather than when the next try is due. */
  hurry(): Promise<void>;
}

/** What a file was, when it was added. */
export type Added = 'new' | 'known' | 'again' | 'done';

/** Failures, however many, are no reason to give up while somebody looks on, and may wait. */
export const patience = {
  maxCount: Number.POSITIVE_INFINITY,
  maxTimeMs: Number.POSITIVE_INFINITY,
  maxMs: 3_000,
} as const;

/** What this page knows of an upload besides its record. */
export interface Seen {
  readonly progress: UploadProgress | undefined;
  /** The last that was known of `sent`. */
  readonly sent: number | undefined;
  readonly pickedUpAt: number;
  readonly hasFile: boolean;
  /** Some tab is at it. */
  readonly isHeld: boolean;
}

/** The queue knows no pause: it leaves alone what has failed, until it is added again. So this is the failure of one that is paused. */
export const pausedCode = 'paused';

export const isPaused = ({ status, error }: QueueRecord): boolean =>
  status === 'failed' && error?.code === pausedCode;

export const itemOf = (record: QueueRecord, seen: Seen): Item => {
  const { id, name, size, file, error, result } = record;
  const phase = phaseOf(record, seen);
  const sent = phase === 'done' ? size : (seen.sent ?? pausedAt(record));
  const isMoving = phase === 'sending';
  return {
    id,
    name,
    size,
    phase,
    sent,
    rate: isMoving ? (seen.progress?.rate ?? 0) : 0,
    etaMs: isMoving ? (seen.progress?.etaMs ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY,
    pickedUpAt: seen.pickedUpAt,
    isKept: file !== undefined || phase === 'done',
    problem: phase === 'failed' ? (error?.message ?? '') : '',
    link: phase === 'done' ? linkOf(result?.body ?? '') : '',
  };
};

const phaseOf = (record: QueueRecord, seen: Seen): Phase => {
  const { status, file, state } = record;
  if (status === 'done') return 'done';
  if (status === 'failed') return isPaused(record) ? 'paused' : 'failed';
  const { progress, isHeld, hasFile } = seen;
  if (!isHeld) return file === undefined && !hasFile ? 'lacking' : 'queued';
  return progressPhase(progress, state?.begun === true);
};

/** Of one that is under way; `isBegun` where the server may have something of it. */
export const progressPhase = (progress: UploadProgress | undefined, isBegun: boolean): Phase => {
  switch (progress?.state) {
    case 'sending':
    case 'done':
      return 'sending';
    case 'processing':
      return 'processing';
    case 'reconnecting':
      return 'away';
    default:
      return isBegun ? 'asking' : 'queued';
  }
};

const pausedAt = ({ error }: QueueRecord): number | undefined => {
  const sent = error?.code === pausedCode ? Number(error.message) : Number.NaN;
  return Number.isFinite(sent) ? sent : undefined;
};

/** The server's answer names what it has made of the upload. */
export const linkOf = (body: string): string => {
  try {
    const answer = JSON.parse(body) as { readonly id?: unknown } | null;
    return typeof answer?.id === 'string' ? `/files/${encodeURIComponent(answer.id)}` : '';
  } catch {
    return ''; // another server's answer: there is nothing to link to
  }
};
