import { describe, expect, test } from 'vitest';
import { type BodyPart, RequestMeter } from '../../bench/lib/request-meter.ts';

const head = (...fields: string[]): string => `${['POST /upload HTTP/1.1', ...fields].join('\r\n')}\r\n\r\n`;

const first = head('Host: 127.0.0.1', 'X-Track: 7 1000', 'Content-Length: 5');
const query = head('Content-Range: bytes */10', 'Content-Length: 0');
const second = head('X-Track: 7.2 40 asked', 'Content-Length: 9');
/** Three requests, of which the second has no body. The last body looks like the end of a head. */
const sent = Buffer.from(`${first}abcde${query}${second}\r\n\r\nabcde`);

/** Neighbours that continue each other become one. */
const joined = (parts: readonly BodyPart[]): BodyPart[] => {
  const out: BodyPart[] = [];
  for (const part of parts) {
    const last = out.at(-1);
    if (last?.track === part.track && last?.end === part.start)
      out[out.length - 1] = { ...last, end: part.end };
    else out.push(part);
  }
  return out;
};

describe('the meter of requests', () => {
  test.each([1, 2, 3, 7, 64, sent.length])('tells heads from bodies in chunks of %i bytes', (chunkBytes) => {
    const parts: BodyPart[] = [];
    const meter = new RequestMeter((part) => parts.push(part));
    for (let at = 0; at < sent.length; at += chunkBytes) meter.push(sent.subarray(at, at + chunkBytes));
    expect(meter.requests).toBe(3);
    expect(meter.headBytes).toBe(first.length + query.length + second.length);
    expect(meter.bodyBytes).toBe(5 + 9);
    expect(joined(parts)).toEqual([
      { track: '7', start: 1000, end: 1005, asked: false },
      { track: '7.2', start: 40, end: 49, asked: true },
    ]);
    expect(meter.inBody).toBe(false);
  });

  test('knows that a body is on its way until its last byte has passed', () => {
    const meter = new RequestMeter();
    meter.push(Buffer.from(`${first}abcd`));
    expect(meter.inBody).toBe(true);
    expect(meter.track).toBe('7');
    meter.push(Buffer.from('e'));
    expect(meter.inBody).toBe(false);
  });

  test('refuses what it would count wrongly: a chunked body, and a head without end', () => {
    expect(() => new RequestMeter().push(Buffer.from(head('Transfer-Encoding: chunked')))).toThrow('chunked');
    expect(() => new RequestMeter().push(Buffer.alloc(20_000, 'x'))).toThrow('a head of more than');
  });
});
