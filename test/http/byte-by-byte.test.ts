import { describe, expect, test } from 'vitest';
import { RawClient, type RawResponse } from '../support/raw-client.ts';
import {
  ask,
  content,
  encode,
  handshake,
  type Name,
  query,
  type Request,
  send,
} from '../support/requests.ts';
import { type Service, startService, storeKinds } from '../support/service.ts';

// Where a request is cut into packets is the network's choice, and must not be seen in any answer.

const whole = content(60);

/** Without its moment and its secrets. */
const comparable = ({ version, status, reason, headers, body }: RawResponse) => {
  const hidden = Object.entries(headers).map(([name, value = '']) => [
    name,
    name === 'date' ? '' : value.replace(/(upload_id=|resumable-)[\w-]{22}/, '$1TOKEN'),
  ]);
  return { version, status, reason, headers: Object.fromEntries(hidden), body: body.toString('latin1') };
};

/** What is sent, given an upload of 60 bytes of which 20 are stored. */
const requests: [string, (name: Name) => Request][] = [
  ['a handshake', () => ({ headers: { 'Content-Range': 'bytes */60' } })],
  ['a handshake of unknown length', () => ({ headers: { 'Content-Range': 'bytes */*' } })],
  ['a query', (name) => ({ ...name, headers: { ...name.headers, 'Content-Range': 'bytes */60' } })],
  [
    'a part',
    (name) => ({
      ...name,
      headers: { ...name.headers, 'Content-Range': 'bytes 20-39/60' },
      body: whole.subarray(20, 40),
    }),
  ],
  [
    'the last part',
    (name) => ({
      ...name,
      headers: { ...name.headers, 'Content-Range': 'bytes 10-59/60' },
      body: whole.subarray(10),
    }),
  ],
  [
    'a chunked part',
    (name) => ({
      ...name,
      headers: { ...name.headers, 'Content-Range': 'bytes 20-*/60' },
      body: whole.subarray(20),
      chunk: 7,
    }),
  ],
  ['a whole body', () => ({ method: 'PUT', body: whole })],
  ['a whole body, chunked', () => ({ method: 'PATCH', body: whole, chunk: 11 })],
  ['an empty upload', () => ({ headers: { 'Content-Range': 'bytes */0' } })],
  ['a DELETE', (name) => ({ ...name, method: 'DELETE' })],
  ['a request that passes through', () => ({ method: 'GET', target: '/x?y' })],
  ['a bad Content-Range', () => ({ headers: { 'Content-Range': 'bytes 9-8/7' }, body: 'ab' })],
  [
    'a range that is not the length',
    (name) => ({ ...name, headers: { ...name.headers, 'Content-Range': 'bytes 0-9/60' }, body: 'ab' }),
  ],
  ['another length', (name) => ({ ...name, headers: { ...name.headers, 'Content-Range': 'bytes */61' } })],
  ['an unknown session', () => ({ target: '/upload?upload_id=AAAAAAAAAAAAAAAAAAAAAA', body: 'ab' })],
  ['an unknown tag', () => ({ headers: { 'If-Match': '"resumable-AAAAAAAAAAAAAAAAAAAAAA"' }, body: 'ab' })],
  [
    'a body past its range',
    (name) => ({
      ...name,
      headers: { ...name.headers, 'Content-Range': 'bytes 20-29/60' },
      body: whole.subarray(20),
      chunk: 15,
    }),
  ],
];

describe.each(storeKinds)('requests byte by byte (%s)', (kind) => {
  const prepared = async (form: 'location' | 'etag'): Promise<{ service: Service; name: Name }> => {
    const service = await startService(kind, { handshake: form });
    const name = await handshake(service, 60);
    await send(service, name, whole, [0, 20]);
    return { service, name };
  };

  describe.each(['location', 'etag'] as const)('with the %s handshake', (form) => {
    test.each(requests)('%s is answered as it is at once', async (what, request) => {
      const atOnce = await prepared(form);
      const reply = await ask(atOnce.service, request(atOnce.name));

      const { service, name } = await prepared(form);
      const client = await RawClient.connect(service.port);
      // A refusal may come before the last byte; the rest is then still taken.
      await client.writeByByte(encode(request(name)));
      const slow = await client.response();

      // Whether the connection is kept depends on whether the body had arrived by the time of the answer.
      const { connection: _, 'keep-alive': __, ...expected } = comparable(reply).headers;
      expect(comparable(slow)).toMatchObject({ ...comparable(reply), headers: expected });
      expect(
        Object.keys(slow.headers)
          .filter((field) => !/^(connection|keep-alive)$/.test(field))
          .sort(),
      ).toEqual(Object.keys({ ...expected }).sort());
      expect(service.calls.map(({ method, url }) => `${method} ${url}`)).toEqual(
        atOnce.service.calls.map(({ method, url }) => `${method} ${url}`),
      );
      if (what.includes('DELETE')) expect((await query(service, name)).status).toBe(410);
    });
  });
});
