import { UploadError, type UploadErrorCode } from './errors.ts';

/**
 * What an upload can be. Whether all bytes are there is no state: it follows from length and received ranges.
 */
export type UploadState = 'open' | 'claimed' | 'finished' | 'removed';

/** What can change a record. Bytes change no record, so writing is legal or not, but leads nowhere else. */
export type Transition = 'write' | 'state' | 'begin' | 'claim' | 'renew' | 'release' | 'finish' | 'remove';

/**
 * Every legal step. An illegal one has no entry and changes nothing.
 *
 * - `state`: a length, digest or request context is stated for the first time.
 * - `begin`: the handler starts while bytes are still to come. The claim is held beside the state, which stays
 *   `open`, so it is renewed, released and finished from there.
 * - `claim` of a claimed upload is the takeover of a lease that has lapsed.
 * - `release`: the handler failed, all bytes are kept.
 * - `remove` of a finished upload is the application's own doing; no client and no expiry does it.
 */
const transitions: Readonly<Record<UploadState, Readonly<Partial<Record<Transition, UploadState>>>>> = {
  open: {
    write: 'open',
    state: 'open',
    begin: 'open',
    renew: 'open',
    release: 'open',
    claim: 'claimed',
    finish: 'finished',
    remove: 'removed',
  },
  claimed: { claim: 'claimed', renew: 'claimed', release: 'open', finish: 'finished' },
  finished: { remove: 'removed' },
  removed: {},
};

/** Why a step is refused, by the state that refuses it. */
const refusals: Readonly<Record<UploadState, UploadErrorCode>> = {
  open: 'invalid_argument',
  claimed: 'complete',
  finished: 'complete',
  removed: 'gone',
};

/** The state a step leads to. Rejects with `complete` or `gone` where the step is not legal. */
export const next = (state: UploadState, transition: Transition, id: string): UploadState => {
  const to = transitions[state][transition];
  if (to === undefined) {
    throw new UploadError(refusals[state], `an upload that is ${state} cannot ${transition}`, { id });
  }
  return to;
};
