import { describe, expect, test } from 'vitest';
import { RawClient, type RawResponse } from '../support/raw-client.ts';
import { content, query, sha256, untilStored } from '../support/requests.ts';
import { startService, storeKinds } from '../support/service.ts';

// The two example dialogues of the proposal, request heads to the byte. Only what the server is free to choose - the
// entity tag, the session URL - is put in.

const whole = content(100);
const lines = (...text: string[]): string => `${text.join('\r\n')}\r\n\r\n`;

/** Sends one head and body on a connection of its own. */
const dialogue = async (
  port: number,
  head: string,
  body: Uint8Array = Buffer.alloc(0),
): Promise<RawResponse> => {
  const client = await RawClient.connect(port);
  await client.write(Buffer.concat([Buffer.from(head), body]));
  const response = await client.response();
  await client.close();
  return response;
};

/** Sends the beginning of a body, waits until it is stored, and cuts the connection. */
const cutShort = async (
  port: number,
  head: string,
  body: Uint8Array,
  stored: () => Promise<void>,
): Promise<void> => {
  const client = await RawClient.connect(port);
  await client.write(Buffer.concat([Buffer.from(head), body]));
  await stored();
  client.reset();
  await client.closed;
};

describe.each(storeKinds)('the example dialogues (%s)', (kind) => {
  const start = (handshake: 'etag' | 'location') =>
    startService(kind, { handshake, rangeForm: 'bare' }, async (req, res) => {
      const chunks: Buffer[] = [];
      for await (const chunk of req as AsyncIterable<Buffer>) chunks.push(chunk);
      const same = sha256(Buffer.concat(chunks)) === sha256(whole);
      res.writeHead(200, { 'Content-Length': '10' });
      res.end(same ? '[response]' : '[damaged!]');
    });

  test('"ETag Example"', async () => {
    const { port } = await start('etag');

    const first = await dialogue(
      port,
      lines('POST /upload HTTP/1.1', 'Host: example.com', 'Content-Length: 0', 'Content-Range: bytes */100'),
    );
    expect(first.head).toMatch(/^HTTP\/1\.1 308 Resume Incomplete\r\n/);
    const tag = first.headers.etag ?? '';
    expect(tag).toMatch(/^"[\x21\x23-\x7e]+"$/);
    expect(first.headers).toMatchObject({ etag: tag, 'content-length': '0' });
    expect(first.headers).not.toHaveProperty('location');
    expect(first.headers).not.toHaveProperty('range');

    const name = { target: '/upload', headers: { 'If-Match': tag } };
    await cutShort(
      port,
      lines(
        'POST /upload HTTP/1.1',
        'Host: example.com',
        `If-Match: ${tag}`,
        'Content-Length: 100',
        'Content-Range: bytes 0-99/100',
      ),
      whole.subarray(0, 43),
      () => untilStored({ port }, name, '0-42'),
    );

    const polled = await dialogue(
      port,
      lines(
        'POST /upload HTTP/1.1',
        'Host: example.com',
        `If-Match: ${tag}`,
        'Content-Length: 0',
        'Content-Range: bytes */100',
      ),
    );
    expect(polled.head).toMatch(/^HTTP\/1\.1 308 Resume Incomplete\r\n/);
    expect(polled.headers).toMatchObject({ etag: tag, 'content-length': '0', range: '0-42' });

    const last = await dialogue(
      port,
      lines(
        'POST /upload HTTP/1.1',
        'Host: example.com',
        `If-Match: ${tag}`,
        'Content-Length: 57',
        'Content-Range: bytes 43-99/100',
      ),
      whole.subarray(43),
    );
    expect(last.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(last.headers['content-length']).toBe('10');
    expect(last.body.toString()).toBe('[response]');
  });

  test('"Location Example"', async () => {
    const { port } = await start('location');

    const first = await dialogue(
      port,
      lines('POST /upload HTTP/1.1', 'Host: example.com', 'Content-Length: 0', 'Content-Range: bytes */100'),
    );
    expect(first.head).toMatch(/^HTTP\/1\.1 308 Resume Incomplete\r\n/);
    expect(first.headers['content-length']).toBe('0');
    expect(first.headers).not.toHaveProperty('etag');
    expect(first.headers).not.toHaveProperty('range');
    const location = first.headers.location ?? '';
    const resolved = new URL(location, 'http://example.com/upload');
    expect(resolved.host).toBe('example.com');
    const target = `${resolved.pathname}${resolved.search}`;

    const name = { target, headers: {} };
    await cutShort(
      port,
      lines(
        `POST ${target} HTTP/1.1`,
        'Host: example.com',
        'Content-Length: 100',
        'Content-Range: bytes 0-99/100',
      ),
      whole.subarray(0, 43),
      () => untilStored({ port }, name, '0-42'),
    );

    const polled = await dialogue(
      port,
      lines(
        `POST ${target} HTTP/1.1`,
        'Host: example.com',
        'Content-Length: 0',
        'Content-Range: bytes */100',
      ),
    );
    expect(polled.head).toMatch(/^HTTP\/1\.1 308 Resume Incomplete\r\n/);
    expect(polled.headers).toMatchObject({ 'content-length': '0', range: '0-42' });
    expect(polled.headers).not.toHaveProperty('location');

    const last = await dialogue(
      port,
      lines(
        `POST ${target} HTTP/1.1`,
        'Host: example.com',
        'Content-Length: 57',
        'Content-Range: bytes 43-99/100',
      ),
      whole.subarray(43),
    );
    expect(last.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(last.headers['content-length']).toBe('10');
    expect(last.body.toString()).toBe('[response]');
  });

  test('"Location Example" at the unique URL of the example, chosen by the client', async () => {
    const { port } = await startService(kind, {
      rangeForm: 'bare',
      identify: (req) => /^\/upload\/(\w+)$/.exec(req.url ?? '')?.[1],
    });
    const target = '/upload/eCn14NjNAy';
    const head = (...more: string[]) => lines(`POST ${target} HTTP/1.1`, 'Host: example.com', ...more);
    await cutShort(
      port,
      head('Content-Length: 100', 'Content-Range: bytes 0-99/100'),
      whole.subarray(0, 43),
      () => untilStored({ port }, { target, headers: {} }, '0-42'),
    );
    const polled = await query({ port }, { target, headers: {} }, 100);
    expect(polled.headers).toMatchObject({ 'content-length': '0', range: '0-42' });
    const last = await dialogue(
      port,
      head('Content-Length: 57', 'Content-Range: bytes 43-99/100'),
      whole.subarray(43),
    );
    expect(JSON.parse(last.body.toString())).toEqual({ size: 100, sha256: sha256(whole) });
  });
});
