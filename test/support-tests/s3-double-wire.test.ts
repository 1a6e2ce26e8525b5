import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { Readable } from 'node:stream';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { S3Double } from '../support/s3/double.ts';
import {
  clientOf,
  expectNothingUnknown,
  type RawRequest,
  refusal,
  send,
  sendBytes,
  signedHeaders,
  startDouble,
} from './s3-helpers.ts';

const code = async (double: S3Double, raw: RawRequest): Promise<string> => {
  const answer = await send(double, raw);
  return `${answer.code} ${answer.status}`;
};

const put = (path: string, more: Partial<RawRequest> = {}): RawRequest => ({
  method: 'PUT',
  path: `/test-bucket/${path}`,
  body: 'hello',
  ...more,
});

describe('signatures', () => {
  test('who may not', async () => {
    const double = await startDouble();
    expect(await code(double, put('k', { secret: 'wrong' }))).toBe('SignatureDoesNotMatch 403');
    expect(await code(double, put('k', { accessKeyId: 'AKIAOTHER' }))).toBe('InvalidAccessKeyId 403');
    expect(await code(double, put('k', { date: new Date(Date.now() - 16 * 60_000) }))).toBe(
      'RequestTimeTooSkewed 403',
    );
    expect(await code(double, put('k', { unsigned: { 'x-amz-acl': 'private' } }))).toBe('AccessDenied 403');
    expect(await code(double, put('k', { headers: { 'x-amz-security-token': 'x' } }))).toBe(
      'InvalidToken 400',
    );
    expect(await code(double, put('k', { payload: 'UNSIGNED' }))).toBe('InvalidArgument 400');
    const host = `Host: 127.0.0.1:${double.port}\r\nConnection: close\r\n`;
    const anonymous = await sendBytes(double, `GET /test-bucket/k HTTP/1.1\r\n${host}\r\n`);
    expect(anonymous).toMatch(/^HTTP\/1.1 403 /);
    expect(anonymous).toContain('<Code>AccessDenied<');
    expect(double.objects()).toEqual([]);
    expectNothingUnknown(double);
  });

  test('a presigned URL is not known', async () => {
    const double = await startDouble();
    expect(await code(double, put('k?X-Amz-Algorithm=AWS4-HMAC-SHA256'))).toBe('NotImplemented 501');
    expect(double.unknown).toMatchObject([{ what: 'parameter X-Amz-Algorithm' }]);
  });

  test('another region', async () => {
    const region = 'eu-central-1';
    const malformed = await startDouble();
    const input = { Bucket: malformed.bucket, Key: 'k', Body: 'x' };
    expect(await refusal(clientOf(malformed, { region }).send(new PutObjectCommand(input)))).toBe(
      'AuthorizationHeaderMalformed 400',
    );
    const redirecting = await startDouble({ wrongRegion: 'redirect' });
    const sent = clientOf(redirecting, { region }).send(new PutObjectCommand(input));
    expect(await refusal(sent)).toBe('PermanentRedirect 301');
  });

  test('paths and headers are compared as bytes, however they are encoded', async () => {
    const double = await startDouble();
    // What RFC 3986 leaves alone and what it does not; a slash in a key stays one.
    await send(double, put('a~b-c_d.e/%21%27%28%29%2A%2B%20%C3%A9'));
    expect(double.objects().map(({ key }) => key)).toEqual(["a~b-c_d.e/!'()*+ é"]);
    expect(await code(double, put("it's"))).toBe('SignatureDoesNotMatch 403');
    expect(await code(double, put('%E9'))).toBe('InvalidURI 400');
    const utf8 = Buffer.from('à').toString('latin1');
    const metadata = (value: string): RawRequest => put('k', { headers: { 'x-amz-meta-a': value } });
    expect(await code(double, metadata(utf8))).toBe('InvalidArgument 400');
    expect(await code(double, metadata('plain'))).toBe('undefined 200');
  });
});

test('XML that is none', async () => {
  const double = await startDouble();
  await send(double, put('k'));
  const erase = (body: string): Promise<string> => {
    const md5 = createHash('md5').update(body).digest('base64');
    return code(double, {
      method: 'POST',
      path: '/test-bucket?delete',
      body,
      headers: { 'content-md5': md5 },
    });
  };
  const refused = [
    '',
    'k',
    '<Delete>',
    '<Delete></Delete>',
    '<Delete/><Delete/>',
    '<Delete><Object><Key>k</Object></Key></Delete>',
    '<Delete><Object><Key>k</Key><Key>k</Key></Object></Delete>',
    '<Delete><Object><Key>&#x110000;</Key></Object></Delete>',
    '<Delete><Object><Key>&#xzz;</Key></Object></Delete>',
    '<Delete><Object><Key>a&b</Key></Object></Delete>',
    '<Delete><!-- --><Object><Key>k</Key></Object></Delete>',
    '<Other><Object><Key>k</Key></Object></Other>',
  ];
  for (const body of refused) expect(await erase(body), body).toBe('MalformedXML 400');
  expect(double.objects()).toHaveLength(1);
  expect(
    await erase('<?xml version="1.0"?>\n<Delete>\n <Object><Key>&#107;</Key></Object>\n</Delete>\n'),
  ).toBe('undefined 200');
  expect(double.objects()).toEqual([]);
  expectNothingUnknown(double);
});

describe('bodies', () => {
  test('one that is not what was signed', async () => {
    const double = await startDouble();
    const payload = createHash('sha256').update('other').digest('hex');
    expect(await code(double, put('k', { payload }))).toBe('XAmzContentSHA256Mismatch 400');
    expect(await code(double, put('k', { payload: 'UNSIGNED-PAYLOAD' }))).toBe('undefined 200');
  });

  test('checksums that contradict each other', async () => {
    const double = await startDouble();
    const crc32 = { 'x-amz-checksum-crc32': 'NhCmhg==' };
    const refused = [
      { ...crc32, 'x-amz-checksum-crc32c': 'mnG7TA==' },
      { ...crc32, 'x-amz-sdk-checksum-algorithm': 'SHA256' },
      { 'x-amz-sdk-checksum-algorithm': 'CRC32' },
      { 'x-amz-checksum-crc32': 'NhCmhg' },
      { 'x-amz-trailer': 'x-amz-other' },
    ];
    for (const headers of refused)
      expect(await code(double, put('k', { headers }))).toBe('InvalidRequest 400');
    expect(await code(double, put('k', { headers: crc32 }))).toBe('undefined 200');
  });

  test('without a length S3 takes none', async () => {
    const double = await startDouble();
    const chunked = { 'transfer-encoding': 'chunked' };
    expect(await code(double, put('k', { unsigned: chunked }))).toBe('NotImplemented 501');
    const streaming = put('k', { payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', unsigned: chunked });
    expect(await code(double, streaming)).toBe('MissingContentLength 411');
    expect(double.objects()).toEqual([]);
    expectNothingUnknown(double);
  });

  test('a client that goes away in the middle leaves nothing', async () => {
    const double = await startDouble();
    const headers = {
      ...signedHeaders(double, put('k', { body: 'x'.repeat(1000) })),
      'content-length': '1000',
    };
    const outgoing = request({ port: double.port, method: 'PUT', path: '/test-bucket/k', headers });
    outgoing.on('error', () => {}).write('x'.repeat(500));
    while ((double.log[0]?.received ?? 0) < 500) await new Promise((resolve) => setTimeout(resolve, 5));
    outgoing.destroy();
    while (double.log[0]?.outcome === 'under way') await new Promise((resolve) => setTimeout(resolve, 5));
    expect(double.log).toMatchObject([{ outcome: 'lost', effective: false, received: 500 }]);
    expect(double.totalBytes()).toBe(0);
  });

  test('a refusal comes before the 100, and the body does not', async () => {
    const double = await startDouble();
    const expecting = async (raw: RawRequest): Promise<object> => {
      const { method, path, body = '' } = raw;
      const headers = { ...signedHeaders(double, raw), expect: '100-continue', 'content-length': '5' };
      const outgoing = request({
        port: double.port,
        method,
        path,
        headers,
        agent: new Agent({ keepAlive: true }),
      });
      let continued = false;
      outgoing.on('continue', () => {
        continued = true;
        outgoing.end(body);
      });
      outgoing.flushHeaders();
      const [incoming] = await once(outgoing, 'response');
      incoming.resume();
      outgoing.end();
      return { continued, status: incoming.statusCode, connection: incoming.headers.connection };
    };
    expect(await expecting(put('k'))).toEqual({ continued: true, status: 200, connection: 'keep-alive' });
    expect(await expecting(put('k', { secret: 'wrong' }))).toEqual({
      continued: false,
      status: 403,
      connection: 'close',
    });
  });

  test('after a refusal in the middle of a body the connection goes on', async () => {
    const double = await startDouble();
    const client = clientOf(double);
    const sent = (Body: Readable | string, ContentLength: number) =>
      client.send(new PutObjectCommand({ Bucket: double.bucket, Key: 'k', Body, ContentLength }));
    const pieces = Array.from({ length: 300 }, () => Buffer.alloc(1000));
    expect(await refusal(sent(Readable.from(pieces), 300_000))).toBe('InvalidChunkSizeError 403');
    await sent('hello', 5);
    expect(double.object('k')?.size).toBe(5);
  });
});

/** The examples of the S3 documentation, "Signature calculations for the Authorization header: multiple chunks". */
describe('signed chunks', () => {
  const credentials = {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  };
  const signatures = [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ];
  const trailed = [
    'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
    '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
    '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
  ];
  const trailer =
    'x-amz-checksum-crc32c:sOO8/Q==\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435';
  const sizes = [65_536, 1024, 0];

  afterEach(() => {
    vi.useRealTimers();
  });

  const start = (): Promise<S3Double> => {
    vi.useFakeTimers({ toFake: ['Date'], now: new Date('2013-05-24T00:00:00Z') });
    return startDouble({ credentials, buckets: ['examplebucket'] });
  };

  const sendExample = async (
    double: S3Double,
    options: {
      readonly seed: string;
      readonly chunks: string[];
      readonly trailer?: string;
      readonly byte?: string;
    },
  ): Promise<string> => {
    const { seed, chunks, trailer: end, byte = 'a' } = options;
    const body = sizes
      .map((size, i) => `${size.toString(16)};chunk-signature=${chunks[i]}\r\n${byte.repeat(size)}`)
      .join('\r\n');
    const whole = end === undefined ? `${body}\r\n` : `${body}${end}\r\n\r\n`;
    const signed = [
      'content-encoding',
      ...(end === undefined ? ['content-length'] : []),
      'host',
      'x-amz-content-sha256',
      'x-amz-date',
      'x-amz-decoded-content-length',
      'x-amz-storage-class',
      ...(end === undefined ? [] : ['x-amz-trailer']),
    ].join(';');
    const payload = `STREAMING-AWS4-HMAC-SHA256-PAYLOAD${end === undefined ? '' : '-TRAILER'}`;
    const answer = await sendBytes(
      double,
      [
        'PUT /examplebucket/chunkObject.txt HTTP/1.1',
        'Host: s3.amazonaws.com',
        'Connection: close',
        'x-amz-date: 20130524T000000Z',
        'x-amz-storage-class: REDUCED_REDUNDANCY',
        `Authorization: AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/20130524/us-east-1/s3/aws4_request, SignedHeaders=${signed}, Signature=${seed}`,
        `x-amz-content-sha256: ${payload}`,
        'Content-Encoding: aws-chunked',
        'x-amz-decoded-content-length: 66560',
        ...(end === undefined ? [] : ['x-amz-trailer: x-amz-checksum-crc32c']),
        `Content-Length: ${whole.length}`,
        '',
        whole,
      ].join('\r\n'),
      false,
    );
    return /<Code>(\w+)</.exec(answer)?.[1] ?? answer.slice(9, 12);
  };

  const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9';

  test('without a trailer', async () => {
    const double = await start();
    expect(await sendExample(double, { seed, chunks: signatures, byte: 'b' })).toBe('SignatureDoesNotMatch');
    const swapped = [signatures[0]!, signatures[2]!, signatures[1]!];
    expect(await sendExample(double, { seed, chunks: swapped })).toBe('SignatureDoesNotMatch');
    expect(double.objects()).toEqual([]);
    expect(await sendExample(double, { seed, chunks: signatures })).toBe('200');
    expect(double.objects()).toMatchObject([
      { key: 'chunkObject.txt', size: 66_560, storageClass: 'REDUCED_REDUNDANCY', headers: {} },
    ]);
  });

  test('with a trailer', async () => {
    const double = await start();
    const example = {
      seed: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
      chunks: trailed,
    };
    expect(await sendExample(double, { ...example, trailer: trailer.replace('sOO8', 'tOO8') })).toBe(
      'SignatureDoesNotMatch',
    );
    expect(await sendExample(double, { ...example, trailer })).toBe('200');
    expect(double.objects()).toMatchObject([{ checksum: { algorithm: 'CRC32C', value: 'sOO8/Q==' } }]);
  });
});

describe('unsigned chunks', () => {
  const chunked = (body: string, more: Readonly<Record<string, string>> = {}): RawRequest =>
    put('k', {
      body,
      payload: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
      headers: {
        'content-encoding': 'aws-chunked',
        'x-amz-decoded-content-length': '5',
        'x-amz-trailer': 'x-amz-checksum-crc32',
        ...more,
      },
    });

  test.each([
    ['as it should be', '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n', 'undefined 200'],
    ['another content', '5\r\nHello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n', 'BadDigest 400'],
    ['no trailer', '5\r\nhello\r\n0\r\n\r\n', 'MalformedTrailerError 400'],
    ['no end', '5\r\nhello\r\n', 'IncompleteBody 400'],
    ['less than was said', '4\r\nhell\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n', 'IncompleteBody 400'],
    ['more than was said', '6\r\nhello!\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n', 'IncompleteBody 400'],
    ['no size', 'hello', 'IncompleteBody 400'],
    ['a signature', `5;chunk-signature=${'0'.repeat(64)}\r\nhello\r\n0\r\n\r\n`, 'IncompleteBody 400'],
  ])('%s', async (_, body, expected) => {
    const double = await startDouble();
    expect(await code(double, chunked(body))).toBe(expected);
    expect(double.objects()).toHaveLength(expected === 'undefined 200' ? 1 : 0);
    expectNothingUnknown(double);
  });
});
