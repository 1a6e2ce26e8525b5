import { describe, expect, test } from 'vitest';
import { ask, sha256 } from '../support/requests.ts';
import { post, type Start, soon, stored, text, untilIdle } from './support.ts';

const nothing = sha256(Buffer.alloc(0));

/** What is no upload reaches the route as it came. */
export const passThroughTests = (start: Start): void => {
  describe.each(['hold', 'stream'] as const)('requests that are no uploads (%s mode)', (mode) => {
    test.each([
      ['GET'],
      ['HEAD'],
      ['OPTIONS'],
      ['DELETE'],
      ['POST', { 'Content-Length': '0' }],
      ['PUT', { 'Content-Length': '0' }],
      ['GET', { 'If-Match': '"a-tag-of-the-application"' }],
    ] as [string, Record<string, string>?][])(
      '%s reaches the route untouched',
      async (method, headers = {}) => {
        const app = await start({ mode });
        const reply = await soon(ask(app, { method, headers, target: '/upload?a=1&b=%20' }));
        expect([reply.status, String(reply.body)]).toEqual([201, method === 'HEAD' ? '' : nothing]);
        const [seen] = app.log.seen;
        expect(seen).toMatchObject({ url: '/upload?a=1&b=%20', body: '', id: undefined, attempt: undefined });
        expect({ ...seen?.query }).toEqual({ a: '1', b: ' ' });
        expect(await stored(app.log.store)).toEqual([]);
        await untilIdle(app);
      },
    );

    test('a body that the application says is none is read from the connection', async () => {
      const app = await start({ mode, isUpload: () => false });
      const body = text(300_000);
      const reply = await post(app, body);
      expect([reply.status, String(reply.body)]).toEqual([201, sha256(body)]);
      expect(app.log.seen).toMatchObject([{ id: undefined }]);
      expect(await stored(app.log.store)).toEqual([]);
    });

    test('DELETE at a name without an upload is the application’s', async () => {
      const app = await start({ mode, identify: () => 'the only one' });
      expect((await soon(ask(app, { method: 'DELETE' }))).status).toBe(201);
      expect(app.log.seen).toMatchObject([{ id: undefined }]);
      expect((await post(app, text(100))).status).toBe(201);
      // … and so is what has been answered.
      expect((await soon(ask(app, { method: 'DELETE' }))).status).toBe(201);
      expect(app.log.seen).toHaveLength(3);
    });
  });
};
