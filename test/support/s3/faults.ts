import type { Call } from './calls.ts';
import type { S3Operation } from './operations.ts';

/**
 * What goes wrong:
 *
 * - `reset`: the connection is reset, and the client gets no answer;
 * - `status`: the client gets this error for an answer;
 * - `delay`: nothing but the wait;
 * - `slow`: the body trickles, whichever way it goes;
 * - `cut`: the answer's body breaks off, and the connection ends;
 * - `short`: the answer's body ends too soon, and its length says that this is all.
 */
export type FaultKind = 'reset' | 'status' | 'delay' | 'slow' | 'cut' | 'short';

export interface Fault {
  /** Which of the calls made from now on, counted from 1; every one where it is left out. */
  readonly nth?: number | readonly number[];
  /** Calls that it returns false for are not counted. */
  readonly match?: (call: Call) => boolean;
  /** `before`: the call then has no effect. `after`: it has had it. Of `slow`, `cut` and `short` it says nothing. */
  readonly when?: 'before' | 'after';
  readonly what: FaultKind;
  /**
   * Of `status`: 500 unless said otherwise. 200 is an error in the body of a 200, as CompleteMultipartUpload, CopyObject
   * and UploadPartCopy may give.
   */
  readonly status?: number;
  /** Of `status`: by default what goes with the status. */
  readonly code?: string;
  /** How long to wait first, whatever it is. */
  readonly delayMs?: number;
  /** What to wait for first, whatever it is. A function is called when the call has come so far. */
  readonly until?: Promise<unknown> | (() => Promise<unknown>);
  /**
   * Of `reset` before the effect: once that much of the request's body has come. Of `cut` and `short`: once that
   * much of the answer's body is sent, by default half.
   */
  readonly afterBytes?: number;
  /** Of `slow`. */
  readonly bytesPerSecond?: number;
}

export interface FaultRule {
  readonly fault: Fault;
  /** How often it happened. */
  readonly fired: number;
  /** Never again. */
  remove(): void;
}

interface Rule {
  readonly operation: S3Operation | 'any';
  readonly fault: Fault;
  seen: number;
  fired: number;
}

export const codeOfStatus: Readonly<Record<number, string>> = {
  200: 'InternalError',
  400: 'RequestTimeout',
  403: 'AccessDenied',
  404: 'NoSuchKey',
  409: 'ConditionalRequestConflict',
  412: 'PreconditionFailed',
  500: 'InternalError',
  501: 'NotImplemented',
  503: 'SlowDown',
};

export class Faults {
  readonly #rules = new Set<Rule>();

  on(operation: S3Operation | 'any', fault: Fault): FaultRule {
    const rule: Rule = { operation, fault, seen: 0, fired: 0 };
    this.#rules.add(rule);
    return {
      fault,
      get fired() {
        return rule.fired;
      },
      remove: () => {
        this.#rules.delete(rule);
      },
    };
  }

  clear(): void {
    this.#rules.clear();
  }

  /** All that happen to this call, which each rule counts. */
  take(call: Call): Fault[] {
    const taken: Fault[] = [];
    for (const rule of this.#rules) {
      const { operation, fault } = rule;
      if (operation !== 'any' && operation !== call.operation) continue;
      if (fault.match?.(call) === false) continue;
      rule.seen++;
      const { nth } = fault;
      if (nth !== undefined && !(typeof nth === 'number' ? nth === rule.seen : nth.includes(rule.seen)))
        continue;
      rule.fired++;
      taken.push(fault);
    }
    return taken;
  }
}
