import type { ReceivedBody } from './body.ts';
import type { ChecksumAlgorithm } from './checksums.ts';
import { type ConditionalWrites, type WriteConditions, writeConditionsOf } from './conditions.ts';
import type { Content } from './content.ts';
import type { S3Error } from './errors.ts';
import type { MultipartRules, MultipartUploads } from './multipart.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Request } from './request.ts';
import type { SignatureRules } from './signature.ts';

export interface Rules extends SignatureRules, MultipartRules {
  readonly conditionalWrites: ConditionalWrites;
  /** Whether a request may name an ACL: buckets made since April 2023 refuse all but the default. */
  readonly acls: boolean;
  /** The most that a page of any listing has: 1000 with AWS. */
  readonly pageSize: number;
  /** Of one PUT, and of the source of one copy: 5 GiB with AWS. */
  readonly maxPutSize: number;
  /** Where an error of a Complete that has begun is told: AWS does both. */
  readonly completeErrors: 'status' | 'in-200';
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly xml?: string;
  readonly content?: Content;
  /** Of an error in the body of a 200. */
  readonly code?: string;
}

/** What a handler has to work with. */
export interface Work {
  readonly request: S3Request;
  readonly requestId: string;
  readonly rules: Rules;
  readonly objects: ObjectStore;
  readonly uploads: MultipartUploads;
  receive(options?: {
    readonly algorithm?: ChecksumAlgorithm | undefined;
    readonly verify?: boolean;
  }): Promise<ReceivedBody>;
  /** For what S3 may do and the double does not: records it, and returns the 501. */
  unknown(what: string): S3Error;
}

export type Handler = (work: Work) => Answer | Promise<Answer>;

const unconditional: WriteConditions = { check() {} };

/** To be asked for before the body is read, and checked at the write itself. */
export const conditionsOf = ({ request, rules, objects }: Work): WriteConditions => {
  const conditions = writeConditionsOf(request, rules.conditionalWrites);
  if (rules.conditionalWrites !== 'racy') return conditions;
  conditions.check(objects.find(request.bucket, request.key));
  return unconditional;
};
