import type { ListFilter, StoredUpload } from '../store.ts';
import { isHeld } from './completion.ts';
import { isUnanswered, isWhole } from './facts.ts';

/** Times in milliseconds. */
export interface ExpiryOptions {
  /** Of an open upload since its last progress, and of a refused one since its answer. */
  readonly expiresAfterMs: number;
  /** Of a finished one since its answer. Undefined: for ever. */
  readonly keepCompletedMs?: number | undefined;
  /** Of the tombstone that is left of either. */
  readonly tombstoneMs: number;
}

/** What a sweep has done. */
export interface SweepCounts {
  /** Uploads that were removed: now they are tombstones. */
  readonly expired: number;
  /** Tombstones that were. */
  readonly purged: number;
  /** Uploads that have all bytes, no answer, and nobody at work on them for as long: they are left alone. */
  readonly unanswered: number;
}

/** All that a sweep may have to do with. */
export const sweepFilters = (options: ExpiryOptions, now: number): readonly ListFilter[] => {
  const { expiresAfterMs, keepCompletedMs, tombstoneMs } = options;
  const filters: ListFilter[] = [
    { undiscarded: true },
    { states: ['removed'], idleSince: now - tombstoneMs },
    { states: ['open', 'claimed'], idleSince: now - expiresAfterMs },
    { ownExpiry: true },
    { refused: true, idleSince: now - expiresAfterMs },
  ];
  if (keepCompletedMs !== undefined) filters.push({ states: ['finished'], idleSince: now - keepCompletedMs });
  return filters;
};

/** Whether an upload's time is over. Never of one that is complete, or being read, and has not been answered yet. */
export const hasExpired = (stored: StoredUpload, options: ExpiryOptions, now: number): boolean => {
  const { record, activeAt } = stored;
  const { expiresAfterMs, keepCompletedMs = Number.POSITIVE_INFINITY } = options;
  if (record.state === 'finished') {
    const lifetime = record.refused === true ? Math.min(expiresAfterMs, keepCompletedMs) : keepCompletedMs;
    return activeAt + lifetime <= now;
  }
  if (record.state !== 'open' || activeAt + (record.expiresAfterMs ?? expiresAfterMs) > now) return false;
  return !isWhole(stored) && !isHeld(record);
};

export const isDueTombstone = (
  { record }: StoredUpload,
  { tombstoneMs }: ExpiryOptions,
  now: number,
): boolean => record.state === 'removed' && (record.removedAt ?? 0) + tombstoneMs <= now;

/** Whether somebody should look: complete, and without an answer or anybody at work on one for long. */
export const isNeglected = (stored: StoredUpload, { expiresAfterMs }: ExpiryOptions, now: number): boolean =>
  isUnanswered(stored) && !isHeld(stored.record) && stored.activeAt + expiresAfterMs <= now;
