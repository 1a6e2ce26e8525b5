import type { UploadError, UploadErrorCode } from '../errors.ts';
import type { ResponseHead } from './dialect.ts';

/**
 * The status each failure has on the wire, and a title that helps a person who reads it (RFC 9457 section
 * 3.1).
 */
const problems: Readonly<Record<UploadErrorCode, readonly [status: number, reason: string, title: string]>> =
  {
    malformed_content_range: [400, 'Bad Request', 'Content-Range cannot be read'],
    range_length_mismatch: [400, 'Bad Request', 'The range and Content-Length disagree'],
    range_past_length: [400, 'Bad Request', 'The range ends past the length of the whole'],
    length_changed: [400, 'Bad Request', 'The length of the whole differs from the one stated before'],
    body_past_range: [400, 'Bad Request', 'The body went on past its range'],
    malformed_digest: [400, 'Bad Request', 'Repr-Digest cannot be read'],
    malformed_metadata: [400, 'Bad Request', 'Upload-Metadata cannot be read'],
    malformed_name: [400, 'Bad Request', 'The upload cannot have this name'],
    digest_mismatch: [400, 'Bad Request', 'The content does not have the announced digest'],
    digest_conflict: [409, 'Conflict', 'Another representation was begun under this name'],
    exists: [409, 'Conflict', 'The upload exists already'],
    complete: [409, 'Conflict', 'The upload is complete'],
    target_exists: [409, 'Conflict', 'The target exists already'],
    not_found: [404, 'Not Found', 'No such upload'],
    gone: [410, 'Gone', 'The upload was removed, has expired, or was lost'],
    unknown_operation: [412, 'Precondition Failed', 'No such upload'],
    too_large: [413, 'Content Too Large', 'The upload is longer than this server accepts'],
    no_space: [507, 'Insufficient Storage', 'There is no space left; what was stored can be resumed'],
    store_failed: [503, 'Service Unavailable', 'The store failed; what was stored can be resumed'],
    not_supported: [501, 'Not Implemented', 'The store cannot do this'],
    superseded: [409, 'Conflict', 'A newer request has taken over'],
    idle: [408, 'Request Timeout', 'No data arrived in time'],
    interrupted: [400, 'Bad Request', 'The body ended early'],
    closing: [503, 'Service Unavailable', 'The server is stopping'],
    handler_failed: [500, 'Internal Server Error', 'The upload could not be processed; it is kept'],
    invalid_argument: [500, 'Internal Server Error', 'Internal error'],
    unreadable: [500, 'Internal Server Error', 'Internal error'],
    unexpected_response: [500, 'Internal Server Error', 'Internal error'],
  };

/** Facts that help the client and tell it nothing it did not send or could not ask for. */
const publicFacts = ['offset', 'expected', 'actual'] as const;

/** `application/problem+json` with a stable `code`. The error's message and cause stay in the process. */
export const problemResponse = (error: UploadError): ResponseHead => {
  const [status, reason, title] = problems[error.code];
  const facts = status === 500 ? [] : publicFacts.filter((name) => error[name] !== undefined);
  const body = JSON.stringify({
    type: 'about:blank',
    title,
    status,
    code: error.code,
    ...Object.fromEntries(facts.map((name) => [name, error[name]])),
  });
  return {
    status,
    reason,
    headers: {
      'Content-Type': 'application/problem+json',
      'Content-Length': String(Buffer.byteLength(body)),
      'Cache-Control': 'no-store',
      ...(status === 503 ? { 'Retry-After': '1' } : {}),
    },
    body,
  };
};
