import type { UploadProgress } from '../client/progress.ts';
import type { QueueEntry } from '../client/queue.ts';

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
  retryNow(): void;
}

/** What a file was, when it was added. */
export type Added = 'new' | 'known' | 'again' | 'done';

/** Failures, however many, are no reason to give up while somebody looks on, and may wait. */
export const patience = {
  maxCount: Number.POSITIVE_INFINITY,
  maxTimeMs: Number.POSITIVE_INFINITY,
  maxMs: 3_000,
} as const;

/** What this page has seen of an upload, besides what its queue says. */
export interface Seen {
  /** The last that was known of `sent`. */
  readonly sent: number | undefined;
  readonly pickedUpAt: number;
}

export const itemOf = (entry: QueueEntry, seen: Seen): Item => {
  const { id, name, size, isKept, error, result, progress } = entry;
  const phase = phaseOf(entry);
  return {
    id,
    name,
    size,
    phase,
    sent: sentOf(entry, seen),
    ...movementOf(phase, progress),
    pickedUpAt: seen.pickedUpAt,
    isKept: isKept || phase === 'done',
    problem: phase === 'failed' ? (error?.message ?? '') : '',
    link: phase === 'done' ? (result?.location ?? '') : '',
  };
};

/** How fast, and how long still: of one that is being sent. */
export const movementOf = (
  phase: Phase,
  progress: UploadProgress | undefined,
): Pick<Item, 'rate' | 'etaMs'> => {
  const isMoving = phase === 'sending' && progress !== undefined;
  const { rate, etaMs } = isMoving ? progress : { rate: 0, etaMs: Number.POSITIVE_INFINITY };
  return { rate, etaMs };
};

/** The queue says it exactly of what is paused; of the others the page has seen the last. */
const sentOf = ({ status, size, sent }: QueueEntry, seen: Seen): number | undefined => {
  if (status === 'done') return size;
  return status === 'paused' ? (sent ?? seen.sent) : (seen.sent ?? sent);
};

const phaseOf = ({ status, isActive, isAtHand, isBegun, progress }: QueueEntry): Phase => {
  if (status !== 'waiting') return status;
  if (!isActive) return isAtHand ? 'queued' : 'lacking';
  return progressPhase(progress, isBegun);
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
