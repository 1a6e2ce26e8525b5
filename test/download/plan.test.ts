import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type PlanOptions,
  planResponse,
  type Representation,
  type ResponsePlan,
} from '../../src/download/plan.ts';
import { type ByteRangeSpec, printByteRanges, selectRanges } from '../../src/headers/byte-ranges.ts';
import { printHttpDate } from '../../src/headers/http-date.ts';
import { sha256 } from '../support/requests.ts';
import { seededContent } from '../support/seeded-content.ts';
import { parseMultipart } from './multipart.ts';

const now = Date.UTC(2026, 10, 1, 12);
const modified = now - 3_600_000;
const entity: Representation = { size: 1000, etag: '"v1"', lastModified: modified };

const plan = (
  headers: Record<string, string>,
  representation: Representation = entity,
  options: PlanOptions = {},
  method = 'GET',
): ResponsePlan => planResponse({ method, headers }, representation, { now, ...options });

/** The body as it would be sent. */
const render = ({ body }: ResponsePlan, content: Uint8Array): Buffer =>
  Buffer.concat(
    body.map((piece) =>
      typeof piece === 'string' ? Buffer.from(piece, 'latin1') : content.subarray(piece.start, piece.end),
    ),
  );

describe('a range of a file of 1,000 bytes', () => {
  test.each<[string, number, string | undefined, [number, number][]]>([
    ['bytes=-100', 206, 'bytes 900-999/1000', [[900, 1000]]],
    ['bytes=0-0', 206, 'bytes 0-0/1000', [[0, 1]]],
    ['bytes=5-2', 200, undefined, [[0, 1000]]],
    ['items=0-1', 200, undefined, [[0, 1000]]],
    ['bytes=-0', 416, 'bytes */1000', []],
    ['bytes=1000-', 416, 'bytes */1000', []],
    [
      'bytes=0-1,5-6',
      206,
      undefined,
      [
        [0, 2],
        [5, 7],
      ],
    ],
    ['bytes=0-', 206, 'bytes 0-999/1000', [[0, 1000]]],
    ['bytes=999-', 206, 'bytes 999-999/1000', [[999, 1000]]],
    ['bytes=500-2000', 206, 'bytes 500-999/1000', [[500, 1000]]],
    ['bytes=-5000', 206, 'bytes 0-999/1000', [[0, 1000]]],
    ['bytes=0-1,5-2', 200, undefined, [[0, 1000]]],
    ['bytes=0-1,2000-', 206, 'bytes 0-1/1000', [[0, 2]]],
    ['bytes=1000-1001,2000-', 416, 'bytes */1000', []],
    ['bytes=0-9,5-14', 206, 'bytes 0-14/1000', [[0, 15]]],
    ['bytes=0-599,400-999', 206, 'bytes 0-999/1000', [[0, 1000]]],
    [
      'bytes=500-510,0-1',
      206,
      undefined,
      [
        [500, 511],
        [0, 2],
      ],
    ],
    ['bytes=0-449,500-999', 200, undefined, [[0, 1000]]],
  ])('%s: %i', (range, status, contentRange, slices) => {
    const got = plan({ range });
    expect(got.status).toBe(status);
    expect(got.headers['Content-Range']).toBe(contentRange);
    expect(got.body.filter((piece) => typeof piece !== 'string')).toEqual(
      slices.map(([start, end]) => ({ start, end })),
    );
    expect(got.headers['Content-Length']).toBe(render(got, new Uint8Array(1000)).byteLength);
    expect(got.headers['Accept-Ranges']).toBe('bytes');
    const isMultipart = String(got.headers['Content-Type']).startsWith('multipart/');
    expect(isMultipart).toBe(slices.length > 1);
  });

  test('of an empty file: the last bytes are all of it, a position is past it', () => {
    const empty = { ...entity, size: 0 };
    expect(plan({ range: 'bytes=-5' }, empty)).toMatchObject({
      status: 200,
      headers: { 'Content-Length': 0 },
    });
    expect(plan({ range: 'bytes=0-' }, empty)).toMatchObject({
      status: 416,
      headers: { 'Content-Range': 'bytes */0' },
    });
    expect(plan({}, empty)).toMatchObject({ status: 200, body: [], headers: { 'Content-Length': 0 } });
  });

  test('is for GET alone: HEAD tells of the whole, and has no body', () => {
    const head = plan({ range: 'bytes=0-1' }, entity, {}, 'HEAD');
    expect(head).toMatchObject({ status: 200, body: [], bodyLength: 0, headers: { 'Content-Length': 1000 } });
    expect(head.headers).toEqual(plan({}).headers);
  });

  test('of a content of unknown size is ignored', () => {
    const unknown = plan({ range: 'bytes=0-1' }, { size: undefined });
    expect(unknown.status).toBe(200);
    expect(unknown.headers['Accept-Ranges']).toBe('none');
    expect(unknown.headers).not.toHaveProperty('Content-Length');
    expect(unknown.bodyLength).toBeUndefined();
  });

  test('of a content that grows leaves the length open', () => {
    const growing = { ...entity, isGrowing: true };
    expect(plan({ range: 'bytes=0-1' }, growing).headers['Content-Range']).toBe('bytes 0-1/*');
    expect(plan({ range: 'bytes=1000-' }, growing)).toMatchObject({
      status: 416,
      headers: { 'Content-Range': 'bytes */1000' },
    });
  });
});

describe('many ranges', () => {
  const many = (count: number): string =>
    `bytes=${Array.from({ length: count }, (_, i) => `${i * 1000}-${i * 1000}`).join(',')}`;
  const large = { ...entity, size: 1_000_000 };

  test('are served up to a number, beyond which all is', () => {
    expect(plan({ range: many(100) }, large).status).toBe(206);
    expect(plan({ range: many(101) }, large)).toMatchObject({
      status: 200,
      headers: { 'Content-Length': 1_000_000 },
    });
    expect(plan({ range: many(3) }, large, { maxRanges: 2 }).status).toBe(200);
    expect(plan({ range: many(2) }, large, { maxRanges: 2 }).status).toBe(206);
  });

  test('never make a body as long as the whole', () => {
    const tiny = { ...entity, size: 2500 };
    const range = `bytes=${Array.from({ length: 50 }, (_, i) => `${i * 50}-${i * 50}`).join(',')}`;
    expect(plan({ range }, tiny)).toMatchObject({ status: 200, headers: { 'Content-Length': 2500 } });
  });

  test('that all overlap are one', () => {
    const range = `bytes=${Array.from({ length: 100 }, () => '0-').join(',')}`;
    expect(plan({ range }, large)).toMatchObject({ status: 206, bodyLength: 1_000_000 });
  });
});

describe('a multipart body', () => {
  const seed = 20_261;
  const anySpecs: fc.Arbitrary<ByteRangeSpec[]> = fc.array(
    fc.oneof(
      fc.nat(4000).map((suffix) => ({ suffix })),
      fc.nat(4000).map((start) => ({ start, end: undefined })),
      fc.tuple(fc.nat(4000), fc.nat(300)).map(([start, more]) => ({ start, end: start + more + 1 })),
    ),
    { minLength: 1, maxLength: 20 },
  );
  const types = fc.constantFrom('text/plain; charset=utf-8', undefined);

  test(`parses back into exactly the slices, whatever the ranges (seed ${seed})`, () => {
    let multiparts = 0;
    fc.assert(
      fc.property(anySpecs, fc.nat(3500), types, (specs, size, contentType) => {
        const content = seededContent(size, size + 1);
        const got = plan({ range: printByteRanges(specs) }, { ...entity, size, contentType });
        const body = render(got, content);
        expect(got.headers['Content-Length']).toBe(body.byteLength);
        expect(got.bodyLength).toBe(body.byteLength);
        const ranges = selectRanges(specs, size);
        if (got.status === 416) {
          expect(ranges).toEqual([]);
          return;
        }
        if (got.status === 200) {
          expect(sha256(body)).toBe(sha256(content));
          // Only where a multipart body would have been no shorter, or there is nothing to take the end of.
          expect(ranges.length > 1 || size === 0).toBe(true);
          return;
        }
        const [only] = ranges;
        if (ranges.length === 1) {
          expect(sha256(body)).toBe(sha256(content.subarray(only?.start, only?.end)));
          return;
        }
        multiparts++;
        expect(body.byteLength).toBeLessThan(size);
        expect(got.headers).not.toHaveProperty('Content-Range');
        const parts = parseMultipart(String(got.headers['Content-Type']), body);
        expect(parts.map(({ start, end }) => ({ start, end }))).toEqual(ranges);
        for (const part of parts) {
          expect(part.length).toBe(String(size));
          expect(part.headers['content-type']).toBe(contentType ?? 'application/octet-stream');
          expect(sha256(part.body)).toBe(sha256(content.subarray(part.start, part.end)));
        }
      }),
      { numRuns: 500, seed },
    );
    expect(multiparts).toBeGreaterThan(20);
  });

  test('has another boundary each time', () => {
    const type = (): unknown => plan({ range: 'bytes=0-1,5-6' }).headers['Content-Type'];
    expect(type()).not.toBe(type());
  });

  test('carries no line break of a media type', () => {
    const contentType = 'text/plain\r\nContent-Range: bytes 0-0/1';
    for (const range of ['bytes=0-1,5-6', 'bytes=0-1', 'none'])
      expect(() => plan({ range }, { ...entity, contentType })).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
  });
});

describe('fields', () => {
  test('of a 200 and a 206 tell what the content is', () => {
    const disposition = { type: 'attachment', filename: 'ä' } as const;
    const headers = { 'Cache-Control': 'no-cache', 'X-Own': '1' };
    const all = { ...entity, contentType: 'text/plain', disposition, headers };
    const expected = {
      ...headers,
      'Content-Type': 'text/plain',
      'Accept-Ranges': 'bytes',
      ETag: '"v1"',
      'Last-Modified': printHttpDate(modified),
      'Content-Disposition': `attachment; filename="_"; filename*=UTF-8''%C3%A4`,
    };
    expect(plan({}, all).headers).toEqual({ ...expected, 'Content-Length': 1000 });
    expect(plan({ range: 'bytes=0-1' }, all).headers).toEqual({
      ...expected,
      'Content-Range': 'bytes 0-1/1000',
      'Content-Length': 2,
    });
  });

  test('of a 304 are those a cache needs', () => {
    const headers = { 'Cache-Control': 'no-cache', Vary: 'Accept', 'X-Own': '1' };
    const old = { 'if-none-match': '"v1"' };
    expect(plan(old, { ...entity, headers })).toEqual({
      status: 304,
      headers: { 'Cache-Control': 'no-cache', Vary: 'Accept', ETag: '"v1"' },
      body: [],
      bodyLength: 0,
    });
    const dated = plan({ 'if-modified-since': printHttpDate(now) }, { size: 1, lastModified: modified });
    expect(dated.headers).toEqual({ 'Last-Modified': printHttpDate(modified) });
  });

  test('of a 200 and a 206, of a HEAD too, have the digest of the whole, and those of no content have none', () => {
    const digested: Representation = { ...entity, digest: `sha-256=:${'A'.repeat(43)}=:` };
    const digestOf = (headers: Record<string, string>, method = 'GET') => {
      const { status, headers: fields } = plan(headers, digested, {}, method);
      return [status, fields['Repr-Digest']];
    };
    const { digest } = digested;
    expect(digestOf({})).toEqual([200, digest]);
    expect(digestOf({}, 'HEAD')).toEqual([200, digest]);
    expect(digestOf({ range: 'bytes=0-9' })).toEqual([206, digest]);
    expect(digestOf({ range: 'bytes=0-9,20-29' })).toEqual([206, digest]);
    expect(digestOf({ 'if-none-match': '"v1"' })).toEqual([304, undefined]);
    expect(digestOf({ 'if-match': '"v0"' })).toEqual([412, undefined]);
    expect(digestOf({ range: 'bytes=1000-' })).toEqual([416, undefined]);
    expect(plan({}, { ...digested, isGrowing: true }).headers).not.toHaveProperty('Repr-Digest');
  });

  test('may have digests of several algorithms, and refuse what is none', () => {
    const several = 'sha-512=:QUJD:, unixsum=:MzAz:,sha-256=:QQ==:';
    expect(plan({}, { ...entity, digest: several }).headers['Repr-Digest']).toBe(several);
    for (const digest of [
      '',
      'QUJD',
      'sha-256=QUJD',
      'sha-256=:QUJD',
      'sha-256=:a b:',
      'sha-256=:QUJD:,',
      'a=:QQ==:\r\nX: y',
    ])
      expect(() => plan({}, { ...entity, digest })).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
  });

  test('never date a content into the future', () => {
    expect(plan({}, { ...entity, lastModified: now + 5000 }).headers['Last-Modified']).toBe(
      printHttpDate(now),
    );
    expect(plan({}, { ...entity, lastModified: Number.NaN }).headers).not.toHaveProperty('Last-Modified');
  });

  test('refuse a tag that is none', () => {
    for (const etag of ['v1', '"v1', 'w/"v1"', '"a", "b"', '*', '"a\r\nb"', '']) {
      expect(() => plan({}, { ...entity, etag })).toThrow(
        expect.objectContaining({ code: 'invalid_argument' }),
      );
    }
  });

  test('of a method that is neither GET nor HEAD name the two', () => {
    expect(plan({}, entity, {}, 'POST')).toMatchObject({ status: 405, headers: { Allow: 'GET, HEAD' } });
  });
});
